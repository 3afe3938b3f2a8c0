# SPDX-License-Identifier: Apache-2.0
"""Two states of a domain -> the document that run-time rules match, and a state's domain as the hook would see it.

    <transition>
      <before> <domstatus/>? <domainsnapshot/>* <domaincheckpoint/>* </before>
      <after>  <domstatus/>? <domainsnapshot/>* <domaincheckpoint/>* </after>
    </transition>

or, for the host's QEMU processes that libvirt does not own, `<process pid= emulator= name= uid=/>` in their place.

The documents are those of the states. Pure: no I/O.
"""

import copy

from lxml import etree

from ..errors import DomainXMLError
from ..judging.subject import Subject, as_domain, parse_xml
from .state import CHECKPOINT, PROCESS, SNAPSHOT, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

_ORDER = (SNAPSHOT, CHECKPOINT, PROCESS)
_REPLACED = ('driver', 'virtualport', 'vlan', 'bandwidth', 'port')


def transition(before: State, after: State) -> 'etree._Element':
    """The transition document."""
    root = etree.Element('transition')
    for name, state in (('before', before), ('after', after)):
        half = etree.SubElement(root, name)
        if state.status is not None:
            half.append(parse_xml(state.status))
        if state.others:
            keys = sorted(state.others, key=lambda key: (_ORDER.index(key[0]), key[1]))
            half.extend(_parse_all([state.others[key] for key in keys]))
    return root


def _parse_all(documents: 'List[bytes]') -> 'List[etree._Element]':
    # In one go: a domain may have hundreds of snapshots, and each is a whole document by itself.
    try:
        return list(parse_xml(b'<all>%s</all>' % b''.join(documents)))
    except DomainXMLError:  # together they are too large
        return [parse_xml(document) for document in documents]


def is_another_run(document: 'etree._Element') -> bool:
    """Whether a transition leads from one process of the domain to another, with an unseen moment in between."""
    before, after = (half.find('domstatus') for half in document)
    if before is None or after is None:
        return False
    # libvirt writes 0 as the process before it has started one.
    pids = {before.get('pid', '0'), after.get('pid', '0')} - {'0'}
    return len(pids) > 1 or before.find('domain').get('id') != after.find('domain').get('id')


def uuid_of(half: 'etree._Element') -> str:
    """The domain's UUID, from the status or else from metadata; '' where neither says it."""
    return next((text for text in (element.text for element in half.iterfind('*/domain/uuid')) if text), '').strip()


def admitted_domain(status: 'etree._Element') -> Subject:
    """The domain of a `<domstatus>` as the hook would see it at `start`; its lines are those of the status."""
    root = copy.deepcopy(status.find('domain'))
    for private in list(root.iter('privateData')):  # what libvirt keeps for itself
        private.getparent().remove(private)
    for interface in root.iterfind('devices/interface'):
        actual = interface.find('actual')
        if actual is not None:
            interface.remove(actual)
            _make_actual(interface, actual)
    return as_domain(root)


def _make_actual(interface: 'etree._Element', actual: 'etree._Element') -> None:
    """Replace an interface of a network by what it was resolved to, as libvirt shows it to everybody but itself."""
    for name, value in actual.items():
        interface.set(name, value)
    source, resolved = interface.find('source'), actual.find('source')
    if source is not None and resolved is not None:
        if actual.get('type') != 'hostdev':  # libvirt does not show a host device's network
            for name in set(source.keys()) - set(resolved.keys()):
                resolved.set(name, source.get(name))
        interface.replace(source, resolved)
    for child in list(actual):
        if child.tag in _REPLACED:
            for replaced in interface.findall(child.tag):
                interface.remove(replaced)
            interface.append(child)
