# SPDX-License-Identifier: Apache-2.0
"""Names in namespaces are read as libvirt reads them: outside of metadata they have none."""

import pytest
from support.policies import load_policy
from virtguard import model
from virtguard.errors import DomainXMLError
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.match.syntax import NAMESPACES

POLICY = load_policy(
    b"""policy: x
rules:
  - id: driver
    match: "/domain/devices/*[self::filesystem or self::disk]/driver[@type = 'virtiofs']"
    title: t
    action: deny
    why: w
    remedy: r
  - {id: tcg, title: t, action: deny, match: "/domain/@type[. = 'qemu']", why: w, remedy: r}
  - {id: pm, title: t, action: deny, match: "/domain/pm/suspend-to-mem[@enabled = 'yes']", why: w, remedy: r}
  - {id: acpi, title: t, action: deny, match: /domain/features/acpi, why: w, remedy: r}
  - {id: arg, title: t, action: deny, match: "/domain/qemu:commandline/qemu:arg/arg:device", why: w, remedy: r}
  - {id: os, title: t, action: warn, match: "/domain[not(metadata/libosinfo:libosinfo)]", why: w, remedy: r}
""",
    'p',
)
HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', lambda name, subject: None)
JUDGE = Judge(POLICY, HOST, '2026-01-01')
UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
OS = "<metadata><l:libosinfo xmlns:l='%s'/></metadata>" % NAMESPACES['libosinfo']
Z = "xmlns:z='urn:z'"


def found(xml):
    """The rules that find something, each way."""
    verdict = JUDGE.judge(xml.encode())
    slow = evaluate(POLICY, parse_domain(xml.encode()), HOST, '2026-01-01')
    assert [(f.rule.id, f.path, f.line) for f in verdict.findings] == [
        (f.rule.id, f.path, f.line) for f in slow.findings
    ]
    assert (verdict.domain_name, verdict.uuid) == (slow.domain_name, slow.uuid)
    return [finding.rule.id for finding in verdict.findings]


def domain(inside, attributes="type='kvm'", metadata=OS):
    return '<domain %s><name>n</name><uuid>%s</uuid>%s%s</domain>' % (attributes, UUID, metadata, inside)


@pytest.mark.parametrize(
    'inside, rules',
    [
        ("<devices><filesystem><driver %s z:type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><driver z:type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><driver xml:type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><z:driver type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><z:driver z:type='virtiofs'/></filesystem></devices>", ['driver']),
        # These are found by XPath.
        ("<devices %s><z:filesystem><driver type='virtiofs'/></z:filesystem></devices>", []),
        ("<z:devices %s><filesystem><driver type='virtiofs'/></filesystem></z:devices>", []),
        ("<pm %s><z:suspend-to-mem enabled='yes'/></pm>", []),
        ('<features %s><z:acpi/></features>', ['acpi']),
        ("<devices %s><filesystem><driver z:type='virtiofs' type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><driver z:type='path'/></filesystem></devices>", []),
        ("<pm %s><suspend-to-mem z:enabled='yes'/></pm>", ['pm']),
        ("<pm %s><suspend-to-mem enabled='no'/><suspend-to-mem z:enabled='yes'/></pm>", ['pm']),
        # A prefix that nobody has declared is a part of the name.
        ("<devices %s><filesystem><driver p:type='virtiofs'/></filesystem></devices>", []),
        ("<devices %s><filesystem><p:driver type='virtiofs'/></filesystem></devices>", []),
        ("<devices %s><filesystem><driver z:a:type='virtiofs'/></filesystem></devices>", []),
        ("<devices %s><filesystem><z:a:driver type='virtiofs'/></filesystem></devices>", []),
        ("<devices %s><filesystem><driver xmlns='u}v' type='virtiofs'/></filesystem></devices>", ['driver']),
        ("<devices %s><filesystem><driver xmlns:y='u}v' y:type='virtiofs'/></filesystem></devices>", ['driver']),
        (
            "<devices %s><disk><driver xmlns='urn:virt-guard:qemu-argument' type='virtiofs'/></disk></devices>",
            ['driver'],
        ),
    ],
)
def test_outside_of_metadata(inside, rules):
    assert found(domain(inside % Z)) == rules


@pytest.mark.parametrize('attributes', ["xmlns:z='urn:z' z:type='qemu'", "xml:type='qemu'"])
def test_the_type_of_the_domain(attributes):
    assert found(domain('', attributes)) == ['tcg']


QEMU = "<q:commandline xmlns:q='%s'>%%s</q:commandline>" % NAMESPACES['qemu']


@pytest.mark.parametrize(
    'inside',
    [
        "<q:arg value='-device'/><q:arg value='edu'/>",
        "<q:arg q:value='-device'/><q:arg xml:value='edu'/>",
    ],
)
def test_extensions_keep_their_names(inside):
    assert found(domain(QEMU % inside)) == ['arg']


@pytest.mark.parametrize('uri', ['lxc', 'xen', 'bhyve', 'vmware'])
def test_other_extensions_too(uri):
    xml = domain(
        "<devices xmlns='http://libvirt.org/schemas/domain/%s/1.0'><a><driver type='virtiofs'/></a></devices>" % uri
    )
    assert found(xml) == []


@pytest.mark.parametrize('inside', ["<arg value='-S'/>", "<z:arg xmlns:z='urn:z' value='-S'/>"])
def test_elements_that_are_not_arguments_stay_so_without_namespaces(inside):
    assert found(domain(QEMU % inside)) == []
    assert found(domain(QEMU % inside.replace('-S', '-device').replace('arg', 'q:arg').replace('z:q', 'q'))) == ['arg']


@pytest.mark.parametrize(
    'metadata',
    [
        OS.replace('<l:libosinfo', "<z:m xmlns:z='urn:z' z:type='virtiofs' type='path'/><l:libosinfo"),
        OS.replace('<metadata', "<metadata xmlns:z='urn:z' z:type='a' type='b'"),
        OS.replace('</metadata>', "<z:m xmlns:z='urn:z'><metadata/><z:driver z:type='virtiofs'/></z:m></metadata>"),
    ],
)
def test_metadata_stays_as_it_is(metadata):
    assert found(domain('', metadata=metadata)) == []
    assert found(domain("<pm><suspend-to-mem xml:enabled='yes'/></pm>", metadata=metadata)) == ['pm']


@pytest.mark.parametrize(
    'inside, line',
    [
        ("\n<devices>\n<filesystem><driver xmlns:z='urn:z' z:type='path' type='virtiofs'/></filesystem></devices>", 3),
        (
            "\n<devices><filesystem><driver xmlns:z='urn:z' z:type='path' xml:type='virtiofs'/></filesystem></devices>",
            2,
        ),
        ("<q:commandline xmlns:q='%s'>\n<q:arg value='-S' q:value='-s'/></q:commandline>" % NAMESPACES['qemu'], 2),
    ],
)
def test_two_of_one_name_cannot_be_judged(inside, line):
    with pytest.raises(DomainXMLError) as caught:
        found(domain(inside))
    assert 'leave one of them' in caught.value.message
    assert caught.value.line == line


@pytest.mark.parametrize(
    'xml',
    [
        "<z:domain xmlns:z='urn:z' type='qemu'><name>n</name><uuid>%s</uuid></z:domain>" % UUID,
        "<z:domain xmlns:z='urn:z' type='qemu'><z:name>m</z:name><name>n</name><uuid>%s</uuid></z:domain>" % UUID,
        "<domain xmlns='urn:z' type='qemu'><name xmlns=''>n</name><uuid xmlns=''>%s</uuid></domain>" % UUID,
    ],
)
def test_a_domain_in_a_namespace(xml):
    assert found(xml) == ['tcg', 'os']
    verdict = JUDGE.judge(xml.encode())
    assert (verdict.domain_name, verdict.uuid) == ('n', UUID)


@pytest.mark.parametrize('uri', ['urn:z', 'u}v', '{', 'not a uri'])
def test_a_domain_in_a_namespace_with_everything_in_it(uri):
    inside = "<devices><filesystem><driver type='virtiofs'/></filesystem></devices>"
    xml = "<domain xmlns='%s'><name>n</name>%s%s</domain>" % (uri, OS, inside)
    verdict = JUDGE.judge(xml.encode())
    assert [finding.rule.id for finding in verdict.findings] == ['driver'] or '}' in uri
    assert verdict.domain_name in ('n', '')
