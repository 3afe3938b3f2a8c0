# SPDX-License-Identifier: Apache-2.0
"""Which directory may import which, and what the hook must not load: every start of every domain pays for it."""

import ast
import compileall
import shutil
import subprocess
import sys

import pytest
from support.paths import LIB

PACKAGE = LIB / 'virtguard'

# What stands directly in the package is the ground: what a start may load. For each directory, what it may import.
GROUND = ''
BELOW_COMMANDS = {GROUND, 'match', 'policy', 'judging', 'guarding', 'watch', 'health', 'reporting'}
ROOMS = {'commands/' + room for room in ('output', 'domains', 'policies', 'waivers', 'installing', 'completing')}
MAY_IMPORT = {
    GROUND: {GROUND},
    'match': {GROUND, 'match'},
    'policy': {GROUND, 'match', 'policy'},
    'judging': {GROUND, 'match', 'policy', 'judging'},
    'guarding': {GROUND, 'match', 'policy', 'judging', 'guarding'},
    'hook': {GROUND, 'hook'},
    'watch': {GROUND, 'match', 'policy', 'judging', 'guarding', 'watch'},
    'health': {GROUND, 'match', 'policy', 'judging', 'guarding', 'watch', 'health'},
    'reporting': BELOW_COMMANDS,
    'commands': BELOW_COMMANDS | {'commands', 'commands/guests', 'commands/polkit'} | ROOMS,
    'commands/output': BELOW_COMMANDS | {'commands', 'commands/output'},
    'commands/domains': BELOW_COMMANDS | {'commands', 'commands/output', 'commands/domains'},
    'commands/policies': BELOW_COMMANDS | {'commands', 'commands/output', 'commands/domains', 'commands/policies'},
    'commands/waivers': BELOW_COMMANDS | ROOMS - {'commands/installing', 'commands/completing'} | {'commands'},
    'commands/installing': BELOW_COMMANDS | ROOMS - {'commands/waivers', 'commands/completing'} | {'commands'},
    'commands/completing': BELOW_COMMANDS | ROOMS - {'commands/installing'} | {'commands'},
    'commands/polkit': BELOW_COMMANDS | {'commands', 'commands/domains', 'commands/polkit'},
    'commands/guests': BELOW_COMMANDS | {'commands', 'commands/output', 'commands/domains', 'commands/guests'},
}
# Inside functions only: what the worker loads in its own process, and what a finding that is waived needs.
ONLY_INSIDE = {
    'hook/worker': {'policy', 'judging'},
    'journal': {'policy'},
}
# Of Python's library, all that the way of a clean domain may load.
ON_THE_WAY = set('_io _signal marshal posix pyexpat sys time'.split())
NOT_IN_HOOK = set(
    'typing logging argparse json socket subprocess pathlib libvirt yaml lxml signal enum re os '
    'collections functools traceback hashlib'.split()
)

MODULES = sorted(
    str(path.relative_to(PACKAGE).with_suffix('')) for path in PACKAGE.glob('**/*.py') if path.name != '__init__.py'
)


def directory_of(module):
    return module.rpartition('/')[0]


def imports(module):
    """What a module imports when it runs: (name, whether inside a function) of siblings, then of all others.

    Types count, too: they must not make a reader look in a place that the module knows nothing of.
    """
    siblings, others = set(), set()

    def walk(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                others.update((alias.name.partition('.')[0], inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                others.add((child.module.partition('.')[0], inside))
            elif isinstance(child, ast.ImportFrom):
                base = PACKAGE / directory_of(module)
                for _ in range(child.level - 1):
                    base = base.parent
                base = base.joinpath(*(child.module or '').split('.'))
                if base.is_dir():
                    siblings.update((str(base.relative_to(PACKAGE) / alias.name), inside) for alias in child.names)
                else:
                    siblings.add((str(base.relative_to(PACKAGE)), inside))
            walk(child, inside or isinstance(child, ast.FunctionDef))

    walk(ast.parse((PACKAGE / (module + '.py')).read_bytes()), False)
    return {(name, inside) for name, inside in siblings if name in MODULES}, others


def test_every_directory_is_in_the_table():
    assert {directory_of(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize('module', MODULES)
def test_directions(module):
    siblings, others = imports(module)
    allowed = MAY_IMPORT[directory_of(module)]
    inside = ONLY_INSIDE.get(module, set())
    wrong = {
        name
        for name, in_function in siblings
        if directory_of(name) not in (allowed | inside if in_function else allowed)
    }
    assert not wrong
    names = {name for name, _ in others}
    assert 'virtguard' not in names, 'imports within the package are relative'
    assert 'libvirt' not in names, 'libvirt asked from within its own hook waits for ever'


def test_plain_data_and_errors_stand_alone():
    assert imports('errors')[0] == set()
    assert {name for name, _ in imports('model')[0]} == {'verdict'}
    assert {name for name, _ in imports('verdict')[0]} == {'model'}


def test_packages_import_nothing():
    """Whoever imports a module pays for its __init__, too. That of the hook hands on what hooks/qemu calls."""
    for path in PACKAGE.glob('*/__init__.py'):
        body = ast.parse(path.read_bytes()).body
        assert isinstance(body[0], ast.Expr), path
        rest = [ast.dump(node) for node in body[1:]]
        expected = ast.parse('from .call import main as main' if path.parent.name == 'hook' else '').body
        assert rest == [ast.dump(node) for node in expected], path


def test_no_cycles():
    remaining = {module: {name for name, _ in imports(module)[0]} for module in MODULES}
    remaining['verdict'].remove('model')  # for types: these are one, but not every start needs all of it
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
    came = loaded('import virtguard.hook, virtguard.journal') - loaded('pass')
    assert came & NOT_IN_HOOK == set()
    own = {name for name in came if name.startswith('virtguard')}
    assert {name for name in own if name.count('.') > 1} == {'virtguard.hook.call'}, (
        'each directory costs at each start'
    )
    for name in own - {'virtguard', 'virtguard.hook'}:
        others = imports(name.partition('.')[2].replace('.', '/'))[1]
        assert {other for other, inside in others if not inside} - {'typing', 'os'} <= ON_THE_WAY, name


IMPORT_EACH = """
import os, sys, traceback
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    child = os.fork()
    if not child:
        try:
            __import__(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print(name)
"""


def not_importable(directory, modules):
    command = [sys.executable, '-B', '-c', IMPORT_EACH, str(directory)]
    return subprocess.check_output(command + ['virtguard.' + module.replace('/', '.') for module in modules]).split()


def test_every_module_can_be_imported_alone(tmp_path):
    """None relies on another one having been imported before. In a compiled copy, because each imports many others."""
    shutil.copytree(str(PACKAGE), str(tmp_path / 'virtguard'))
    assert compileall.compile_dir(str(tmp_path), quiet=1)
    assert not_importable(tmp_path, MODULES) == []
    (tmp_path / 'virtguard/relies.py').write_text('import sys\nsys.modules["virtguard.model"]\n')
    assert not_importable(tmp_path, ['model', 'relies']) == [b'virtguard.relies']


@pytest.mark.parametrize('module', MODULES)
def test_annotations_do_not_need_typing(module):
    """`TYPE_CHECKING = False` and quotes: what runs on Python 3.6 pays nothing for its types."""
    tree = ast.parse((PACKAGE / (module + '.py')).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING':
            node.body = []
    assert not any(isinstance(node, ast.ImportFrom) and node.module == 'typing' for node in ast.walk(tree))
