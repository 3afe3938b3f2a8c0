# SPDX-License-Identifier: Apache-2.0
"""The functions of expressions, but those that xpath itself has; with libxml2's results. Pure: no I/O.

To add a function: what it does here, the types of its arguments in match/program, its name in match/syntax.
"""

from .flags import has_flag
from .tree import Leaf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Sequence

_INFINITY = float('inf')
_XML_LANG = '{http://www.w3.org/XML/1998/namespace}lang'


def _name(nodes: 'Sequence[Any]') -> str:
    """The name of the first node, as the tree has it."""
    return '' if not nodes else nodes[0].attrname if nodes[0].__class__ is Leaf else nodes[0].tag


def _qualified_name(nodes: 'Sequence[Any]') -> str:
    tag = _name(nodes)
    local = tag.rpartition('}')[2]
    if not local:
        return ''
    prefix = nodes[0].parent.prefix_of(tag) if nodes[0].__class__ is Leaf else nodes[0].prefix
    return '%s:%s' % (prefix, local) if prefix else local


def _has_language(wanted: str, nodes: 'Sequence[Any]') -> bool:
    (node,) = nodes
    while node is not None:
        language = node.attrib.get(_XML_LANG)
        if language is not None:
            wanted, language = wanted.upper(), language.upper()
            return bool(language == wanted or language.startswith(wanted + '-'))
        node = node.parent
    return False


def _substring(text: str, start: float, length: float = _INFINITY) -> str:
    first = _round(start)
    end = first + _round(length)
    return ''.join([character for place, character in enumerate(text, 1) if first <= place < end])


def _is_whole(number: float) -> bool:
    return number != number or abs(number) >= 1e15


def _round(number: float) -> float:
    if _is_whole(number):
        return number
    if -0.5 <= number < 0.5:
        return number * 0.0
    below = number // 1
    return below + 1.0 if number - below >= 0.5 else below


def _translate(text: str, old: str, new: str) -> str:
    table: 'Dict[int, Any]' = {}
    for place, character in enumerate(old):
        table.setdefault(ord(character), new[place] if place < len(new) else None)
    return text.translate(table)


def _locate(function: str, nodes: 'Sequence[Any]', *paths: str) -> bool:
    from . import locations  # only where a rule asks for it

    texts = [node.string_value() for node in nodes]
    return bool(getattr(locations, function)(texts, *([paths] if paths else [])))


FUNCTIONS: 'Dict[str, Callable[..., Any]]' = {
    'ceiling': lambda number: number if _is_whole(number) else -(-number // 1),
    'concat': lambda *texts: ''.join(texts),
    'floor': lambda number: number if _is_whole(number) else number // 1,
    'lang': _has_language,
    'local-name': lambda nodes: _name(nodes).rpartition('}')[2],
    'name': _qualified_name,
    'namespace-uri': lambda nodes: _name(nodes).rpartition('}')[0][1:],
    'normalize-space': lambda text: ' '.join(
        [word for word in text.translate({9: 32, 10: 32, 13: 32}).split(' ') if word]
    ),
    'round': _round,
    'string-length': lambda text: float(len(text)),
    'substring': _substring,
    'substring-after': lambda text, part: text.partition(part)[2] if part else text,
    'substring-before': lambda text, part: text.partition(part)[0] if part and part in text else '',
    'translate': _translate,
    'vg:has-flag': lambda nodes, flag: has_flag([node.string_value() for node in nodes], int(flag)),
    'vg:is-path': lambda nodes, *paths: _locate('is_path', nodes, *paths),
    'vg:lies-below': lambda nodes, *paths: _locate('lies_below', nodes, *paths),
    'vg:is-any-address': lambda nodes: _locate('is_any_address', nodes),
}
