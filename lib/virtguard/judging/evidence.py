# SPDX-License-Identifier: Apache-2.0
"""What was seen in a document, as a finding shows it: short, and without secrets. Pure: no I/O."""

import re

from lxml import etree

from .. import model
from ..match.compared import TEXT, compared_by
from .subject import element_of, is_reading, local_name, tag_name, written_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Optional

    from .subject import Node

_LENGTH = 200
_SAYS_WHAT = ('driver', 'qom-type', 'type')  # settings of a value that tell of what kind it is
# A verdict goes into logs and on screens, so secrets are not shown.
_SECRET_NAME = re.compile(r'passw|secret|token|^key$', re.IGNORECASE)
# Where a secret ends differs by syntax, so all that follows it is hidden, too.
_SECRET_IN_TEXT = re.compile(r'((?:passw[a-z]*|secret|data|key|token)["\']?\s*[=:]\s*).+', re.IGNORECASE | re.DOTALL)
_CREDENTIALS = re.compile(r'(://)[^/@\s]*@')


def compared_in(rule: model.Rule) -> 'Collection[str]':
    """What a rule compares of an element, as evidence_of takes it."""
    asked = (TEXT,) if rule.values is not None or rule.probe is not None else ()
    return compared_by(rule.match or '').union(asked)


def evidence_of(node: 'Node', compared: 'Collection[str]' = ()) -> str:
    """What was seen, as XML: the start tag of an element, or its content where it has no attribute.

    :param compared: the children of an element, and TEXT, that are always shown
    """
    element = element_of(node)
    is_element = isinstance(node, etree._Element)
    only = node.attrname if not is_element and node.is_attribute else None
    if only is not None and only not in element.attrib:
        only = None
    inside = ''
    if only is None and not is_reading(element):
        inside = _inside(element, compared if is_element else (TEXT,))
    end = '</%s>' % _name(element) if inside else ''
    return _shorten('%s%s%s%s' % (_option_of(node, element), _start_tag(element, only, '>'), inside, end))


def _option_of(node: 'Node', element: 'etree._Element') -> str:
    """The option before an argument's value, if the value does not say itself what it makes; else ''."""
    reading = node if isinstance(node, etree._Element) else node.getparent()
    if reading is None or not is_reading(reading) or any(reading.get(key) for key in _SAYS_WHAT):
        return ''
    before = element.getprevious()
    while before is not None and before.tag != element.tag:
        before = before.getprevious()
    if before is None or not before.get('value', '').startswith('-') or element.get('value', '').startswith('-'):
        return ''
    return _start_tag(before, None, '/>')


def _inside(element: 'etree._Element', compared: 'Collection[str]') -> str:
    children = [child for child in element if not is_reading(child)]
    shown = [child for child in children if not element.attrib or tag_name(child) in compared]
    if not children and (not element.attrib or (TEXT in compared and (element.text or '').strip())):
        return _text(element)
    return ''.join(_brief(child) for child in shown)


def _brief(child: 'etree._Element') -> str:
    if any(not is_reading(grandchild) for grandchild in child):
        return _start_tag(child, None, '>...')
    if not child.text:
        return _start_tag(child, None, '/>')
    return '%s%s</%s>' % (_start_tag(child, None, '>'), _text(child), _name(child))


def _name(element: 'etree._Element') -> str:
    tag = local_name(element.tag)
    return '%s:%s' % (element.prefix, tag) if element.prefix else tag


def _start_tag(element: 'etree._Element', only: 'Optional[str]', end: str) -> str:
    shown = [_name(element)]
    for name in element.keys():  # noqa: SIM118
        if only in (None, name):
            value = written_value(element, str(name))
            shown.append('%s="%s"' % (local_name(name), _mask(_named(element, str(name)), str(value))))
    return '<%s%s' % (' '.join(shown), end)


def _mask(name: str, value: str) -> str:
    if _SECRET_NAME.search(name):
        return '***'
    if '=' not in value and ':' not in value:  # so are most; the expressions below take long to find out
        return value
    return _CREDENTIALS.sub(r'\1***@', _SECRET_IN_TEXT.sub(r'\1***', value))


def _text(element: 'etree._Element') -> str:
    return _mask('%s %s' % (local_name(element.tag), element.get('name', '')), element.text or '')


def _named(element: 'etree._Element', attribute: str) -> str:
    """The name of a value: for `<qemu:env name= value=>` and `<qemu:property>`, their `name`; else the attribute's."""
    return str(element.get('name', attribute)) if attribute == 'value' else attribute


def _shorten(text: str) -> str:
    text = ' '.join(text.split())
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + '...'
