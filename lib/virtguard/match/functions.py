# SPDX-License-Identifier: Apache-2.0
"""The functions that expressions of a policy have beyond those of XPath 1.0. Pure: no I/O.

    vg:has-flag(NODES, FLAG)  whether the text of one of these nodes is a number that has the bit FLAG. Such a text is
                              decimal digits, or hexadecimal ones behind 0x, and at most 20 of them. What is missing, or
                              is no number, has no flag (flags.has_flag). FLAG is written as a number with one bit,
                              below 2 to the power of 53.
    vg:is-path(NODES, PATH, ...)      whether the text of one of these nodes is one of these paths, and
    vg:lies-below(NODES, PATH, ...)   whether it is one of them, or a path below one. //, /./, .. and a slash at the end
                              are read away; links are not followed, and .. is read as if there were none. A text that
                              does not begin with a slash is not a path. PATH is written plainly.
    vg:is-any-address(NODES)  whether the text of one of these nodes stands for every address of the host, in IPv4 or
                              IPv6: 0, 0.0.0.0, ::, 0::0 and other spellings. What is missing, or empty, does not.
    vg:before()               the element as it was before: the elements that correspond to it (as below) in <before>
    vg:is-new()               whether the element was not there before, although what it stands in was
    vg:is-gone()              whether the element is not there any more, although what it stood in is

The last three are for rules of run time, and speak of the element in whose brackets they stand. vg:before() and
vg:is-new() are for an element in <after>, vg:is-gone() is for one in <before>.

<before> and <after> correspond. So do two elements that have the same name and the same identity, and stand in elements
that correspond. The identity of an element is the name of its child <alias>, which libvirt gives to each device; else
the text of its child <name>, which snapshots and checkpoints have; an element with neither has none. For an element
that is not within <before> or <after>, there is no corresponding one, and it is neither new nor gone.
"""

from .. import model
from ..flags import has_flag
from ..locations import is_any_address, is_path, lies_below, plain_path
from .syntax import (
    HAS_FLAG,
    IS_ANY_ADDRESS,
    IS_GONE,
    IS_NEW,
    IS_PATH,
    LIES_BELOW,
    OF_SOME_NODE,
    THE_ONE_BEFORE,
    VG_NS,
    MatchError,
    Node,
    Step,
    is_name,
    yields_nodes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

    from lxml import etree

BEFORE, AFTER = 'before', 'after'
# Where the elements stand that the functions speak of.
_SIDES = {THE_ONE_BEFORE: AFTER, IS_NEW: AFTER, IS_GONE: BEFORE}
_EXAMPLES = {
    HAS_FLAG: HAS_FLAG + '(@flags, 0x10)',
    IS_PATH: IS_PATH + "(@dir, '/var')",
    LIES_BELOW: LIES_BELOW + "(@dir, '/etc')",
    IS_ANY_ADDRESS: IS_ANY_ADDRESS + '(@listen)',
}
_MOST_FLAGS = 53  # numbers of XPath are exact up to that


# --- before an expression is used -----------------------------------------------------------------------------------


class _Here:
    """What is known of the nodes that an expression is evaluated at: whether all are elements, and in which half of a
    transition they stand ('': not known)."""

    __slots__ = ('elements', 'side')

    def __init__(self, elements: bool, side: str) -> None:
        self.elements = elements
        self.side = side


_DOCUMENT = _Here(False, '')


def check_functions(node: Node, at: str) -> None:
    """Find calls of these functions that mean nothing where they stand.

    :param node: an expression that check_calls lets pass
    :raises MatchError: there is one
    """
    _follow(node, _DOCUMENT, at)


def _follow(node: Node, here: _Here, at: str) -> _Here:
    """Check an expression; what is known of the nodes that it yields."""
    if node.kind == 'path':
        return _follow_steps(node.steps, _DOCUMENT if node.absolute else here, at)
    if node.kind == 'filter':
        found = _follow(node.operands[0], here, at)
        for predicate in node.operands[1:]:
            _follow(predicate, found, at)
        return _follow_steps(node.steps, found, at)
    every = [_follow(operand, here, at) for operand in node.operands]
    if node.kind == 'union':
        sides = {one.side for one in every}
        return _Here(all(one.elements for one in every), sides.pop() if len(sides) == 1 else '')
    if node.kind == 'call' and node.text in OF_SOME_NODE:
        _check_arguments(node)
    elif node.kind == 'call' and node.text in _SIDES:
        _check_place(node, here, at)
        return _Here(True, BEFORE)
    return _Here(False, '')


def _follow_steps(steps: 'Tuple[Step, ...]', here: _Here, at: str) -> _Here:
    for step in steps:
        here = _Here(_selects_elements(step, here), _side_of(step, here))
        for predicate in step.predicates:
            _follow(predicate, here, at)
    return here


def _selects_elements(step: Step, here: _Here) -> bool:
    if step.axis == 'self' and step.test == 'node()':
        return here.elements
    return step.axis != 'attribute' and (is_name(step.test) or step.test.endswith('*'))


def _side_of(step: Step, here: _Here) -> str:
    if step.axis not in ('self', 'child', 'descendant', 'descendant-or-self', 'attribute'):
        return ''
    return here.side or (step.test if step.axis == 'child' and step.test in (BEFORE, AFTER) else '')


def _check_arguments(call: Node) -> None:
    nodes, *others = call.operands
    if not yields_nodes(nodes):
        hint = 'write what it asks about first, as in %s' % _EXAMPLES[call.text]
        raise MatchError('calls %s() for something that is not nodes' % call.text, hint, call.offset)
    for other in others:
        if call.text == HAS_FLAG:
            _check_flag(call, other)
        else:
            _check_path(call, other)


def _check_path(call: Node, path: Node) -> None:
    if path.kind != 'literal':
        raise MatchError('calls %s() with something that is not a text in quotes' % call.text, '', call.offset)
    plain = plain_path(path.text)
    if plain != path.text:
        hint = 'write %r' % plain if plain else 'a path begins with /'
        raise MatchError('calls %s() with %r, which no path is read as' % (call.text, path.text), hint, path.offset)


def _check_flag(call: Node, flag: Node) -> None:
    bits = int(flag.text) if flag.kind == 'number' and flag.text.isdigit() else 0
    if bin(bits).count('1') != 1 or bits >> _MOST_FLAGS:
        asked = ': 0x%x is none' % bits if flag.kind == 'number' and flag.text.isdigit() else ''
        hint = 'write a call for each flag, and join them with or, or and'
        raise MatchError('calls %s() for something that is not one flag%s' % (HAS_FLAG, asked), hint, call.offset)


def _check_place(call: Node, here: _Here, at: str) -> None:
    name, side = call.text, _SIDES[call.text]
    if at != model.RUNTIME:
        message = 'calls %s(), but where a domain starts there is no state before' % name
        raise MatchError(message, 'it is for rules with at: runtime', call.offset)
    if not here.elements:
        hint = 'write it in the brackets of an element, as in memory[%s()]' % name
        raise MatchError('calls %s() where it does not speak of an element' % name, hint, call.offset)
    if here.side not in ('', side):
        other = {IS_NEW: IS_GONE, IS_GONE: IS_NEW}.get(name)
        hint = 'did you mean %s()?' % other if other else 'the path should lead through <%s>' % side
        raise MatchError('calls %s() of an element in <%s>' % (name, here.side), hint, call.offset)


# --- while it is evaluated, by lxml ---------------------------------------------------------------------------------


def _texts(nodes: 'List[Union[etree._Element, str]]') -> 'List[str]':
    return [node if isinstance(node, str) else ''.join(node.itertext()) for node in nodes]


def _has_flag(context: 'Any', nodes: 'List[Union[etree._Element, str]]', flag: float) -> bool:
    return has_flag(_texts(nodes), int(flag))


def _is_path(context: 'Any', nodes: 'List[Union[etree._Element, str]]', *paths: str) -> bool:
    return is_path(_texts(nodes), paths)


def _lies_below(context: 'Any', nodes: 'List[Union[etree._Element, str]]', *paths: str) -> bool:
    return lies_below(_texts(nodes), paths)


def _is_any_address(context: 'Any', nodes: 'List[Union[etree._Element, str]]') -> bool:
    return is_any_address(_texts(nodes))


def _before(context: 'Any') -> 'List[etree._Element]':
    return _Halves(context.eval_context).corresponding(context.context_node, BEFORE)


def _is_new(context: 'Any') -> bool:
    return _Halves(context.eval_context).is_only_here(context.context_node, BEFORE)


def _is_gone(context: 'Any') -> bool:
    return _Halves(context.eval_context).is_only_here(context.context_node, AFTER)


class _Halves:
    """What corresponds to what in the two halves of a transition.

    :param known: what was found out earlier in the same evaluation: for a whole of n elements, time that grows with n
    """

    def __init__(self, known: 'Dict[Any, Any]') -> None:
        self._known = known

    def corresponding(self, element: 'etree._Element', side: str) -> 'List[etree._Element]':
        """The elements in a half that correspond to this one; itself among them, if it is in that half."""
        key = (element, side)
        if key not in self._known:
            self._known[key] = self._look_for(element, side)
        found: 'List[etree._Element]' = self._known[key]
        return found

    def is_only_here(self, element: 'etree._Element', side: str) -> bool:
        """Whether nothing in a half corresponds to this element, although something does to its parent."""
        parent = element.getparent()
        return parent is not None and bool(self.corresponding(parent, side)) and not self.corresponding(element, side)

    def _look_for(self, element: 'etree._Element', side: str) -> 'List[etree._Element]':
        parent = element.getparent()
        if parent is None:
            return []
        if parent.getparent() is None:
            return [half for half in parent if half.tag == side] if element.tag in (BEFORE, AFTER) else []
        wanted = (element.tag, _identity(element))
        return [found for other in self.corresponding(parent, side) for found in self._children(other).get(wanted, ())]

    def _children(self, element: 'etree._Element') -> 'Dict[Any, List[etree._Element]]':
        if element not in self._known:
            children: 'Dict[Any, List[etree._Element]]' = {}
            for child in element:
                children.setdefault((child.tag, _identity(child)), []).append(child)
            self._known[element] = children
        found: 'Dict[Any, List[etree._Element]]' = self._known[element]
        return found


def _identity(element: 'etree._Element') -> 'Optional[Tuple[str, str]]':
    alias = element.find('alias')
    if alias is not None:
        return 'alias', alias.get('name', '')
    name = element.find('name')
    return None if name is None else ('name', ''.join(name.itertext()))


# As etree.XPath takes them.
EXTENSIONS = {
    (VG_NS, name.partition(':')[2]): function
    for name, function in (
        (HAS_FLAG, _has_flag),
        (IS_PATH, _is_path),
        (LIES_BELOW, _lies_below),
        (IS_ANY_ADDRESS, _is_any_address),
        (THE_ONE_BEFORE, _before),
        (IS_NEW, _is_new),
        (IS_GONE, _is_gone),
    )
}
