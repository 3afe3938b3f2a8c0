# SPDX-License-Identifier: Apache-2.0
"""What libvirt has written about a domain: its status while it runs, and the metadata of snapshots and checkpoints.

The documents are those that libvirt writes for itself, without what no rule asks about: the list of QEMU's capabilities
(`<qemuCaps>` is empty), metadata that others keep in a domain (see metadata), and the copies of the domain in snapshots
and checkpoints (of `<domain>`, only the UUID is left). These are most of their size.

Also how much of that may be kept, and how much this process reads itself, without keeping other domains waiting. Pure:
no I/O.
"""

import re

from lxml import etree

from ..errors import DomainXMLError, GuardError
from ..judging.subject import parse_xml
from ..qemu_json import NOT_AN_XML_CHARACTER
from .metadata import cut_metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Mapping, Optional, Tuple

    Others = Dict[Tuple[str, str], bytes]

STATUS, SNAPSHOT, CHECKPOINT, PROCESS = 'status', 'snapshot', 'checkpoint', 'process'
_ROOTS = {STATUS: 'domstatus', SNAPSHOT: 'domainsnapshot', CHECKPOINT: 'domaincheckpoint'}

_DECLARATION = re.compile(rb'\s*<\?xml[^>]*\?>')
# libvirt writes one line each, and no other such line before <domain>: there it escapes what it was given.
_CAPABILITIES, _END_OF_CAPABILITIES = b'\n  <qemuCaps>\n', b'  </qemuCaps>\n'
_DOMAIN = b'\n  <domain'
_PID = re.compile(rb'<domstatus\b[^>]*?\spid=["\'](\d+)')
_UUID = re.compile(rb'<uuid>([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})</uuid>')
_HEAD = 64 << 10  # in which libvirt has written the UUID

# At worst, documents within these limits take some 50 ms: an OS id in each element, a rule that finds each.
_LIGHT_BYTES = 64 << 10
_LIGHT_TAGS = 1500
_LIGHT_TAG = 4096  # bytes, not twice as many: libxml2 compares each attribute of an element with each other
SMALL = 256 << 10  # bytes of files: up to this, checking whether they are light takes no time

# How much is kept of a domain. More would be an attack on memory.
MAX_DOCUMENT = 1 << 20
MAX_STATE = 2 << 20


class State:
    """What libvirt has written about one domain: `status` (None while it does not run), and metadata by kind and name.

    The state of the host has processes that libvirt does not own, in the place of metadata.
    """

    __slots__ = ('status', 'others')

    def __init__(self, status: 'Optional[bytes]' = None, others: 'Optional[Others]' = None) -> None:
        self.status = status
        self.others = others or {}

    def __bool__(self) -> bool:
        return self.status is not None or bool(self.others)

    def document(self, kind: str, name: str) -> 'Optional[bytes]':
        return self.status if kind == STATUS else self.others.get((kind, name))

    def with_document(self, kind: str, name: str, document: 'Optional[bytes]') -> 'State':
        """The state after a document of this kind was written, or (None) removed."""
        if kind == STATUS:
            return State(document, self.others)
        others = {key: other for key, other in self.others.items() if key != (kind, name)}
        if document is not None:
            others[kind, name] = document
        return State(self.status, others)

    def pid(self) -> int:
        """The process of a domain that runs, else 0."""
        match = _PID.search(self.status or b'')
        return int(match.group(1)) if match else 0

    def domain_text(self) -> 'Optional[bytes]':
        """The part of the status that defines the domain: as long as it is the same, so is the domain."""
        if self.status is None:
            return None
        start = _start_of_domain(self.status)
        return self.status if start < 0 else self.status[start:]


class Raw(bytes):
    """A file's content as it was read; a process of its own finds out what it is, and whether it can be parsed."""


def is_light(documents: 'Iterable[bytes]') -> bool:
    """Whether documents can be parsed and judged in no time."""
    size = tags = 0
    for document in documents:
        size += len(document)
        if size > _LIGHT_BYTES or isinstance(document, Raw):
            return False
        tags += document.count(b'<')
        if tags > _LIGHT_TAGS:
            return False
        for start in range(0, len(document) - _LIGHT_TAG, _LIGHT_TAG):
            if document.find(b'<', start, start + _LIGHT_TAG) < 0:
                return False
    return True


def documents_of(*states: State) -> 'Iterable[bytes]':
    for state in states:
        if state.status is not None:
            yield state.status
        yield from state.others.values()


def check_size(state: State) -> None:
    """:raises GuardError: it is too much to be kept"""
    sizes = [len(document) for document in documents_of(state)]
    if max(sizes, default=0) > MAX_DOCUMENT or sum(sizes) > MAX_STATE:
        limit = MAX_DOCUMENT if max(sizes) > MAX_DOCUMENT else MAX_STATE
        raise GuardError('it is larger than %d MiB without what no rule asks about' % (limit >> 20))


def shorten(kind: str, data: bytes, all_metadata: bool = False) -> bytes:
    """A file's content without what no rule asks about, as far as that can be cut off before anything is parsed."""
    if kind == STATUS:
        data = _without_capabilities(data)
    return data if all_metadata else cut_metadata(data)


def take_document(
    kind: str, data: bytes, all_metadata: bool = False, beside: 'Optional[Iterable[bytes]]' = None
) -> bytes:
    """A file's content as a State keeps it.

    :param beside: if given, a content that is not light together with these documents is only shortened, and Raw
    :raises DomainXMLError: it is not a whole document of this kind
    :raises GuardError: it is too much to be kept
    """
    shortened = shorten(kind, data, all_metadata)
    if beside is not None and not is_light([shortened, *beside]):
        return Raw(shortened)
    check_size(State(shortened))
    return check_document(kind, bytes(shortened))


def check_document(kind: str, data: bytes) -> bytes:
    """As take_document, for data that has been shortened already, and may be kept."""
    declaration = _DECLARATION.match(data)
    root = parse_xml(data)
    if root.tag != _ROOTS[kind]:
        raise DomainXMLError('the document is <%s>, not <%s>' % (str(root.tag).rpartition('}')[2], _ROOTS[kind]))
    if kind == STATUS and root.find('domain') is None:
        raise DomainXMLError('the status has no <domain>')
    if kind == STATUS and declaration is None:
        return data  # with its lines
    for child in root.findall('domain') + root.findall('inactiveDomain'):
        if kind != STATUS:
            _drop_definition(root, child)
    return bytes(etree.tostring(root, encoding='utf-8'))


def _start_of_domain(data: bytes) -> int:
    """Where the domain begins in a status that libvirt has written; negative where it does not seem to be one."""
    start = data.find(_DOMAIN)
    while start >= 0 and data[start + len(_DOMAIN) : start + len(_DOMAIN) + 1] not in (b' ', b'>', b'\n'):
        start = data.find(_DOMAIN, start + 1)
    return start


def _without_capabilities(data: bytes) -> bytes:
    """A status without the list of capabilities; all lines stay where they were."""
    start = data.find(_CAPABILITIES)
    end = data.find(_END_OF_CAPABILITIES, start)
    domain = _start_of_domain(data)
    if start < 0 or end < 0 or domain < end:
        return data
    start += len(_CAPABILITIES)
    return data[:start] + b'\n' * data.count(b'\n', start, end) + data[end:]


def _drop_definition(root: 'etree._Element', domain: 'etree._Element') -> None:
    if domain.tag != 'domain':
        root.remove(domain)
        return
    for child in list(domain):
        if child.tag != 'uuid':
            domain.remove(child)


def process_document(attributes: 'Mapping[str, str]') -> bytes:
    """A `<process>`."""
    process = etree.Element('process')
    for name, value in attributes.items():
        process.set(name, NOT_AN_XML_CHARACTER.sub('\ufffd', value))
    return bytes(etree.tostring(process))


def uuid_in(data: bytes) -> str:
    """The domain's UUID, if it can be found at once; else ''."""
    found = _UUID.search(data, 0, _HEAD)
    return found.group(1).decode() if found else ''
