# SPDX-License-Identifier: Apache-2.0
"""The probe real-path: where a path leads on a host, and what a rule makes of the answer."""

import os
import subprocess

import pytest
from support.policies import load_policy
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.emulator_file import foreign_emulator
from virtguard.host import Host
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.policy.compiler import prepare
from virtguard.policy.problems import PolicyError
from virtguard.policy.show import show_policy

RULE = """\
policy: links
rules:
  - id: system-link
    title: a link into the system
    action: deny
    match: /domain/devices/disk/source/@file
    probe: {real-path: {is-path: [/, "/srv/a b"], lies-below: [/etc, /root]}}
    why: why
    remedy: remedy
"""
POLICY = load_policy(RULE.encode(), 'policy.yaml')


@pytest.fixture
def host(tmp_path):
    for directory in ('etc', 'srv/images', 'srv/etcetera', 'root'):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / 'etc/shadow').write_text('')
    links = {
        'absolute': '/etc/shadow',
        'relative': '../etc/shadow',
        'two': 'absolute',
        'above': '../..',
        'etc': '/etc',
        'missing': '/root/new',
        'ring': 'ring',
        'alike': '/srv/etcetera',
        'plain': 'images',
        'b\udcff': '/etc',
        'blank': '/srv/a b',
    }
    for name, target in links.items():
        os.symlink(os.fsencode(target), os.fsencode(str(tmp_path / 'srv')) + b'/' + os.fsencode(name))
    return Host(str(tmp_path))


@pytest.mark.parametrize(
    'path, leads_to',
    [
        ('/srv/images/a', '/srv/images/a'),
        ('//srv/./images/', '/srv/images'),
        ('/srv/absolute', '/etc/shadow'),
        ('/srv/relative', '/etc/shadow'),
        ('/srv/two', '/etc/shadow'),
        ('/srv/above', '/'),
        ('/srv/etc/ssh/key', '/etc/ssh/key'),
        ('/srv/etc/../root', '/root'),  # behind a link, .. leads elsewhere than the text says
        ('/srv/missing', '/root/new'),
        ('/srv/missing/below', '/root/new/below'),
        ('/srv/images/none/../../etc', '/etc'),
        ('/etc/shadow/below', '/etc/shadow/below'),
        ('/srv/ring', None),
        ('/srv/b\udcff', '/etc'),
        ('/srv/' + 'a' * 300, None),
        ('/srv/a\0b', None),
        ('srv/absolute', False),
        ('', False),
    ],
)
def test_where_a_path_leads(host, path, leads_to):
    assert host.probe('real-path', path) == leads_to


@pytest.mark.parametrize(
    'path, status, message',
    [
        ('/srv/absolute', 'deny', 'a link into the system (it leads to /etc/shadow)'),
        ('/srv/above', 'deny', 'a link into the system (it leads to /)'),
        ('/srv/blank', 'deny', 'a link into the system (it leads to /srv/a b)'),
        ('/etc/shadow', 'deny', 'a link into the system (it leads to /etc/shadow)'),
        ('/srv/alike', None, ''),
        ('/srv/plain/a', None, ''),
        ('srv/absolute', None, ''),
        ('/srv/ring', 'unknown', "this host cannot tell: probe real-path of '/srv/ring'"),
    ],
)
def test_what_a_rule_finds(host, path, status, message):
    """With lxml, and by the compiled policy, to which it is left where nobody may wait for a disk."""
    xml = "<domain type='kvm'><name>a</name><devices><disk><source file='%s'/></disk></devices></domain>" % path
    facts = model.HostFacts('x86_64', 'none', 'rhel-8.10', host.probe)
    compiled = CompiledPolicy(prepare(POLICY))
    assert compiled.judge(xml.encode(), facts, '2026-11-28') == (None, [0])
    for verdict in (
        evaluate(POLICY, parse_domain(xml.encode()), facts, '2026-11-28'),
        compiled.judge(xml.encode(), facts, '2026-11-28', may_probe=True)[0],
    ):
        assert [(f.status, f.message) for f in verdict.findings] == ([(status, message)] if status else [])
        assert verdict.decision == ('deny' if status == 'deny' else 'admit')


@pytest.fixture
def hidden(tmp_path):
    """Links to /etc/passwd that say something else: by another process, and by a real path that is too long."""
    os.symlink('/proc/%d/root/etc/passwd' % os.getpid(), str(tmp_path / 'process'))
    name, directory = 'n' * 250, os.open(str(tmp_path), os.O_RDONLY)
    half = '/'.join([name] * 9)
    os.symlink(half, str(tmp_path / 'one'))
    for depth in range(1, 19):
        os.mkdir(name, dir_fd=directory)
        below = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
        if depth in (9, 18):
            os.symlink('/etc/passwd' if depth == 18 else half, 'end' if depth == 18 else 'two', dir_fd=directory)
    os.close(directory)
    yield tmp_path
    assert subprocess.call(['rm', '-rf', str(tmp_path / name)]) == 0  # too deep for Python


@pytest.mark.parametrize(
    'link, said',
    [
        ('process', 'it leads through /proc/%d/root, as only another process sees it' % os.getpid()),
        ('one/two/end', 'it leads to a path that is longer than the kernel takes'),
    ],
)
def test_who_hides_where_a_path_leads_is_refused(hidden, link, said):
    path = str(hidden / link)
    assert os.path.samefile(path, '/etc/passwd')
    assert Host('/').probe('real-path', path) == (True, said)
    assert foreign_emulator(path, owner=os.getuid())[0] is True


def test_links_of_proc_that_say_where_they_lead():
    pid = os.getpid()
    assert Host('/').probe('real-path', '/proc/self/status') == '/proc/%d/status' % pid
    assert Host('/').probe('real-path', '/proc/mounts') == '/proc/%d/mounts' % pid


def test_a_policy_that_is_shown_asks_the_same():
    (rule,) = load_policy(show_policy(POLICY).encode(), 'shown.yaml').rules
    assert (rule.probe, rule.places) == ('real-path', (('/', '/srv/a b'), ('/etc', '/root')))


@pytest.mark.parametrize(
    'probe, problem, hint',
    [
        ('real-path', 'probe real-path does not say which places', 'lies-below: [/etc, /root]'),
        ('{real-path: {}}', 'probe real-path does not say which places', 'lies-below: [/etc, /root]'),
        ('{real-path: [/etc]}', 'probe.real-path is a list, not a mapping', ''),
        ('{real-path: {lies-below: [etc]}}', "lies-below has 'etc', which no path is read as", 'a path begins with /'),
        ('{real-path: {is-path: [/etc/]}}', "is-path has '/etc/', which no path is read as", 'write /etc'),
        ('{real-path: {lies-below: []}}', 'lies-below is an empty list', ''),
        ('{real-path: {below: [/etc]}}', "probe.real-path has an unknown key 'below'", ''),
        ('{multipath-device: {}}', "probe has an unknown key 'multipath-device'", ''),
        ('real-pat', "probe is 'real-pat'", "'real-path'"),
    ],
)
def test_problems(probe, problem, hint):
    text = RULE.replace(RULE[RULE.index('probe: ') + 7 : RULE.index('    why')], probe + '\n')
    with pytest.raises(PolicyError) as caught:
        load_policy(text.encode(), 'policy.yaml')
    found = [one for one in caught.value.problems if problem in one.message]
    assert [hint in one.hint for one in found] == [True], caught.value.problems
    assert found[0].line == 7
