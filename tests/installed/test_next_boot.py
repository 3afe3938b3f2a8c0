# SPDX-License-Identifier: Apache-2.0
"""`virt-guard scan --next-boot`, over libvirt's files as they are, and as somebody may have planted or removed them."""

import json
import os

import pytest
from installation import DENIED, domain_xml

FACTS = 'arch: x86_64\ncontainer: none\nos: rhel-8.10\n'
STATUS = b"<domstatus state='running'>%s</domstatus>"
DENIAL = 'deny [tpm-passthrough] TPM passthrough: <backend type="passthrough">'


class Host:
    """libvirt's files below the root of an installation."""

    def __init__(self, installed):
        self.installed = installed
        self.domains = installed.root / 'etc/libvirt/qemu'
        self.run = installed.root / 'run/libvirt/qemu'
        self.saved = installed.root / 'var/lib/libvirt/qemu/save'
        self.facts = installed.root / 'facts'

    def define(self, name, xml=None, autostart=False):
        (self.domains / (name + '.xml')).write_bytes(xml or domain_xml(name))
        if autostart:
            (self.domains / 'autostart' / (name + '.xml')).symlink_to('/etc/libvirt/qemu/%s.xml' % name)

    def start(self, name, xml=None):
        (self.run / (name + '.xml')).write_bytes(STATUS % (xml or domain_xml(name)))
        (self.run / (name + '.pid')).write_bytes(b'1')

    def scan(self, *options):
        result = self.installed.run_cli('scan', '--next-boot', '--facts', str(self.facts), *options)
        prefix = str(self.domains) + '/'
        lines = [stream.decode().replace(prefix, '').splitlines() for stream in (result.stdout, result.stderr)]
        return (result.returncode, *lines)


@pytest.fixture
def host(installed):
    host = Host(installed)
    directories = [host.domains, host.domains / 'autostart', host.run.parent, host.run]
    directories += [host.saved.parent.parent, host.saved.parent, host.saved]
    before = [path for path in directories if path.exists()]
    for path in directories:
        path.mkdir(parents=True, exist_ok=True)
    host.facts.write_text(FACTS)
    yield host
    for path in reversed(directories):
        for file in path.iterdir():
            if not file.is_dir() or file.is_symlink():
                file.unlink()
        if path not in before:
            path.rmdir()


def denied(name):
    return domain_xml(name, "    <tpm model='tpm-crb'><backend type='passthrough'/></tpm>\n")


def test_what_is_judged(host):
    host.define('idle', denied('idle'))
    host.define('boots', denied('boots'), autostart=True)
    host.define('runs')
    host.start('runs', denied('runs'))  # as it was before it was defined anew
    host.define('both', denied('both'), autostart=True)
    host.start('both')
    status, lines, errors = host.scan()
    assert (status, errors) == (1, [])
    assert [line for line in lines if not line.startswith('    remedy: ')] == [
        "boots.xml: deny 'boots' (autostart)",
        'boots.xml:16: ' + DENIAL,
        "both.xml: deny 'both' (running, autostart)",
        'both.xml:16: ' + DENIAL,
        "runs.xml: admit 'runs' (running)",
        '1 of 2 running domains would be refused at their next start; 2 of 2 that start with the host',
    ]


def test_json_lines(host):
    host.define('both', denied('both'), autostart=True)
    host.start('both')
    status, (line,), errors = host.scan('--format', 'jsonl')
    assert (status, errors) == (1, [])
    document = json.loads(line)
    assert document['when'] == ['running', 'autostart']
    assert (document['domain'], document['decision'], document['mode']) == ('both', 'deny', 'enforce')
    assert [finding['rule'] for finding in document['findings']] == ['tpm-passthrough']


def test_one_document(host):
    """With what was named and cannot be judged: its reader must not take it for admitted."""
    host.define('both', denied('both'), autostart=True)
    host.define('idle')
    status, lines, errors = host.scan('--format', 'json', 'both', 'idle')
    assert (status, [error.partition(' (')[0] for error in errors]) == (
        2,
        ['idle: error: it neither runs nor starts with the host'],
    )
    document = json.loads('\n'.join(lines))
    assert [(domain['source'], domain['decision']) for domain in document['domains']] == [
        ('idle', 'error'),
        ('both.xml', 'deny'),
    ]
    assert document['counts'] == {'admitted': 0, 'denied': 1, 'not-judged': 1, 'skipped': 0}


def test_next_starts_where_no_domain_runs(host):
    host.define('idle', denied('idle'))
    line = '0 of 0 running domains would be refused at their next start; 0 of 0 that start with the host'
    assert host.scan() == (0, [line], [])


def test_a_host_without_libvirt(host):
    for path in (host.domains / 'autostart', host.domains, host.run):
        path.rmdir()
    try:
        assert host.scan()[0] == 0
    finally:
        for path in (host.domains, host.domains / 'autostart', host.run):
            path.mkdir()


def test_a_transient_domain_has_no_next_start(host):
    host.start('passing', denied('passing'))
    assert host.scan() == (
        0,
        [
            '0 of 1 running domain would be refused at its next start; 0 of 0 that start with the host',
            'these run without a definition and have no next start: passing',
        ],
        [],
    )


def test_a_domain_that_vanished_is_not_an_error(host):
    host.define('gone', autostart=True)
    (host.domains / 'gone.xml').unlink()
    assert host.scan()[::2] == (0, [])


def test_nothing_is_refused_in_mode_audit(host, installed):
    host.define('runs', denied('runs'))
    host.start('runs')
    with installed.with_policy(actions={}, mode='audit'):
        status, lines, _ = host.scan()
    assert status == 1
    assert lines[-1] == (
        '1 of 1 running domain would be refused in mode enforce at its next start; 0 of 0 that start with the host'
    )


def test_what_cannot_be_judged(host):
    host.define('broken', b'<domain>')
    host.start('broken')
    os.mkfifo(str(host.domains / 'pipe.xml'))
    host.start('pipe')
    status, lines, errors = host.scan()
    assert status == 2
    assert errors[0].startswith('broken.xml: error: the XML is not well-formed')
    assert errors[1] == 'pipe.xml: error: it is not a regular file'
    assert lines == ['0 of 2 running domains would be refused at their next start; 0 of 0 that start with the host']


def test_planted_files(host):
    """Names alone say what runs and what starts; nothing is read through them."""
    os.mkfifo(str(host.run / 'pipe.xml'))
    (host.run / 'link.xml').symlink_to('/dev/zero')
    (host.run / 'directory.xml').mkdir()
    os.mkfifo(str(host.domains / 'autostart' / 'pipe.xml'))
    (host.domains / 'autostart' / 'copy.xml').write_bytes(DENIED)
    (host.domains / 'autostart' / 'other.xml').symlink_to('/dev/zero')
    (host.domains / 'autostart' / 'notes').write_bytes(b'')
    for name in ('pipe', 'link', 'directory', 'copy', 'other'):
        host.define(name, denied(name))
    status, lines, errors = host.scan()
    (host.run / 'directory.xml').rmdir()
    assert status == 0
    assert lines == ['0 of 0 running domains would be refused at their next start; 0 of 0 that start with the host']
    assert errors == [
        'autostart/%s.xml: ignored: not a link to %s.xml' % (name, name) for name in ('copy', 'other', 'pipe')
    ]


def test_a_saved_state_is_named(host):
    host.define('sleeps', autostart=True)
    (host.saved / 'sleeps.save').write_bytes(b'')
    status, lines, errors = host.scan()
    assert status == 0
    assert lines[0] == "sleeps.xml: admit 'sleeps' (autostart)"
    assert errors == ['sleeps.xml: its saved state, from which its next start goes on, was not judged']


def test_another_policy_on_another_day(host, tmp_path):
    (tmp_path / 'policy.yaml').write_text(
        'policy: p\nrules:\n  - {id: tpm, title: t, action: deny, match: /domain/devices/tpm, why: w, remedy: r}\n'
        'waivers:\n  - {rules: [tpm], domains: [runs], reason: r, approved-by: a, expires: 2026-06-30}\n'
    )
    host.define('runs', denied('runs'))
    host.start('runs')
    options = ('--policy', str(tmp_path / 'policy.yaml'), '--date')
    assert host.scan(*options, '2026-06-30')[0] == 0
    assert host.scan(*options, '2026-07-01')[0] == 1
