# SPDX-License-Identifier: Apache-2.0
"""Installed package -> its start file, see start_file: for the interpreter that runs this. install.sh calls it."""

import ast
import marshal
import os
import stat
import sys
from importlib import import_module
from importlib.util import MAGIC_NUMBER

from ..digest import sha256_hex
from ..trust import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any, Dict, List, Sequence, TextIO, Union

    from .start_file import Part

_PACKAGE = __name__.partition('.')[0]
_HOOK = 'virtguard.hook'
_READER = _HOOK + '.start_file'
_SIZE = 32  # bytes of a digest
# What a start needs that finds something, is recorded, or fails: it would take as long to find these one by one.
LATER = tuple(
    _PACKAGE + '.' + name
    for name in (
        'digest errors findings flags journal model packed qemu_args waivers wording xpath_axes xpath_functions '
        'xpath_values'
    ).split()
)


def main(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Put the start file of the package in place that is in the directory argv[0], and that of what runs later."""
    (library,) = argv
    for path, data in make_start_files(library).items():
        if not _is_written(path, data):
            write_file(path, data, 0o644, durable=True)
    return 0


def look(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Print in one word how the start file of the package in the directory argv[0] is, for virt-guard status.

    If that of what runs later is in a worse condition, how that one is.
    """
    (library,) = argv
    how = [_look(path, data) for path, data in make_start_files(library).items()]
    stdout.write(next((word for word in ('missing', 'damaged', 'outdated') if word in how), 'whole'))
    return 0


def _look(path: str, data: bytes) -> str:
    try:
        with open(path, 'rb') as file:
            written = file.read()
    except FileNotFoundError:
        return 'missing'
    made_of = data[-2 * _SIZE : -_SIZE]
    return 'damaged' if not _is_whole(written) else 'whole' if _is_of(written, made_of) else 'outdated'


def start_file_path(library: str, kind: str = 'start') -> str:
    """Where hooks/qemu looks for it: named for the bytecode that is in it. Kind `later`: that of what runs later."""
    magic = ''.join('%02x' % byte for byte in MAGIC_NUMBER)
    return '%s/%s/__pycache__/hook.%s.%s' % (library, _PACKAGE, magic, kind)


def make_start_files(library: str) -> 'Dict[str, bytes]':
    """Both files, by their paths: the code of start_file and what its `enter` takes, marshalled, and the code of what
    runs later. In each, behind that is what it was made of (by which interpreter, of which sources), and a digest of it
    all; and everything is there twice.

    :param library: the directory from which this package was imported
    """
    parts = tuple(_part(library, name) for name in in_order(_HOOK, *LATER))
    later = {part: marshal.dumps(_code(_path(library, part[0]))) for part in parts if part[0] in LATER}
    made_of = _digest(sys.version.encode()) + _sources(library, parts)
    contents: 'Dict[str, Any]' = {'later': later, 'start': (_code(_path(library, _READER)), parts)}
    files = {}
    for kind, content in contents.items():
        data = marshal.dumps(content) + made_of
        files[start_file_path(library, kind)] = (data + _digest(data)) * 2
    return files


def _sources(library: str, parts: 'Sequence[Part]') -> bytes:
    sources = []
    for name in [part[0] for part in parts] + [_READER]:
        with open(_path(library, name), 'rb') as file:
            sources.append(_digest(file.read()))
    stamps = repr([part[:5] for part in parts]).encode('utf-8', 'surrogateescape')
    return _digest(stamps + b''.join(sources))


def _is_written(path: str, data: bytes) -> bool:
    """Whether it is there, whole, and made of the same: the same code can be marshalled in more than one way."""
    try:
        with open(path, 'rb') as file:
            status = os.fstat(file.fileno())
            written = file.read()
    except OSError:
        return False
    if (status.st_uid, status.st_mode) != (os.geteuid(), stat.S_IFREG | 0o644):
        return False
    return _is_whole(written) and _is_of(written, data[-3 * _SIZE : -_SIZE])


def _is_of(written: bytes, made_of: bytes) -> bool:
    return written[:-_SIZE].endswith(made_of)


def _is_whole(written: bytes) -> bool:
    copy = written[: len(written) // 2]
    return written == copy * 2 and copy[-_SIZE:] == _digest(copy[:-_SIZE])


def _digest(data: bytes) -> bytes:
    return bytes.fromhex(sha256_hex(data))


def in_order(*names: str) -> 'Sequence[str]':
    """These modules of the package, and those that they need, each behind those that it needs."""
    kept = {name: module for name, module in sys.modules.items() if name.partition('.')[0] == _PACKAGE}
    found: 'Dict[str, None]' = {}

    def note(frame: 'FrameType', event: str, argument: object) -> None:
        name = frame.f_globals.get('__name__', '')
        if event == 'return' and frame.f_code.co_name == '<module>' and name.partition('.')[0] == _PACKAGE:
            found[name] = None

    for name in kept:
        del sys.modules[name]
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        for name in names:
            import_module(name)
    finally:
        sys.setprofile(before)
        for name in [name for name in sys.modules if name.partition('.')[0] == _PACKAGE]:
            del sys.modules[name]
        sys.modules.update(kept)
    return tuple(found)


def _part(library: str, name: str) -> 'Part':
    path = _path(library, name)
    status = os.stat(path)
    return (
        name,
        path[len(library) + 1 :],
        path.endswith('/__init__.py'),
        int(status.st_mtime),
        status.st_size,
        start_file_path(library, 'later')[len(library) + 1 :] if name in LATER else _code(path),
    )


def _path(library: str, name: str) -> str:
    path = '%s/%s' % (library, name.replace('.', '/'))
    return path + '/__init__.py' if os.path.isdir(path) else path + '.py'


def _code(path: str) -> 'CodeType':
    with open(path, 'rb') as file:
        tree = ast.parse(file.read(), path)
    return compile(_Bare().visit(tree), path, 'exec', dont_inherit=True, optimize=2)  # without docstrings


class _Bare(ast.NodeTransformer):
    """Takes out what speaks of types: of all that a start loads, every tenth byte."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        bare = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.fix_missing_locations(ast.copy_location(bare, node))

    def visit_If(self, node: ast.If) -> 'Union[ast.AST, List[ast.stmt]]':
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == 'TYPE_CHECKING':
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node
