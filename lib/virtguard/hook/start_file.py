# SPDX-License-Identifier: Apache-2.0
"""The start file: what starts load, in one file. Its first part is the code of this module; hooks/qemu runs it.

To find, check and read ten modules one by one takes Python as long as all that a clean start does with them. So
install.sh has them put together (start_file_maker) for the interpreter that it installs for, in __pycache__ of the
package. As with the caches of single modules, the bytecode is that of this interpreter, or the file has another name;
and each source has the size and time that it had. The file holds everything twice, because to compare two copies costs
less than a checksum; where they differ, nothing of it is run. Otherwise Python imports as it always does. What a clean
`prepare` does without is in a file of its own, beside it and made like it, because to read it takes time, too.
"""

import posix
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, NoReturn, Sequence, Tuple, Union

    Part = Tuple[str, str, bool, int, int, Union[CodeType, str]]
else:
    ModuleType = type(sys)

# What to read a file raises that is damaged, or whose source has changed.
_DAMAGED = EOFError, ImportError, KeyError, OSError, TypeError, ValueError


class Later(ModuleType):
    """A module that a clean `prepare` does without: it runs when something of it is asked for."""

    codes: 'Dict[Part, bytes]' = {}  # of all these modules, once one of them has run

    def __getattr__(self, name: str) -> 'Any':
        content = self.__dict__
        library, part = content['__part__']
        try:
            file = _prepare(self, library, part)
            if not Later.codes:
                Later.codes = _read_twice('%s/%s' % (library, file))
            code = loads(Later.codes[part])
        except _DAMAGED:
            with open(content['__file__'], 'rb') as source:
                code = compile(source.read(), content['__file__'], 'exec')
        exec(code, content)
        self.__class__ = ModuleType  # type: ignore[assignment]
        content.pop('__part__', None)
        return getattr(self, name)


def _read_twice(path: str) -> 'Any':
    """What is in a file twice, as hooks/qemu reads it.

    :raises OSError, EOFError: it cannot be read, or the copies differ
    """
    file = posix.open(path, posix.O_CLOEXEC)
    try:
        size = posix.fstat(file).st_size >> 1
        data = posix.read(file, size)
        if data != posix.read(file, size):
            raise EOFError
    finally:
        posix.close(file)
    return loads(data)


def enter(library: str, parts: 'Sequence[Part]') -> 'Callable[..., int]':
    """Make the modules of the start file.

    :param library: the directory that the package is in
    :param parts: of each module, in the order in which they can run and the package first, its name, its path in the
        library, whether it is a package, the time and size of its source, and its code; if it is to run later, the file
        in the library that holds, by such parts, the code of these modules, marshalled
    :returns: the hook's main
    :raises ImportError, OSError: a source has changed, or cannot be looked at
    """
    modules: 'Dict[str, Any]' = sys.modules
    made: 'List[Tuple[Any, Dict[str, Any]]]' = []
    for part in parts:
        name = part[0]
        if part[5].__class__ is str:
            modules[name] = later = Later(name)
            later.__dict__['__part__'] = library, part
        else:
            module = modules[name] = ModuleType(name)
            made.append((_prepare(module, library, part), module.__dict__))
    for name, *_ in parts[1:]:
        above, _, last = name.rpartition('.')
        modules[above].__dict__[last] = modules[name]
    for code, content in made:
        exec(code, content)
    return modules['virtguard.hook'].__dict__['main']  # type: ignore[no-any-return]


def _prepare(module: 'ModuleType', library: str, part: 'Part') -> 'Union[CodeType, str]':
    """Set what Python's import sets before the code of a module runs; returned is that, or the file that has it."""
    name, path, is_package, changed, size, code = part
    file = '%s/%s' % (library, path)
    content = module.__dict__
    specification = sys.modules['_frozen_importlib'].__dict__['ModuleSpec']
    content['__spec__'] = spec = specification(name, None, origin=file, is_package=is_package)
    content['__file__'] = file
    content['__package__'] = spec.parent
    if is_package:
        content['__path__'] = spec.submodule_search_locations
        content['__path__'].append(file.rpartition('/')[0])
    status = posix.stat(file)
    if status[8] != changed or status[6] != size:
        raise ImportError('%s has changed' % file)
    return code


def answer(main: 'Callable[..., int]', arguments: 'List[str]') -> 'NoReturn':
    """Let the hook answer, and end as hooks/qemu understands it.

    :param arguments: the paths of the policy and of the log, then what libvirt gives
    """
    status = 99
    try:
        posix.dup2(3, 2)
        posix.close(3)
        status = 100 + main(arguments[2:], arguments[0], arguments[1])
    finally:
        posix._exit(status)
