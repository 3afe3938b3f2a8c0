# SPDX-License-Identifier: Apache-2.0
"""Where lxml and PyYAML come from, for an interpreter that was started without them (`-S`), and whether they are whole.

The distribution's own package directories come first. A package below /usr/local is used only if the distribution has
no copy of it and only root (or the caller) can write there: on Debian, the group staff may, too. sitecustomize is not
run, nor is a .pth file in a directory that is not trusted.

Whether they are whole is checked only after something has failed.
"""

import os
import sys

from .errors import GuardError
from .trust import check_way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

_OURS = ('lxml', 'yaml')
_LOCAL = '/usr/local'
_refused: 'Dict[str, str]' = {}  # directories that are not used, and why
_added: 'List[str]' = []


class MissingLibraryError(GuardError):
    """A library that judging needs cannot be imported, or is not whole. `settings` as in PolicyError."""

    def __init__(self, error: Exception, settings: 'Dict[str, object]') -> None:
        what = str(error) if isinstance(error, ImportError) else '%s: %s' % (type(error).__name__, error)
        ours = str(getattr(error, 'name', '')).startswith('virtguard')
        hint = 'run install.sh again' if ours else "install the distribution's lxml and PyYAML"
        super().__init__('a library is missing or broken: %s' % what, hint)
        self.settings = settings


def enable_packages() -> None:
    """Complete sys.path."""
    import site as loaded

    site: 'Any' = loaded
    before = list(sys.path)
    add = site.addsitedir

    def add_trusted(directory: str, *known: 'Any') -> 'Any':
        return None if _is_refused(directory) else add(directory, *known)

    site.addsitedir = add_trusted
    try:
        # As site.main does, but without the user's directory and without sitecustomize.
        site.addsitepackages(site.venv(set(before)))
    finally:
        site.addsitedir = add
    added = [path for path in sys.path if path not in before and not _is_refused(path)]
    _added[:] = sorted(added, key=_is_local)
    sys.path[:] = before + _added


def describe_copies(*names: str) -> str:
    """What to say of packages that cannot be used, if the copy that was tried is not the distribution's."""
    said = ''
    for name in names:
        having = [path for path in _added if os.path.isdir(os.path.join(path, name))]
        if having and _is_local(having[0]):
            said += '; of %s there is only the copy in %s, and none of the distribution' % (name, having[0])
        for path, reason in _refused.items():
            if not having and os.path.isdir(os.path.join(path, name)):
                said += '; the copy of %s in %s is not used: %s' % (name, path, reason)
    return said


def blame(error: Exception) -> MissingLibraryError:
    """The error to report instead of an unexpected exception, if a broken library has caused it.

    An incomplete copy of a library may be imported and fail later, with any exception, not only ImportError.

    :raises Exception: the same one, if the libraries work
    """
    if isinstance(error, (ImportError, AttributeError)) and any(name in str(error) for name in _OURS):
        return MissingLibraryError(error, {})
    try:
        _try_lxml()
        _try_yaml()
    except Exception as defect:
        return MissingLibraryError(defect, {})
    raise error


def _is_local(path: str) -> bool:
    """Whether a package directory is the administrator's, not the interpreter's own."""
    return path.startswith(_LOCAL + '/') and not sys.prefix.startswith(_LOCAL)


def _is_refused(directory: str) -> bool:
    if not _is_local(directory):
        return False
    try:
        check_way(os.path.join(directory, '*'))
    except (GuardError, OSError) as error:
        _refused[directory] = error.message if isinstance(error, GuardError) else str(error)
    return directory in _refused


def _try_lxml() -> None:
    from lxml import etree

    root = etree.fromstring(b'<a b="c"/>', etree.XMLParser(resolve_entities=False))
    if etree.XPath('/a/@b')(root) != ['c'] or etree.tostring(root) != b'<a b="c"/>':
        raise ImportError('lxml does not work')


def _try_yaml() -> None:
    import yaml

    node = yaml.compose('a: b', Loader=getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    if not isinstance(node, yaml.MappingNode) or node.value[0][1].value != 'b':
        raise ImportError('PyYAML does not work')
