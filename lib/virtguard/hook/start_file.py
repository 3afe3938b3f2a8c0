# SPDX-License-Identifier: Apache-2.0
"""The start file: what every start loads, in one file. Its first part is the code of this module; hooks/qemu runs it.

To find, check and read ten modules one by one takes Python as long as all that a clean start does with them. So
install.sh has them put together (start_file_maker) for the interpreter that it installs for, in __pycache__ of the
package. As with the caches of single modules, the bytecode is that of this interpreter, or the file has another name;
and each source has the size and time that it had. The file holds everything twice, because to compare two copies costs
less than a checksum; where they differ, nothing of it is run. Otherwise Python imports as it always does.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Callable, Dict, Sequence, Tuple

    Part = Tuple[str, str, bool, int, int, CodeType]


class StaleError(Exception):
    """A source is not the one that the start file was made of."""


def enter(library: str, parts: 'Sequence[Part]') -> 'Callable[..., int]':
    """Make the modules of every start.

    :param library: the directory that the package is in
    :param parts: of each module, in the order in which they can run, its name, its path in the library, whether it is a
        package, the time and size of its source, and its code
    :returns: the hook's main
    :raises StaleError, OSError: a source has changed, or cannot be looked at
    """
    specification = sys.modules['_frozen_importlib'].__dict__['ModuleSpec']
    kind = type(sys)
    modules: 'Dict[str, ModuleType]' = sys.modules
    made = []
    for name, path, is_package, changed, size, code in parts:
        file = '%s/%s' % (library, path)
        status = posix.stat(file)
        if status[8] != changed or status[6] != size:
            raise StaleError(file)
        module = modules[name] = kind(name)
        content = module.__dict__
        content['__spec__'] = spec = specification(name, None, origin=file, is_package=is_package)
        content['__file__'] = file
        content['__package__'] = spec.parent
        if is_package:
            content['__path__'] = spec.submodule_search_locations
            content['__path__'].append(file.rpartition('/')[0])
        made.append((name, module, code))
    for name, module, code in made:
        exec(code, module.__dict__)
        above, _, last = name.rpartition('.')
        if above:
            setattr(modules[above], last, module)
    return modules['virtguard.hook'].__dict__['main']  # type: ignore[no-any-return]
