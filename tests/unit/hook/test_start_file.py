# SPDX-License-Identifier: Apache-2.0
"""The start file makes the same modules as Python's import, or none."""

import json
import marshal
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from support.paths import CHECKOUT, LIB
from virtguard.hook.start_file_maker import start_file_path

MAKE = """
import sys
sys.path.insert(0, sys.argv[1])
from virtguard.hook.start_file_maker import main
sys.exit(main(sys.argv[1:], sys.stdout))
"""
LOOK = MAKE.replace('import main', 'import look as main')
IMPORT = 'from virtguard.hook import main'
ENTER = """
import marshal
file = open(sys.argv[2], 'rb')
code, parts = marshal.loads(file.read())
file.close()
exec(code)
main = enter(sys.argv[1], parts)
"""
DESCRIBE = """
import virtguard.hook.worker  # as a start does that needs it
from virtguard.hook.start_file_maker import LATER
import importlib
for name in LATER:
    getattr(importlib.import_module(name), 'x', None)  # so that it runs
import json
import marshal
def describe(module):
    content = vars(module)
    functions = {value.__code__.co_filename for value in content.values() if type(value) is type(describe)}
    has = [content.get(name) for name in ('__name__', '__package__', '__file__', '__path__')]
    spec = content['__spec__']
    names = sorted(set(content) - {'__cached__', '__builtins__', '__annotations__'})
    return has + [spec.name, spec.origin, spec.parent, sorted(functions), names]
assert main is sys.modules['virtguard.hook'].call.main
ours = {name: describe(module) for name, module in sys.modules.items() if name.startswith('virtguard')}
import virtguard
print(json.dumps([ours, sorted(name for name in vars(virtguard) if 'virtguard.' + name in ours)]))
"""


def run(program, *arguments):
    output = subprocess.check_output(
        [sys.executable, '-I', '-S', '-B', '-c', 'import sys; sys.path.insert(0, sys.argv[1])\n' + program]
        + [str(argument) for argument in arguments],
        stderr=subprocess.STDOUT,
    )
    return json.loads(output.decode('ascii')) if output else None


@pytest.fixture
def library(tmp_path):
    """A copy of the package, with its start file."""
    library = tmp_path / 'lib'
    shutil.copytree(str(LIB), str(library), ignore=shutil.ignore_patterns('__pycache__', 'commands', 'policy', 'watch'))
    (library / 'virtguard/__pycache__').mkdir()
    run(MAKE, library)
    return library


def test_the_same_modules(library):
    imported = run(IMPORT + DESCRIBE, library)
    entered = run(ENTER + DESCRIBE, library, start_file_path(str(library)))
    assert entered == imported
    assert len(imported[0]) > 20


def test_only_what_every_start_needs_runs(library):
    program = '\nimport json\nprint(json.dumps([name for name, module in sys.modules.items() if %s]))'
    program %= 'name.startswith("virtguard.") and type(module) is type(sys)'
    assert sorted(run(ENTER + program, library, start_file_path(str(library)))) == [
        'virtguard.' + name for name in 'compiled hook hook.call host tree trust verdict xpath'.split()
    ]


@pytest.mark.parametrize('damage', ['gone', 'empty', 'half', 'zeros', 'text', 'a number', 'another', 'flipped'])
def test_a_module_that_runs_later_without_its_file(library, damage):
    """Its source takes the place of it. Of a flipped bit, marshal may crash, so nothing of that is read."""
    program = '\nimport json\nfrom virtguard import digest\nprint(json.dumps(digest.sha256_hex(b"")[:4]))'
    path = start_file_path(str(library), 'later')
    with open(path, 'rb') as file:
        data = file.read()
    os.unlink(path)
    if damage != 'gone':
        damaged = {
            'empty': b'',
            'half': data[: len(data) // 2],
            'zeros': bytes(len(data)),
            'text': b'no such luck',
            'a number': marshal.dumps(7) * 2,
            'another': marshal.dumps({}) * 2,
            'flipped': data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        }
        with open(path, 'wb') as file:
            file.write(damaged[damage])
    assert run(ENTER + program, library, start_file_path(str(library))) == 'e3b0'


def test_a_module_that_runs_later(library):
    source = library / 'virtguard/digest.py'
    program = '\nimport json\nfrom virtguard import digest\nprint(json.dumps(digest.sha256_hex(b"")[:4]))'
    assert run(ENTER + program, library, start_file_path(str(library))) == 'e3b0'
    source.write_text(source.read_text() + '\n\ndef sha256_hex(data):\n    return "edited"\n')
    assert run(ENTER + program, library, start_file_path(str(library))) == 'edit'
    missing = 'from virtguard import digest\nassert not hasattr(digest, "x") and not hasattr(digest, "y")\n'
    assert run(ENTER + missing, library, start_file_path(str(library))) is None


@pytest.mark.parametrize('module', ['__init__', 'verdict', 'hook/call', 'hook/__init__'])
@pytest.mark.parametrize('change', ['size', 'time', 'gone'])
def test_changed_source(library, module, change):
    source = library / 'virtguard' / (module + '.py')
    status = source.stat()
    if change == 'size':
        with source.open('a') as file:
            file.write('\n')
        os.utime(str(source), ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == 'time':
        os.utime(str(source), (status.st_atime, status.st_mtime + 2))
    else:
        source.unlink()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(ENTER, library, start_file_path(str(library)))
    assert (b'FileNotFoundError' if change == 'gone' else b'ImportError') in failed.value.output


@pytest.fixture
def hook(library):
    """The hook's program for that package, and for the interpreter that made its start file."""
    hook = library.parent / 'qemu'
    variables = 'python=%s\nlib=%s\npolicy=%s\nlog=%s\n' % (
        *(shlex.quote(str(path)) for path in (sys.executable, library)),
        *(shlex.quote(str(library.parent / name)) for name in ('policy.yaml', 'log')),
    )
    program = (CHECKOUT / 'hooks/qemu').read_text()
    assert program.count('python=\nlib=\npolicy=\nlog=\n') == 1
    hook.write_text(program.replace('python=\nlib=\npolicy=\nlog=\n', variables))
    hook.chmod(0o755)
    return hook


def answer(hook):
    result = subprocess.run([str(hook), 'vm', 'start', 'begin', '-'], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return result.returncode, result.stderr


def test_the_hook_runs_an_edited_source_at_once(library, hook):
    first = library / 'virtguard/hook/__init__.py'
    text = first.read_text()
    first.write_text(text + '\n\ndef main(*arguments):\n    return 1\n')
    run(MAKE, library)
    assert answer(hook) == (1, b'')
    first.write_text(text + '\n\ndef main(*arguments):\n    return 0\n\n')
    assert answer(hook) == (0, b'')


@pytest.mark.parametrize('damage', ['gone', 'empty', 'half', 'zeros', 'text', 'a number', 'other parts', 'raises'])
def test_the_hook_does_without_a_damaged_start_file(library, hook, damage):
    (library / 'virtguard/hook/__init__.py').write_text('def main(*arguments):\n    return 1\n')
    run(MAKE, library)
    path = start_file_path(str(library))
    with open(path, 'rb') as file:
        data = file.read()
    code, parts = marshal.loads(data)
    broken = compile('def f():\n    pass\nf.x.y', 'x', 'exec')
    parts_that_raise = tuple((*part[:5], broken) for part in parts)
    os.unlink(path)
    if damage != 'gone':
        with open(path, 'wb') as file:
            file.write(
                {
                    'empty': b'',
                    'half': data[: len(data) // 2],
                    'zeros': bytes(len(data)),
                    'text': b'no such luck',
                    'a number': marshal.dumps(7),
                    'other parts': marshal.dumps((code, 7)),
                    'raises': marshal.dumps((code, parts_that_raise)),
                }[damage]
            )
    assert answer(hook) == (1, b'')


def test_the_hook_runs_nothing_of_a_file_whose_copies_differ(library, hook):
    """Of a single flipped bit, marshal may crash, or loop for ever: so here it would get code that ends the process."""
    (library / 'virtguard/hook/__init__.py').write_text('def main(*arguments):\n    return 1\n')
    run(MAKE, library)
    path = start_file_path(str(library))
    with open(path, 'rb') as file:
        data = file.read()
    half = len(data) // 2
    assert data == data[:half] * 2
    kills = marshal.dumps((compile('import posix; posix.kill(posix.getpid(), 11)', 'x', 'exec'), ()))
    first = bytearray(kills + data[len(kills) : half])
    for whole, expected in ((bytes(first) * 2, 2), (bytes(first) + data[half:], 1)):
        with open(path, 'wb') as file:
            file.write(whole)
        assert answer(hook)[0] == expected
    for place in (0, half // 2, half - 1, half, half + 1, 2 * half - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        with open(path, 'wb') as file:
            file.write(flipped)
        assert answer(hook) == (1, b'')


@pytest.mark.parametrize('kind', ['start', 'later'])
def test_it_is_written_again_only_if_it_is_another_or_damaged(library, kind):
    path = start_file_path(str(library), kind)

    def made():
        run(MAKE, library)
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns

    first = made()
    assert made() == first
    with open(path, 'r+b') as file:
        file.seek(5000)
        file.write(b'damaged')
    second = made()
    assert second != first and made() == second
    os.chmod(path, 0o664)
    third = made()
    assert third != second and made() == third
    source = library / 'virtguard/trust.py'
    source.write_text(source.read_text() + '# edited')
    assert made() != third


@pytest.mark.parametrize('kind', ['start', 'later'])
def test_how_it_is(library, kind):
    path = start_file_path(str(library), kind)
    source = library / 'virtguard/trust.py'

    def how():
        return subprocess.check_output([sys.executable, '-I', '-S', '-B', '-c', LOOK, str(library)]).decode()

    assert how() == 'whole'
    with open(path, 'r+b') as file:
        file.seek(5000)
        file.write(b'damaged')
    assert how() == 'damaged'
    run(MAKE, library)
    assert how() == 'whole'
    source.write_text(source.read_text() + '# edited')
    assert how() == 'outdated'
    os.unlink(path)
    assert how() == 'missing'
