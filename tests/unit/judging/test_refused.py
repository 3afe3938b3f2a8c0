# SPDX-License-Identifier: Apache-2.0
"""What is not for the guard to judge: domains of other hypervisors, and values that libvirt refuses itself.

Whether a document takes the fast way or the slow one, and whether it is one of many, makes no difference.
"""

import pytest
from support.paths import CHECKOUT
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.errors import DomainXMLError
from virtguard.judging.judge import Judge
from virtguard.judging.lines import Sieve
from virtguard.judging.subject import parse_domain
from virtguard.policy.compiler import prepare

POLICY = load_policy((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
NOTHING = model.Policy('none', 'enforce', 'deny', 5.0, False, (), '', '')
BASE = (CHECKOUT / 'tests/cases/base-x86_64.xml').read_text(encoding='utf-8')
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
TYPE, ARCH, DISK = "<domain type='kvm'>", "<type arch='x86_64'", "<target dev='vda'"
# The fast way is not taken where a character has to be read before it is known.
FORMS = {'plain': str, 'with a reference': lambda xml: xml.replace('</name>', '&#45;</name>')}


def verdicts(xml):
    """What each way says."""
    data = xml.encode()
    for policy in (POLICY, NOTHING):
        judge = Judge(policy, HOST, '2026-11-27')
        compiled = CompiledPolicy(prepare(policy))
        for way in (
            judge.judge,
            parse_domain,
            lambda data, compiled=compiled: compiled.judge(data, HOST, '2026-11-28')[0],
        ):
            try:
                yield way(data)
            except DomainXMLError as error:
                yield error


def assert_refused(xml, message, line, other=False):
    for said in verdicts(xml):
        # The hook's fast way leaves it to the slow one.
        if said is not None:
            assert isinstance(said, DomainXMLError), xml
            assert (said.message, said.line, said.other_document) == (message, line, other)


def assert_judged(xml):
    for said in verdicts(xml):
        assert not isinstance(said, DomainXMLError), said


@pytest.mark.parametrize('form', sorted(FORMS))
@pytest.mark.parametrize('type', 'xen lxc bhyve vz test vbox vmware openvz hyperv hvf parallels'.split())
def test_domains_of_other_drivers(form, type):
    xml = FORMS[form](BASE).replace(TYPE, "<domain type='%s'>" % type)
    assert_refused(xml, 'a domain of type %s, not kvm or qemu' % type, 1, other=True)


@pytest.mark.parametrize('form', sorted(FORMS))
@pytest.mark.parametrize('type', ['kvmm', 'KVM', '', ' kvm', 'none', 'qemu-kvm'])
def test_types_that_do_not_exist(form, type):
    xml = FORMS[form](BASE).replace(TYPE, "<domain id='7' type='%s'>" % type)
    assert_refused(xml, 'the domain type %r is not one that libvirt knows' % type, 1)


@pytest.mark.parametrize('form', sorted(FORMS))
@pytest.mark.parametrize('arch', ['amd64', 'X86_64', 'i386', 'arm64', '', 'x86_64 '])
def test_architectures_that_do_not_exist(form, arch):
    for spelt in ("<type arch='%s'", "<type\t arch = '%s'", '<type extra="a" arch="%s"'):
        xml = FORMS[form](BASE).replace(ARCH, spelt % arch)
        assert_refused(xml, 'the architecture %r is not one that libvirt knows' % arch, 13)


def test_what_is_judged():
    for form in FORMS.values():
        xml = form(BASE)
        assert_judged(xml)
        assert_judged(xml.replace(TYPE, '<domain\n type = "qemu" id="7">'))
        for arch in ('i686', 'armv7l', 'riscv64', 'loongarch64', 's390x', 'sparc64'):
            assert_judged(xml.replace(ARCH, "<type arch='%s'" % arch))
        assert_judged(xml.replace("<type arch='x86_64' ", '<type '))
        # Elsewhere it is another word.
        assert_judged(xml.replace('<metadata>', "<metadata><a:type xmlns:a='urn:a' arch='amd64'/>"))


REFUSED = {
    "<suspend-to-mem enabled='no'/>": [
        ("<suspend-to-mem enabled='%s'/>" % value, 'enabled', value, 'suspend-to-mem')
        for value in ('YES', 'true', 'on', '', 'yes ', '1')
    ],
    "<suspend-to-disk enabled='no'/>": [('<suspend-to-disk enabled\n= "Yes"/>', 'enabled', 'Yes', 'suspend-to-disk')],
    "type='file' device='disk'": [
        ("type='file' device='LUN'", 'device', 'LUN', 'disk'),
        ("type='file' device='tape'", 'device', 'tape', 'disk'),
        ("type='VhostUser' device='disk'", 'type', 'VhostUser', 'disk'),
        ("type='file' device='disk' rawio='true'", 'rawio', 'true', 'disk'),
    ],
    "<interface type='bridge'>": [
        ("<interface type='vhostUser'>", 'type', 'vhostUser', 'interface'),
        ("<interface type=' vhostuser'>", 'type', ' vhostuser', 'interface'),
    ],
    '<memballoon': [
        ("<filesystem><driver type='VirtioFS'/></filesystem><memballoon", 'type', 'VirtioFS', 'driver'),
        ("<tpm><backend type='PASSTHROUGH'/></tpm><memballoon", 'type', 'PASSTHROUGH', 'backend'),
        ("<tpm><backend type='&#80;assthrough'/></tpm><memballoon", 'type', 'Passthrough', 'backend'),
        ("<hostdev mode='Subsystem' type='pci'/><memballoon", 'mode', 'Subsystem', 'hostdev'),
        ("<hostdev mode='subsystem' type='PCI'/><memballoon", 'type', 'PCI', 'hostdev'),
        ("<sound model='AC97'/><memballoon", 'model', 'AC97', 'sound'),
    ],
}


@pytest.mark.parametrize(
    'old, new, attribute, value, tag',
    [(old, *row) for old in REFUSED for row in REFUSED[old]],
    ids=lambda text: repr(text)[:30],
)
def test_values_that_do_not_exist(old, new, attribute, value, tag):
    assert old in BASE
    xml = BASE.replace(old, new, 1)
    for judge in (parse_domain, Judge(POLICY, HOST, '2026-11-27').judge, Judge(NOTHING, HOST, '2026-11-27').judge):
        with pytest.raises(DomainXMLError) as error:
            judge(xml.encode())
        assert error.value.message == '%s=%r of <%s> is not one that libvirt knows' % (attribute, value, tag)
        assert error.value.line > 1 and not error.value.other_document


@pytest.mark.parametrize(
    'old, new',
    [
        ("<interface type='bridge'>", "<interface type='of-the-future'>"),
        ("<interface type='bridge'>", "<interface type='Of-The-Future'>"),
        ("type='file' device='disk'", "type='tomorrow' device='lun' rawio='no'"),
        (
            '<memballoon',
            "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev><memballoon",
        ),
        ('<memballoon', "<sound model='ICH9'/><memballoon"),
        ('<metadata>', "<metadata><a:disk xmlns:a='urn:a' device='LUN' type='Vhostuser'/>"),
    ],
)
def test_what_newer_versions_may_know_is_judged(old, new):
    assert old in BASE
    xml = BASE.replace(old, new, 1).encode()
    assert parse_domain(xml).name
    assert Judge(POLICY, HOST, '2026-11-27').judge(xml).decision == 'admit'


TO_FILL_IN = 'is to be filled in: the document is a template; check what is made of it'
TEMPLATES = [
    ("machine='pc-q35-rhel8.6.0'", "machine='{{ machine }}'", "'{{ machine }}' %s" % TO_FILL_IN),
    ("arch='x86_64'", "arch='{{ arch }}'", "'{{ arch }}' %s" % TO_FILL_IN),
    ("<interface type='bridge'>", "<interface type='{{ t }}'>", "'{{ t }}' %s" % TO_FILL_IN),
    (
        "<interface type='bridge'>",
        "<interface type='%(t)s'>",
        "type='%(t)s' of <interface> is not one that libvirt knows",
    ),
    ('<memballoon', "<tpm><backend type='${t}'/></tpm><memballoon", "'${t}' %s" % TO_FILL_IN),
    (
        '<memballoon',
        "<filesystem><driver type='{{ t }}'/></filesystem><memballoon",
        "'{{ t }}' %s" % TO_FILL_IN,
    ),
    ('<emulator>/usr/libexec/qemu-kvm<', '<emulator>{{ qemu_kvm }}<', "'{{ qemu_kvm }}' %s" % TO_FILL_IN),
    ('<emulator>/usr/libexec/qemu-kvm<', '<emulator>/usr/bin/${emulator}<', "'${emulator}' %s" % TO_FILL_IN),
    (DISK, '<iotune><read_iops_sec>{{ n }}</read_iops_sec></iotune>%s' % DISK, "'{{ n }}' %s" % TO_FILL_IN),
    ('</devices>', "{% include 'more.xml' %}</devices>", '"{%% include \'more.xml\' %%}" %s' % TO_FILL_IN),
    ('<devices>', '${devices}<devices>', "'${devices}' %s" % TO_FILL_IN),
    ('</domain>', '{# more #}</domain>', "'{# more #}' %s" % TO_FILL_IN),
    (
        '</domain>',
        "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>{{ a }}</q:commandline></domain>",
        "'{{ a }}' %s" % TO_FILL_IN,
    ),
]


@pytest.mark.parametrize('old, new, message', TEMPLATES, ids=lambda text: repr(text)[:30])
def test_templates_are_not_admitted_as_what_they_are_not(old, new, message):
    assert old in BASE
    xml = BASE.replace(old, new, 1)
    for judge in (parse_domain, Judge(POLICY, HOST, '2026-11-27').judge, Judge(NOTHING, HOST, '2026-11-27').judge):
        with pytest.raises(DomainXMLError) as error:
            judge(xml.encode())
        assert error.value.message == message
        assert error.value.line > 1 and not error.value.other_document


def test_a_template_is_refused_whatever_its_type():
    assert_refused(BASE.replace("type='kvm'", "type='{{ engine }}'", 1), "'{{ engine }}' " + TO_FILL_IN, 1)


@pytest.mark.parametrize(
    'old, new',
    [
        ('<metadata>', '<metadata>{{ a }}<a:a xmlns:a="urn:a">${b}<a:b/>{% c %}</a:a>'),
        ('<metadata>', '<title>{{ a }}</title><description>${b}</description><metadata>'),
        ("<target dev='vda'", "<serial>${a}</serial><target dev='vda'"),
    ],
)
def test_what_libvirt_takes_literally_is_not_a_template(old, new):
    assert old in BASE
    xml = BASE.replace(old, new, 1).encode()
    assert Judge(POLICY, HOST, '2026-11-27').judge(xml).decision == 'admit'


@pytest.mark.parametrize(
    'value, message',
    [
        ('many', "<total_bytes_sec> is 'many', which is not a number"),
        ('0x10', "<total_bytes_sec> is '0x10', which is not a number"),
        ('-1', "<total_bytes_sec> is '-1', which is not a number"),
        ('1e6', "<total_bytes_sec> is '1e6', which is not a number"),
        ('1 000', "<total_bytes_sec> is '1 000', which is not a number"),
        ('१०', "<total_bytes_sec> is '१०', which is not a number"),
    ],
)
def test_limits_that_are_not_numbers(value, message):
    xml = BASE.replace(DISK, '<iotune><total_bytes_sec>%s</total_bytes_sec></iotune>%s' % (value, DISK), 1)
    with pytest.raises(DomainXMLError) as error:
        parse_domain(xml.encode())
    assert error.value.message == message
    assert error.value.line > 30
    assert isinstance(next(verdicts(xml)), DomainXMLError)


@pytest.mark.parametrize(
    'value, denied', [('', 0), ('0', 0), (' +00', 0), ('1', 1), ('+1', 1), (' 10 ', 1), ('0.5', 1)]
)
def test_limits_that_are_numbers(value, denied):
    inside = '<total_bytes_sec>%s</total_bytes_sec><group_name>many</group_name>' % value
    xml = BASE.replace(DISK, '<iotune>%s</iotune>%s' % (inside, DISK), 1)
    verdict = Judge(POLICY, HOST, '2026-11-27').judge(xml.encode())
    assert [finding.rule.id for finding in verdict.findings] == ['qemu-io-throttling'] * denied


WORDS = [
    "<source file='/{{ x }}'/>",
    "<source file='/${x}'/>",
    "<model type = 'virtio'/>",
    "<model type= 'virtio'/>",
    "<model type\n='virtio'/>",
    "<model type='Virtio'/>",
    "<model type='a b'/>",
    "<model type='a>b'/>",
    "<hostdev rawio='on'/>",
    "<hostdev mode='s:bsystem'/>",
    "<type machine='pc-q35>rhel8.6.0'/>",
    "<type machine='pc-%s'/>",
    "<disk device='disc'/>",
    "<x name=''/>",
    "<hostdev mode='host-model'/>",
    "<hostdev mode='open'/>",
    "<type arch='x86_65'>hvm</type>",
    '<disk><iotune><total_bytes_sec>0x5</total_bytes_sec></iotune></disk>',
]


def test_lines_tell_what_is_usual():
    sieve = Sieve([])
    for inside in WORDS:
        xml = BASE.replace('<devices>', '<devices>' + inside, 1).encode()
        for _ in range(2):  # once seen, lines are remembered
            sifted = sieve.sift(xml)
            assert sifted is None or not sifted.is_usual, inside
    sifted = [sieve.sift(path.read_bytes()) for path in sorted((CHECKOUT / 'tests/cases').rglob('*.xml'))]
    assert sum(each is not None and each.is_usual for each in sifted) > 100


@pytest.mark.parametrize(
    'old, new',
    [
        ("mode='subsystem'", "mode='s:bsystem'"),
        ("mode='subsystem'", "mode='host-model'"),
        ("mode='subsystem'", """x=' mode="subsystem"' mode='host-model'"""),
        ("machine='pc-q35", "machine='pc-q35>"),
    ],
)
@pytest.mark.parametrize('form', sorted(FORMS))
def test_what_libvirt_refuses_is_refused_where_nothing_else_is_found(old, new, form):
    device = "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/></source></hostdev>"
    xml = FORMS[form](BASE.replace('</devices>', device + '</devices>', 1))
    assert old in xml
    judge = Judge(POLICY, HOST, '2026-11-27')
    assert judge.judge(xml.encode()).findings == ()
    with pytest.raises(DomainXMLError, match='is not one that libvirt knows'):
        judge.judge(xml.replace(old, new, 1).encode())
