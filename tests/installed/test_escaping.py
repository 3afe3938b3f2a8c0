# SPDX-License-Identifier: Apache-2.0
"""Names that anybody may choose, on their way to a terminal: nothing of them moves a cursor, hides or forges a line."""

import os
import shutil

import pytest
from installation import CHECKOUT, DENIED, domain_xml, policy_text

FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'
# Bytes of file names: lines that look like ours, in every way to end one; a terminal's colours, title and cursor, and
# text that runs from right to left; what is no UTF-8.
NASTY = {
    'lines': b'a\n9 domains: 9 admitted\n\rvirt-guard: all is well' + '\u2028b\u2029c\x85d'.encode(),
    'terminal': b'a\x1b[2K\x1b[31mred\x1b]0;title\x07\x08\x7f' + 'b\u202egnp.\u2066x\x9b2J'.encode(),
    'bytes': b'caf\xe9\xff\xed\xa0\x80b',
}
# Of these what XML can hold, as the name of a domain.
NAMES = ['a\u202egnp.\u2066x\x7f\ufeff\u200b', 'a&#10;9 domains: 9 admitted&#13;\u2028b\x85c\x9b2J']
BROKEN = b'<domain><name>'
NETWORK = b'<network><name>default</name></network>'


@pytest.fixture(scope='module', autouse=True)
def few_rules(installed):
    with installed.with_policy(policy_text(rules=['tpm-passthrough'])):
        yield


def assert_clean(result, *shown, status=None):
    """Every line is printable, none is forged, and each of `shown` is in one."""
    assert status in (None, result.returncode), (result.stdout, result.stderr)
    text = (result.stdout + result.stderr).decode('utf-8')
    lines = text.split('\n')
    assert lines.pop() == ''
    assert [line for line in lines if not line.isprintable()] == []
    assert 'Traceback' not in text
    assert '9 domains: 9 admitted' not in lines and 'virt-guard: all is well' not in lines
    for part in shown:
        assert any(part in line for line in lines), lines


@pytest.fixture(params=sorted(NASTY))
def nasty(request, tmp_path):
    """A directory of that name, in it one file of each kind that a command takes."""
    directory = os.path.join(os.fsencode(str(tmp_path)), NASTY[request.param])
    os.mkdir(directory)
    for name, data in (
        (b'denied.xml', DENIED),
        (b'broken.xml', BROKEN),
        (b'network.xml', NETWORK),
        (b'facts', FACTS.encode()),
        (b'policy.yaml', b'policy: p\nrules: [{id: x, acton: deny}]\n'),
        (b'good.yaml', (CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes()),
    ):
        with open(os.path.join(directory, name), 'wb') as file:
            file.write(data)
    for name in (b'fifo.xml', b'missing.xml'):
        os.symlink(b'/nonexistent' + NASTY[request.param].replace(b'/', b''), os.path.join(directory, name))
    return os.fsdecode(directory)


@pytest.mark.parametrize('options', [[], ['--format', 'jsonl']], ids=['text', 'jsonl'])
def test_names_of_files(installed, nasty, options):
    facts = ['--facts', nasty + '/facts', *options]
    assert_clean(installed.run_cli('check', *facts, nasty), 'skipped', 'well-formed', 'tpm-passthrough', status=2)
    assert_clean(installed.run_cli('check', *facts, nasty + '/missing.xml'), 'cannot be read', status=2)
    assert_clean(installed.run_cli('check', *facts, nasty + '/none/../denied.xml'), 'cannot be read', status=2)
    new = str(CHECKOUT / 'data/profiles/rhel-10.yaml')
    arguments = ['policy', 'diff', *facts, nasty + '/good.yaml', new, nasty + '/denied.xml', nasty + '/broken.xml']
    assert_clean(installed.run_cli(*arguments), 'well-formed', status=2)


def test_names_of_policies_and_of_what_is_not_there(installed, nasty):
    policy = nasty + '/policy.yaml'
    assert_clean(installed.run_cli('policy', 'check', policy), "'acton'", status=2)
    assert_clean(installed.run_cli('policy', 'show', policy), "'acton'", status=2)
    assert_clean(installed.run_cli('policy', 'show', nasty + '/good.yaml'), 'mode: enforce', status=0)
    assert_clean(installed.run_cli('policy', 'check', nasty + '/good.yaml'), 'no problems')
    assert_clean(installed.run_cli('policy', 'check', nasty), status=2)
    assert_clean(installed.run_cli('policy', 'test', '--policy', policy, nasty), "'acton'", status=2)
    assert_clean(
        installed.run_cli('policy', 'test', '--policy', nasty + '/good.yaml', nasty), 'expected cases', status=1
    )
    assert_clean(installed.run_cli('rules', '--policy', policy), "'acton'", status=2)
    assert_clean(installed.run_cli('explain', os.path.basename(nasty)), 'no rule', status=2)
    assert_clean(installed.run_cli('check', '--facts', nasty + '/none', nasty), status=2)
    assert_clean(installed.run_cli('check', '--policy', nasty, nasty), status=2)
    assert_clean(
        installed.run_cli('check', '--format', os.path.basename(nasty), nasty), 'is not one (known are', status=2
    )
    assert_clean(installed.run_cli(os.path.basename(nasty)), 'there is no command', status=2)


@pytest.fixture
def libvirt(installed):
    """libvirt's directories below the installation's root, empty; other tests make their own."""
    definitions, run = installed.root / 'etc/libvirt/qemu', installed.root / 'run/libvirt/qemu'
    for path in (definitions / 'autostart', run):
        path.mkdir(parents=True)
    yield [os.fsencode(str(path)) for path in (definitions, definitions / 'autostart', run)]
    for path in (definitions, run):
        shutil.rmtree(os.fsencode(str(path)))


@pytest.mark.parametrize('kind', sorted(NASTY))
def test_names_of_libvirts_files(installed, libvirt, kind):
    definitions, autostart, run = libvirt
    for name, data in ((b'd', DENIED), (b'b', BROKEN), (b'n', NETWORK)):
        file = name + NASTY[kind] + b'.xml'
        with open(os.path.join(definitions, file), 'wb') as definition:
            definition.write(data)
        with open(os.path.join(run, file), 'wb') as status:
            status.write(b"<domstatus state='running' pid='1'>%s</domstatus>" % data)
        os.symlink(b'/etc/' + NASTY[kind], os.path.join(autostart, file))
    assert_clean(installed.run_cli('scan'), 'well-formed', 'not <domain>', 'tpm-passthrough', status=2)
    assert_clean(installed.run_cli('scan', '--next-boot'), 'well-formed', 'ignored: not a link', status=2)
    assert_clean(installed.run_cli('policy', 'diff', 'rhel-8', 'rhel-9'), 'well-formed', status=2)
    assert_clean(installed.run_cli('watch', '--once'), 'error', status=2)
    assert_clean(installed.run_cli('watch', '--once', '--format', 'jsonl'), 'error', status=2)


@pytest.mark.parametrize('name', NAMES, ids=[ascii(name)[1:8] for name in NAMES])
def test_names_of_domains(installed, libvirt, tmp_path, name):
    facts = tmp_path / 'facts'
    facts.write_text(FACTS)
    tpm = "<tpm model='tpm-%s'><backend type='passthrough'><device path='/dev/%s'/></backend></tpm>" % (name, name)
    for devices, shown in (('', 'admit'), (tpm, 'tpm-passthrough')):
        xml = domain_xml(name, devices)
        with open(os.path.join(libvirt[0], b'x.xml'), 'wb') as file:
            file.write(xml)
        with open(os.path.join(libvirt[2], b'x.xml'), 'wb') as file:
            file.write(b"<domstatus state='running' pid='1'>\n  %s</domstatus>" % xml)
        for options in ([], ['--format', 'jsonl']):
            assert_clean(installed.run_cli('check', '--facts', str(facts), *options, '-', input=xml), shown)
            assert_clean(installed.run_cli('scan', '--facts', str(facts), *options), shown)
            assert_clean(installed.run_cli('scan', '--next-boot', '--facts', str(facts), *options), shown)
            assert_clean(installed.run_cli('watch', '--once', *options))
    waiver = (
        'policy: p\nextends: rhel-8\nwaivers:\n- {rules: [tpm-passthrough], domains: ["*"], reason: "%s", '
        'approved-by: a, expires: 2027-06-01}\n'
    )
    (tmp_path / 'waived.yaml').write_bytes((waiver % 'caf\u00e9').encode())
    arguments = ['check', '--date', '2027-05-01', '--facts', str(facts), '--policy', str(tmp_path / 'waived.yaml'), '-']
    assert_clean(installed.run_cli(*arguments, input=domain_xml(name, tpm)), 'caf\u00e9')
    for text in ('a\\e[31m', 'a\\nb', 'a\\u202eb', 'a\\Lb'):
        (tmp_path / 'waived.yaml').write_bytes((waiver % text).encode())
        assert_clean(installed.run_cli(*arguments, input=domain_xml(name, tpm)), 'waived: approved by a')
        for action in ('check', 'show'):
            assert_clean(installed.run_cli('policy', action, str(tmp_path / 'waived.yaml')), status=0)
