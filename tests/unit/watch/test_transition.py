# SPDX-License-Identifier: Apache-2.0
"""Documents of a domain's state, the transition between two of them, and the domain as the hook would see it."""

import pytest
from lxml import etree
from virtguard.errors import DomainXMLError, GuardError
from virtguard.match.syntax import ARG_NS
from virtguard.watch.state import CHECKPOINT, PROCESS, SNAPSHOT, STATUS, Raw, State, process_document, take_document
from virtguard.watch.transition import admitted_domain, is_another_run, transition, uuid_of

UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'
STATUS_XML = b"""\
<!-- written by libvirt -->

<domstatus state='running' pid='42'>
  <qemuCaps>
    <flag name='kvm'/>
    <flag name='spice'/>
  </qemuCaps>
  <domain type='kvm' id='1'>
    <name>vm</name>
    <uuid>5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10</uuid>
    <devices>
%s    </devices>
  </domain>
</domstatus>
"""


def state(devices=b'', replace=(b'', b'')):
    return State(take_document(STATUS, (STATUS_XML % devices).replace(*replace)))


def admitted(interface):
    """An interface of the status, as XML, and what the hook would see in its place."""
    document = transition(State(), state(interface))
    subject = admitted_domain(document.find('after/domstatus'))
    return subject.root.find('devices')[0]


def canonical(element):
    """The same, whatever the order of attributes and children, and the white space between them."""
    return (
        element.tag,
        sorted(element.items()),
        (element.text or '').strip(),
        sorted(canonical(child) for child in element),
    )


def test_the_capabilities_go_and_the_lines_stay():
    taken = take_document(STATUS, STATUS_XML % b'')
    assert b'spice' not in taken and taken.count(b'\n') == (STATUS_XML % b'').count(b'\n')
    assert etree.fromstring(taken).find('domain').sourceline == 8


def test_capabilities_in_metadata_are_the_guests_business():
    """Without libvirt's own list, the words are somebody's text."""
    text = b'<metadata>\n  <qemuCaps>\n<a/>  </qemuCaps>\n</metadata>'
    data = (STATUS_XML % b'').replace(b'<devices>', text + b'<devices>')
    start, end = data.index(b'  <qemuCaps>'), data.index(b'</qemuCaps>\n') + len(b'</qemuCaps>\n')
    data = data[:start] + data[end:]
    assert b'<a/>' in take_document(STATUS, data, all_metadata=True)
    assert b'<a/>' not in take_document(STATUS, data)


def test_metadata_keeps_what_is_said_of_it_and_the_uuid():
    data = b"""<?xml version='1.0'?>
<domainsnapshot><name>s1</name><state>running</state>
<domain type='kvm'><name>vm</name><uuid>%s</uuid><devices><disk/></devices></domain>
<inactiveDomain><name>vm</name></inactiveDomain></domainsnapshot>""" % UUID.encode()
    root = etree.fromstring(take_document(SNAPSHOT, data))
    assert [child.tag for child in root] == ['name', 'state', 'domain']
    assert [child.tag for child in root.find('domain')] == ['uuid']


@pytest.mark.parametrize(
    'kind, data',
    [
        (STATUS, b'<domain/>'),
        (STATUS, b'<domstatus/>'),
        (STATUS, b'<domainsnapshot/>'),
        (SNAPSHOT, b'<domaincheckpoint/>'),
        (CHECKPOINT, b'<domainsnapshot/>'),
        (CHECKPOINT, b'<!DOCTYPE domaincheckpoint><domaincheckpoint/>'),
        (STATUS, b''),
        (STATUS, b'</domstatus></after><after>'),
    ],
)
def test_a_document_of_another_kind_is_refused(kind, data):
    with pytest.raises(DomainXMLError):
        take_document(kind, data)


def test_a_document_that_takes_long_to_parse_is_only_shortened():
    heavy, light = STATUS_XML % (b'<disk/>' * 800), STATUS_XML % b''
    taken = take_document(STATUS, heavy, beside=())
    assert isinstance(taken, bytes) and not isinstance(taken, Raw)
    for shortened in take_document(STATUS, heavy, beside=[heavy]), take_document(STATUS, heavy * 2, beside=()):
        assert isinstance(shortened, Raw) and b'spice' not in shortened[: len(light)]
    later = take_document(STATUS, take_document(STATUS, heavy, beside=[heavy]))
    assert later == taken and not isinstance(later, Raw)


def test_a_document_that_is_too_large_to_be_kept():
    with pytest.raises(GuardError, match='larger than 1 MiB'):
        take_document(STATUS, STATUS_XML % (b'<disk/>' * (1 << 18)))


def test_the_document():
    before = state()
    after = state().with_document(CHECKPOINT, 'c', b'<domaincheckpoint/>')
    after = after.with_document(SNAPSHOT, 'b', b'<domainsnapshot><name>b</name></domainsnapshot>')
    after = after.with_document(SNAPSHOT, 'a', b'<domainsnapshot><name>a</name></domainsnapshot>')
    root = transition(before, after)
    assert [half.tag for half in root] == ['before', 'after']
    assert [child.tag for child in root[0]] == ['domstatus']
    assert [child.tag for child in root[1]] == ['domstatus', 'domainsnapshot', 'domainsnapshot', 'domaincheckpoint']
    assert [name.text for name in root.iterfind('after/domainsnapshot/name')] == ['a', 'b']
    assert root.xpath('string(/transition/after/domstatus/domain/name)') == 'vm'
    assert uuid_of(root[1]) == UUID
    gone = after.with_document(SNAPSHOT, 'a', None).with_document(STATUS, '', None)
    assert [child.tag for child in transition(after, gone)[1]] == ['domainsnapshot', 'domaincheckpoint']
    assert bool(gone) and not State()


def test_metadata_that_is_too_much_for_one_document():
    """libvirt takes descriptions of 4 MiB."""
    description = b'x' * (4 << 20)
    snapshot = b'<domainsnapshot><name>%d</name><description>%s</description></domainsnapshot>'
    others = {(SNAPSHOT, str(n)): take_document(SNAPSHOT, snapshot % (n, description)) for n in range(9)}
    document = transition(State(), State(None, others))
    assert document.xpath('after/domainsnapshot/name/text()') == [str(n) for n in range(9)]


def test_processes():
    attributes = {'pid': '7', 'emulator': '/opt/\x01qemu-kvm', 'name': 'a<b', 'uid': '0'}
    root = transition(State(), State(None, {(PROCESS, '7'): process_document(attributes)}))
    assert dict(root.find('after/process').items()) == dict(attributes, emulator='/opt/\ufffdqemu-kvm')


@pytest.mark.parametrize(
    'old, new, expected',
    [
        (b'', b'', False),
        (b"pid='42'", b"pid='43'", True),
        (b"id='1'", b"id='2'", True),
        (b"pid='42'", b"pid='0'", False),  # before the process is started
    ],
)
def test_another_run(old, new, expected):
    assert is_another_run(transition(state(), state(replace=(old, new)))) is expected
    assert not is_another_run(transition(State(), state()))


def test_the_process_id_in_a_state():
    assert (state().pid(), State().pid()) == (42, 0)


# --- as the hook would see it --------------------------------------------------------------------------------------

ACTUAL = {
    'hostdev': (
        b"""<interface type='network'><mac address='52:54:00:00:00:01'/>
        <source network='vfs' portid='p'/>
        <actual type='hostdev' managed='yes'><driver name='vfio'/>
        <source><address type='pci' domain='0' bus='3' slot='16' function='1'/></source><vlan><tag id='42'/></vlan>
        </actual><vlan><tag id='1'/></vlan><model type='virtio'/></interface>""",
        b"""<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:01'/>
        <source><address type='pci' domain='0' bus='3' slot='16' function='1'/></source><model type='virtio'/>
        <driver name='vfio'/><vlan><tag id='42'/></vlan></interface>""",
    ),
    'bridge': (
        b"""<interface type='network'><source network='default' portid='p'/>
        <actual type='bridge'><source bridge='virbr0'/></actual><target dev='vnet0'/></interface>""",
        b"""<interface type='bridge'><source network='default' portid='p' bridge='virbr0'/><target dev='vnet0'/>
        </interface>""",
    ),
    'direct': (
        b"""<interface type='network'><source network='macvtap' portid='p'/>
        <actual type='direct'><source dev='eth0' mode='vepa'/></actual></interface>""",
        b"<interface type='direct'><source network='macvtap' portid='p' dev='eth0' mode='vepa'/></interface>",
    ),
    'none': (
        b"<interface type='vhostuser'><source/></interface>",
        b"<interface type='vhostuser'><source/></interface>",
    ),
}


@pytest.mark.parametrize('kind', sorted(ACTUAL))
def test_interfaces_are_what_they_were_resolved_to(kind):
    interface, expected = ACTUAL[kind]
    assert canonical(admitted(interface)) == canonical(etree.fromstring(expected))


def test_what_is_private_to_libvirt_is_left_out_and_lines_stay():
    disk = b'<disk>\n<source><privateData><x/></privateData></source>\n<target/></disk>\n'
    element = admitted(disk)
    assert canonical(element) == canonical(etree.fromstring(b'<disk><source/><target/></disk>'))
    assert element.find('target').sourceline == 14


def test_a_planted_argument_in_a_state_hides_no_finding():
    """It can come into the metadata of a domain that runs."""
    planted = b"<g:device xmlns:g='%s' driver='vhost-user-fs-pci'/>" % ARG_NS.encode()
    document = transition(State(), state(planted + b'<tpm/>'))
    subject = admitted_domain(document.find('after/domstatus'))
    assert [child.tag for child in subject.root.find('devices')][-1:] == ['tpm']
    assert list(subject.root.iter('{%s}*' % ARG_NS)) == []


def test_arguments_are_read():
    commandline = (
        b"<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        b"<qemu:arg value='-device'/><qemu:arg value='vhost-user-fs-pci'/></qemu:commandline>"
    )
    document = transition(State(), state(replace=(b'</devices>', b'</devices>' + commandline)))
    subject = admitted_domain(document.find('after/domstatus'))
    assert len(subject.root.findall('.//{%s}device' % ARG_NS)) == 1
    assert (subject.name, subject.uuid) == ('vm', UUID)
