# SPDX-License-Identifier: Apache-2.0
"""Whether lxml and PyYAML are there, and whole: asked where something has failed, and nowhere else."""

from .errors import MissingLibraryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_OURS = ('lxml', 'yaml')


def blame(error: Exception) -> 'Optional[MissingLibraryError]':
    """What to tell instead of an exception that nobody expected, where a library is to blame; else None.

    Half a copy of a library may be imported, and then lack anything, so it is not only ImportError that shows it.
    """
    if isinstance(error, (ImportError, AttributeError)) and any(name in str(error) for name in _OURS):
        return MissingLibraryError(error, {})
    try:
        _try_lxml()
        _try_yaml()
    except Exception as defect:
        return MissingLibraryError(defect, {})
    return None


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
