# SPDX-License-Identifier: Apache-2.0
"""Refuses domains of libvirt's other drivers, and values that rules compare and libvirt would refuse. Pure: no I/O.

The hook gets XML that libvirt has read and written again. But a file may say anything: a rule that compares a value
with those that it knows would find nothing, and let it pass.
"""

import re

from .. import model
from ..errors import DomainXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Tuple

    from lxml import etree

# libvirt's types (virDomainVirt), without those of the driver that runs KVM.
_OTHER_TYPES = frozenset('bhyve hvf hyperv kqemu lxc openvz parallels phyp test uml vbox vmware vz xen'.split())
# re compiles patterns when they are first needed; the hook hardly ever needs them.
_ZERO = r'[ \t\r\n]*[+-]?0+\Z'
_POSITIVE = r'(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\Z'  # what XPath takes for a number, and rules object to
# For attributes that rules compare, by their element and its parent: all values that there are...
_SWITCH = frozenset(('yes', 'no'))
_ALL_VALUES = {
    ('pm', 'suspend-to-mem'): {'enabled': _SWITCH},
    ('pm', 'suspend-to-disk'): {'enabled': _SWITCH},
    ('devices', 'disk'): {'device': frozenset('disk cdrom floppy lun'.split()), 'rawio': _SWITCH},
    ('devices', 'hostdev'): {'mode': frozenset('subsystem capabilities'.split()), 'rawio': _SWITCH},
}
# ... and those that rules know, if newer versions of libvirt may know more. Other spellings of these are wrong.
_KNOWN_VALUES = {
    ('devices', 'disk'): {'type': frozenset('file block dir network volume nvme vhostuser vhostvdpa'.split())},
    ('devices', 'interface'): {'type': frozenset('vhostuser hostdev vdpa network bridge direct user'.split())},
    ('devices', 'hostdev'): {'type': frozenset('usb pci scsi scsi_host mdev'.split())},
    ('devices', 'controller'): {
        'type': frozenset('fdc scsi'.split()),
        'model': frozenset('vmpvscsi lsilogic lsisas1068 lsisas1078'.split()),
    },
    ('devices', 'graphics'): {'type': frozenset(('spice',))},
    ('devices', 'channel'): {'type': frozenset(('spicevmc',))},
    ('devices', 'redirdev'): {'type': frozenset(('spicevmc',))},
    ('devices', 'smartcard'): {'type': frozenset(('spicevmc',))},
    ('devices', 'sound'): {'model': frozenset('ac97 es1370 sb16'.split())},
    ('devices', 'memory'): {'model': frozenset(('nvdimm',))},
    ('filesystem', 'driver'): {'type': frozenset(('virtiofs',))},
    ('tpm', 'backend'): {'type': frozenset('passthrough emulator external'.split())},
    ('video', 'driver'): {'name': frozenset(('vhostuser',))},
    ('video', 'model'): {'type': frozenset('cirrus qxl'.split())},
}
_PARENTS = frozenset(parent for parent, _ in _KNOWN_VALUES)
# Characters that none of libvirt's words has, but a value that a template fills in.
_NO_WORD = '[{}$%<>]'
# libvirt skips text between elements; a template puts elements there.
_TO_FILL_IN = r'(?s)\{[{%#].{0,200}?[}%#]\}|\$\{.{0,200}?\}|<%.{0,200}?%>'
_TEMPLATE_MARKS = (b'{{', b'{%', b'{#', b'${', b'&lt;%')
_FILLED = frozenset(('devices', '{http://libvirt.org/schemas/domain/qemu/1.0}commandline'))  # also where they are empty
_FREE_TEXT = frozenset(('metadata', 'title', 'description', 'name'))
_PLAIN_VALUE = rb'[^A-Z\s&"\'{}$%<>]+'
# The values in all documents that libvirt has written, and in most others.
_USUAL_VALUES = {
    b'enabled': rb'(?:yes|no)',
    b'rawio': rb'(?:yes|no)',
    b'device': rb'(?:disk|cdrom|floppy|lun)',
    b'mode': rb'(?:subsystem|capabilities|host-model|host-passthrough|maximum|custom|bridge|vepa|private|passthrough|'
    rb'open|nat|bind|connect|client|server|strict|preferred|interleave|restrictive|native|emulate|auto|any|off)',
    b'machine': rb'[^\s&"\'{}$%<>]+',
    b'model': _PLAIN_VALUE,
    b'type': _PLAIN_VALUE,
    b'name': _PLAIN_VALUE,
}
ATTRIBUTES_LOOKED_AT = frozenset((*_USUAL_VALUES, b'arch'))  # by are_usual, wherever they are
_USUAL_ENDS = {name: rb'["\']' + usual + rb'["\']/?\Z' for name, usual in _USUAL_VALUES.items()}
_TO_BE_LOOKED_AT = (*_TEMPLATE_MARKS, b'<iotune', b'<throttlegroup')
# Which element has it decides of these: how its tag begins, the tag, the attribute, the values.
_OF_ELEMENTS = tuple(
    (
        b'<' + tag,
        rb'<%s(?=\s)[^<]*' % tag,
        rb'\s%s\s*=\s*["\']([^"\']*)' % attribute,
        frozenset(v.encode() for v in values if v),
    )
    for tag, attribute, values in (
        (b'domain', b'type', model.KVM_TYPES),
        (b'type', b'arch', model.ARCHITECTURES),
        (b'hostdev', b'mode', _ALL_VALUES['devices', 'hostdev']['mode']),
    )
)
_WITH_LIMITS = ('disk/devices/domain', 'throttlegroups/domain')


def check_values(root: 'etree._Element') -> None:
    """Refuse a domain that cannot be judged by rules about KVM. Where its bytes have shown that all its values are
    usual, see are_usual, there is nothing to refuse.

    :raises DomainXMLError: it is another driver's, or libvirt would refuse it, too
    """
    type = root.get('type')
    if type in _OTHER_TYPES:
        message = 'a domain of type %s, not kvm or qemu' % type
        raise DomainXMLError(message, root.sourceline or 0, other_document=True)
    if type not in model.KVM_TYPES:
        raise _unknown(root, 'the domain type %r' % str(type), str(type))
    for element in _children(root, 'os', 'type'):
        if element.get('arch') not in model.ARCHITECTURES:
            arch = str(element.get('arch'))
            raise _unknown(element, 'the architecture %r' % arch, arch)
        machine = element.get('machine', '')
        if re.search(_NO_WORD, machine):
            raise _unknown(element, 'the machine type %r' % machine, machine)
    _check_filled_in(root)
    for parent in root.iterchildren('pm', 'devices'):
        _check_words(parent)
    for limits in root.iter('iotune', 'throttlegroup'):
        if '/'.join(str(above.tag) for above in limits.iterancestors()) in _WITH_LIMITS:
            for element in limits:
                if element.tag != 'group_name':
                    _check_limit(element)


def _children(root: 'etree._Element', parent: str, name: str) -> 'Iterator[etree._Element]':
    for element in root.iterchildren(parent):
        yield from element.iterchildren(name)


def are_usual(text: bytes) -> bool:
    """Whether nothing in a document without references, or in a line of one, is a value that libvirt may refuse."""
    if any([mark in text for mark in _TO_BE_LOOKED_AT]):
        return False
    for begin, tag, attribute, values in _OF_ELEMENTS:
        if begin in text and not all(
            values.issuperset(re.findall(attribute, found)) for found in re.findall(tag, text)
        ):
            return False
    for word in set(text.replace(b'<', b' ').replace(b'>', b' ').split()):
        name, equals, value = word.partition(b'=')
        if equals and (not name or not value or (name in _USUAL_ENDS and not re.match(_USUAL_ENDS[name], value))):
            return False
    return True


def _check_words(parent: 'etree._Element') -> None:
    for element in parent:
        _check_attributes(element, (str(parent.tag), str(element.tag)))
        if element.tag in _PARENTS:
            _check_words(element)


def _check_attributes(element: 'etree._Element', place: 'Tuple[str, str]') -> None:
    for table in (_ALL_VALUES, _KNOWN_VALUES):
        for attribute, values in table.get(place, {}).items():
            value = element.get(attribute)
            # No other letters that XML allows become these in lower case.
            if value is None or value in values:
                continue
            another = value.strip().lower() not in values and not re.search(_NO_WORD, value)
            if table is _KNOWN_VALUES and another:
                continue
            raise _unknown(element, '%s=%r of <%s>' % (attribute, value, element.tag), value)


def _check_filled_in(root: 'etree._Element') -> None:
    for emulator in _children(root, 'devices', 'emulator'):  # the only text that a rule uses as a value
        _check_between(emulator.text, emulator)
    for child in root:
        _check_between(child.tail, child)
        if child.tag in _FREE_TEXT:
            continue
        for element in child.iter():
            if element is not child:
                _check_between(element.tail, element)
            if len(element) or element.tag in _FILLED:
                _check_between(element.text, element)
    _check_between(root.text, root)


def _check_between(text: 'Optional[str]', element: 'etree._Element') -> None:
    message = text and _to_fill_in(text)
    if message:
        raise DomainXMLError(message, element.sourceline or 0)


def _to_fill_in(text: str) -> str:
    """What to say of a text that a template must fill in; '' for others."""
    found = re.search(_TO_FILL_IN, text)
    if found is None:
        return ''
    return '%r is to be filled in: the document is a template; check what is made of it' % found.group()


def _check_limit(element: 'etree._Element') -> None:
    text = element.text or ''
    number = text.strip(' \t\r\n').replace('+', '')
    if text and not re.match(_ZERO, text) and not re.match(_POSITIVE, number):
        message = _to_fill_in(text) or '<%s> is %r, which is not a number' % (element.tag, text)
        raise DomainXMLError(message, element.sourceline or 0)


def _unknown(element: 'etree._Element', what: str, value: str) -> DomainXMLError:
    message = _to_fill_in(value) or '%s is not one that libvirt knows' % what
    return DomainXMLError(message, element.sourceline or 0)
