# SPDX-License-Identifier: Apache-2.0
"""Which module may import which, and what the hook must not load: every start of every domain pays for it."""

import ast
import pathlib
import subprocess
import sys

import pytest

LIB = pathlib.Path(__file__).resolve().parents[2] / 'lib'
PACKAGE = LIB / 'virtguard'

# Knows no I/O, and imports its like only.
CORE = (
    'apparmor_globs cases compared comparison digest domain emulators errors evaluate events expressions facts formats '
    'layer lint localnames marks metadata model needs osids osinfo_names osinfo_table osreleases outcome parts places '
    'policy policylint qemu_args refused reader report runtime schema show sieve transition waivers xpath'
).split()
# Does I/O for others; imports the core, and what else of the edge it builds on.
EDGE = (
    'apparmor candidate compiled compiler confinement contents deadline documents emulator_file filetree following '
    'host hostlist inotify installing journal keeping layout libraries limited messages osinfo packages policyfile '
    'pool processes schemafile sdnotify selinux sources statefiles terminal trust'
).split()
# Wires the rest. The parts of an entry are its own.
ENTRIES = {
    'hook': ['worker'],
    'cli': ['bulk', 'next_boot', 'policy_commands', 'policy_diff', 'policy_test', 'preview', 'watch_command'],
    'watch': ['inforce', 'intake', 'ledger', 'present', 'unobserved'],
}
# The command starts a watch, once it is asked for one.
LOADS = {'watch_command': {'inforce', 'present', 'watch'}}

NOT_IN_CORE = {
    'os',
    'posix',
    'sys',
    'io',
    'subprocess',
    '_socket',
    'socket',
    'time',
    'libvirt',
    'logging',
    '_signal',
    'signal',
}
NOT_IN_HOOK = set(
    'typing logging argparse json socket subprocess pathlib libvirt yaml lxml signal enum re os '
    'collections functools traceback hashlib'.split()
)

MODULES = sorted(path.stem for path in PACKAGE.glob('*.py') if path.stem != '__init__')
PARTS = {part: entry for entry, parts in ENTRIES.items() for part in parts}


def imports(module):
    """What a module imports when it runs, anywhere in it: its siblings, and the others' top-level names."""
    tree = ast.parse((PACKAGE / (module + '.py')).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING':
            node.body = []
    siblings, others = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others.update(alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module.partition('.')[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, module
            siblings.update([node.module] if node.module else [alias.name for alias in node.names])
    return {name for name in siblings if name in MODULES}, others


def test_every_module_has_a_place():
    assert sorted(CORE + EDGE + list(ENTRIES) + list(PARTS)) == MODULES


@pytest.mark.parametrize('module', MODULES)
def test_directions(module):
    siblings, others = imports(module)
    if module in CORE:
        assert siblings <= set(CORE)
        assert not others & NOT_IN_CORE
    elif module in EDGE:
        assert siblings <= set(CORE + EDGE)
    else:
        entry = PARTS.get(module, module)
        assert siblings <= set(CORE + EDGE + ENTRIES[entry]) | LOADS.get(module, set())
    assert 'virtguard' not in others, 'imports within the package are relative'
    assert 'libvirt' not in others, 'libvirt asked from within its own hook waits for ever'


def test_model_and_errors_stand_alone():
    assert imports('model')[0] == imports('errors')[0] == set()


def test_the_hook_does_not_know_the_command():
    reached, todo = set(), ['hook']
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo.extend(imports(module)[0])
    assert not reached & {
        'cli',
        'bulk',
        'policy_commands',
        'next_boot',
        'policy_diff',
        'policy_test',
        'comparison',
        'cases',
        'formats',
        'facts',
        'documents',
        'layout',
        'terminal',
        'show',
        'lint',
        'schema',
        'schemafile',
    }


def test_no_cycles():
    remaining = {module: imports(module)[0] for module in MODULES}
    while remaining:
        leaves = {module for module, needed in remaining.items() if not needed & set(remaining)}
        assert leaves, 'a cycle among %s' % ', '.join(sorted(remaining))
        remaining = {module: needed for module, needed in remaining.items() if module not in leaves}


def loaded(statement):
    """The modules that a statement loads in an interpreter started as the hook starts it."""
    program = 'import sys; sys.path.insert(0, sys.argv[1]); %s; print(*sorted(sys.modules))' % statement
    output = subprocess.check_output([sys.executable, '-I', '-S', '-B', '-c', program, str(LIB)])
    return set(output.decode('ascii').split())


def test_what_the_hook_loads():
    before = loaded('pass')
    assert (loaded('import virtguard.hook') - before) & NOT_IN_HOOK == set()


@pytest.mark.parametrize('module', MODULES)
def test_every_module_can_be_imported_alone(module):
    """None relies on another one having been imported before."""
    program = 'import sys; sys.path.insert(0, sys.argv[1]); import virtguard.' + module
    subprocess.check_call([sys.executable, '-B', '-c', program, str(LIB)])


def test_annotations_do_not_need_typing():
    """`TYPE_CHECKING = False` and quotes: what runs on Python 3.6 pays nothing for its types."""
    for module in MODULES:
        assert 'typing' not in imports(module)[1], module
