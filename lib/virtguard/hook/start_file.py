# SPDX-License-Identifier: Apache-2.0
"""The start file: what starts load, in one file. Its first part is the code of this module; hooks/qemu runs it.

To find, check and read ten modules one by one takes Python as long as all that a clean start does with them. So
install.sh has them put together (start_file_maker) for the interpreter that it installs for, in __pycache__ of the
package. As with the caches of single modules, the bytecode is that of this interpreter, or the file has another name;
and each source has the size and time that it had. The file holds everything twice, because to compare two copies costs
less than a checksum; where they differ, nothing of it is run. Otherwise Python imports as it always does.
"""

import posix
import sys
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, NoReturn, Sequence, Tuple, Union

    Part = Tuple[str, str, bool, int, int, Union[CodeType, bytes]]
else:
    ModuleType = type(sys)


class Later(ModuleType):
    """A module that a clean `prepare` does without: it runs when something of it is asked for."""

    def __getattr__(self, name: str) -> 'Any':
        content = self.__dict__
        library, part = content['__part__']
        try:
            code = _prepare(self, library, part)
        except ImportError:
            with open(content['__file__'], 'rb') as file:
                code = compile(file.read(), content['__file__'], 'exec')
        exec(loads(code) if isinstance(code, bytes) else code, content)
        self.__class__ = ModuleType  # type: ignore[assignment]
        content.pop('__part__', None)
        return getattr(self, name)


def enter(library: str, parts: 'Sequence[Part]') -> 'Callable[..., int]':
    """Make the modules of the start file.

    :param library: the directory that the package is in
    :param parts: of each module, in the order in which they can run and the package first, its name, its path in the
        library, whether it is a package, the time and size of its source, and its code; marshalled once more, if it is
        to run later
    :returns: the hook's main
    :raises ImportError, OSError: a source has changed, or cannot be looked at
    """
    modules: 'Dict[str, Any]' = sys.modules
    made: 'List[Tuple[Any, Dict[str, Any]]]' = []
    for part in parts:
        name, code = part[0], part[5]
        if code.__class__ is bytes:
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


def _prepare(module: 'ModuleType', library: str, part: 'Part') -> 'Union[CodeType, bytes]':
    """Set what Python's import sets before the code of a module runs, which is returned."""
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
