# SPDX-License-Identifier: Apache-2.0
"""What is shown of what was seen, and what of it is secret."""

import pytest
from support.made import rule

from .judged import ARG, XML, command_line, facts, finding, verdict


@pytest.mark.parametrize(
    'match, devices, evidence',
    [
        ('/domain/@type', '', '<domain type="kvm">'),
        ("//disk[@type = 'block']", '', '<disk type="block">'),
        ('//disk[2]/source/@dev', '', '<source dev="/dev/sdb">'),
        ('//emulator', '<emulator>/opt/qemu</emulator>', '<emulator>/opt/qemu</emulator>'),
        ('//crypto', '<crypto/>', '<crypto>'),
        ('//model', '<model fallback="forbid">Conroe</model>', '<model fallback="forbid">'),
        ("//model[. = 'Conroe']", '<model fallback="forbid">Conroe</model>', '<model fallback="forbid">Conroe</model>'),
        ("//x[not(text() = 'c')]", '<x a="1">b</x>', '<x a="1">b</x>'),
        ('//x[number(.) > 1]', '<x a="1">2</x>', '<x a="1">2</x>'),
        ('//x[@a > 1]', '<x a="2">2</x>', '<x a="2">'),
        (
            "//cpu[model = 'Conroe']",
            '<cpu mode="custom"><model fallback="forbid">Conroe</model><topology cores="2"/></cpu>',
            '<cpu mode="custom"><model fallback="forbid">Conroe</model></cpu>',
        ),
        (
            "//x[contains(y/@z, 'b')]",
            '<x a="1"><w/><y z="abc"/><y/></x>',
            '<x a="1"><y z="abc"/><y/></x>',
        ),
        ('//x[y]', '<x a="1"><y z="abc"/></x>', '<x a="1">'),
        ("//model[. = 'Conroe']/@fallback", '<model fallback="forbid">Conroe</model>', '<model fallback="forbid">'),
        ('//model/text()', '<model fallback="forbid">Conroe</model>', '<model fallback="forbid">Conroe</model>'),
        ('//x', '<x a="1">\n  </x>', '<x a="1">'),
        ('//x', '<x a="1">\n  <y/>\n</x>', '<x a="1">'),
        ('//iotune', '<disk><iotune>\n <a>1</a><b c="2"/></iotune></disk>', '<iotune><a>1</a><b c="2"/></iotune>'),
        ('//x', '<x><y z="1"><deep/></y></x>', '<x><y z="1">...</x>'),
        ('//x/@a', '<x a="1" b="2"/>', '<x a="1">'),
        ('//x/@*[2]', '<x a="1" b="2"/>', '<x b="2">'),
        ('//x', '<x a="1\n\t 2"/>', '<x a="1 2">'),
        (
            '//qemu:arg',
            '</devices><qemu:commandline><qemu:arg value="-S"/></qemu:commandline><devices>',
            '<qemu:arg value="-S">',
        ),
    ],
)
def test_evidence(match, devices, evidence):
    assert finding(match, devices).evidence == evidence


@pytest.mark.parametrize('keys', [{'values': ('Conroe',)}, {'probe': 'any'}])
def test_evidence_has_the_text_that_values_and_probes_are_asked_about(keys):
    xml = XML % '<model fallback="forbid">Conroe</model>'
    (found,) = verdict(rule('//model', **keys), xml=xml, host=facts(probe=lambda name, subject: True)).findings
    assert found.evidence == '<model fallback="forbid">Conroe</model>'


def test_evidence_of_a_match_with_several_branches():
    xml = XML % '<model fallback="forbid">Conroe</model>'
    (found,) = verdict(rule("//none | //model[starts-with(., 'Con')]"), xml=xml).findings
    assert found.evidence == '<model fallback="forbid">Conroe</model>'


def test_evidence_is_short():
    evidence = finding('//x', '<x a="%s"/>' % ('y' * 500)).evidence
    assert len(evidence) == 200
    assert evidence.endswith('yyy...')


def test_evidence_of_an_argument_that_does_not_say_what_it_is_has_the_option():
    for option, value, shown in (
        ('-readconfig', '/etc/more', '<qemu:arg value="-readconfig"/><qemu:arg value="/etc/more">'),
        ('-plugin', 'file=/a.so', '<qemu:arg value="-plugin"/><qemu:arg value="file=/a.so">'),
        ('-s', '-usb', '<qemu:arg value="-s">'),
    ):
        xml = command_line("<qemu:arg value='%s'/>" % option, '<!-- a word -->', "<qemu:arg value='%s'/>" % value)
        (found,) = verdict(rule('//arg:%s' % option[1:]), xml=xml).findings
        assert found.evidence == shown


def test_evidence_of_an_argument_is_the_argument():
    xml = command_line("<qemu:arg value='-device'/>", "<qemu:arg value='edu,id=a'/>")
    for match in ('//arg:device', '//arg:device/@driver'):
        (found,) = verdict(rule(match), xml=xml).findings
        assert found.evidence == '<qemu:arg value="edu,id=a">'
        assert found.path.startswith('/domain/qemu:commandline/qemu:arg[2]')
    (found,) = verdict(rule('/domain/qemu:commandline'), xml=xml).findings
    assert (
        found.evidence == '<qemu:commandline><qemu:arg value="-device"/><qemu:arg value="edu,id=a"/></qemu:commandline>'
    )


@pytest.mark.parametrize(
    'element',
    [
        "<graphics type='vnc' passwd='hunter2'/>",
        "<graphics type='vnc' Password='hunter2'/>",
        "<x key='hunter2'/>",
        "<x client-secret='hunter2'/>",
        "<qemu:env name='PROXY_PASSWORD' value='hunter2'/>",
        "<x a='1' name='password'>hunter2</x>",
        "<password a='1'>hunter2</password>",
        '<password>hunter2</password>',
        "<qemu:env name='AWS_SECRET_ACCESS_KEY' value='hunter2'/>",
        "<qemu:property name='password' type='string' value='hunter2'/>",
        ARG % 'secret,id=a,data=hunter2',
        ARG % 'secret,data=hunter2,id=a',
        ARG % 'secret,id=a,data=x,,hunter2',
        ARG % '{"qom-type": "secret", "data": "hunter2"}',
        ARG % '{"qom-type": "secret", "data": "a hunter2"}',
        ARG % '{"qom-type": "secret", "data": "a,hunter2"}',
        ARG % '{"qom-type": "secret", "data": "}hunter2"}',
        ARG % '{"qom-type": "secret", "data": "\\"hunter2"}',
        ARG % 'port=5900,password=hunter2',
        ARG % 'file=rbd:pool/image:id=a:key=hunter2:auth_supported=cephx',
        ARG % 'file=https://user:hunter2@example.com/disk.raw',
    ],
)
@pytest.mark.parametrize('place', ['itself', 'its parent'])
def test_secrets_are_not_shown(element, place):
    xml = command_line(element).replace('type=&quot;', "type='")
    match = '/domain/qemu:commandline' + ('/*' if place == 'itself' else '')
    found = verdict(rule(match), xml=xml).findings
    assert found
    for one in found:
        assert 'hunter2' not in one.evidence + one.message


@pytest.mark.parametrize('value', ['edu,id=a', 'keyboard=de', 'file=/srv/database.raw', 'data-dir=x'])
def test_what_is_not_secret_is_shown(value):
    (found,) = verdict(rule('//qemu:arg'), xml=command_line(ARG % value)).findings
    assert value in found.evidence
