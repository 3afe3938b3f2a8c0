# SPDX-License-Identifier: Apache-2.0
"""virt-guard waiver: permits, lists, renews and ends, from the command line to what the hook answers."""

import datetime
import json
import os
import pty
import select
import subprocess
import time
import uuid

import pytest
from installation import DENIED, domain_xml, newly_installed
from support.records import POLICY_CHANGED_ID

TODAY = datetime.date.today()
TPM = DENIED.decode('utf-8').partition('<devices>\n')[2].partition('    <emulator')[0]
EDITED = """\
# Ours, with care.
waivers:
  - {rules: [virtiofs], domains: [build-*], reason: by hand, approved-by: us, expires: %s}   # keep
""" % (TODAY + datetime.timedelta(9))


def ahead(days):
    return str(TODAY + datetime.timedelta(days))


def denied_xml(name):
    own = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    text = DENIED.decode('utf-8').replace('<name>guest</name>', '<name>%s</name>' % name)
    return text.replace('5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10', own).encode('utf-8')


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    """An installation, with four domains: the hook refuses three of them because of tpm-passthrough."""
    installed = newly_installed(tmp_path_factory.mktemp('host'))
    installed.write_policy(rules=['tcg', 'tpm-passthrough', 'vhost-user', 'virtio-crypto', 'virtiofs', 'live-snapshot'])
    domains = installed.root / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    for name in ('web07', 'web08', 'db1'):
        (domains / (name + '.xml')).write_bytes(denied_xml(name))
    (domains / 'clean.xml').write_bytes(domain_xml('clean'))
    return installed


@pytest.fixture
def waivers(host):
    """The drop-in that the commands write; each test begins without one."""
    path = host.root / 'etc/virt-guard/policy.d/60-waivers.yaml'
    if path.exists():
        path.unlink()
    return path


def run(host, *arguments, status=0, **kw):
    result = host.run_cli('waiver', *arguments, **kw)
    assert result.returncode == status, result.stdout + result.stderr
    return (result.stdout if status == 0 else result.stderr).decode('utf-8')


def starts(host, name):
    result = host.run_hook(name, 'prepare', denied_xml(name))
    assert result.returncode in (0, 1), result.stderr
    return result.returncode == 0


def test_refuse_add_start_remove_refuse(host, waivers, journal):
    assert not starts(host, 'web07')
    said = run(
        host, 'add', 'web07', 'tpm-passthrough', '--until', '+30d', '--reason', 'moves to a vTPM', '--ticket', 'OPS-1'
    )
    assert 'waived: tpm-passthrough for web07' in said and said.endswith('web07: may start\n')
    assert starts(host, 'web07') and not starts(host, 'web08')
    (listed,) = map(json.loads, run(host, 'list', '--format', 'jsonl').splitlines())
    assert listed['domains'] == [{'uuid': str(uuid.uuid5(uuid.NAMESPACE_DNS, 'web07')), 'name': 'web07'}]
    assert (listed['expires'], listed['days-left'], listed['ticket']) == (ahead(30), 30, 'OPS-1')
    assert listed['used-by'] == ['web07'] and listed['approved-by'] == listed['approved-by'].strip() != ''
    said = run(host, 'remove', listed['domains'][0]['uuid'])
    assert 'web07: would be refused by tpm-passthrough' in said
    assert not starts(host, 'web07') and run(host, 'list') == '0 waivers\n'
    changes = [record for record in journal.records() if record['MESSAGE_ID'] == [POLICY_CHANGED_ID]]
    assert [record['MESSAGE'][0].partition(': ')[2].partition(' for web07')[0] for record in changes] == [
        'waiver added: tpm-passthrough',
        'waiver removed: tpm-passthrough',
    ]
    assert changes[0]['VIRT_GUARD_FILE'] == changes[1]['VIRT_GUARD_FILE'] == [str(waivers)]
    assert changes[0]['VIRT_GUARD_FILE_SHA256'] == changes[1]['VIRT_GUARD_FILE_SHA256_BEFORE']
    assert changes[0]['PRIORITY'] == ['5'] and changes[0]['VIRT_GUARD_POLICY'] == ['rhel-8']


def test_what_is_there_stays_byte_for_byte(host, waivers):
    waivers.write_text(EDITED)
    run(host, 'add', 'web07', 'tpm-passthrough', '--until', 'today', '--reason', 'r')
    assert waivers.read_text().startswith(EDITED)
    run(host, 'renew', 'web07', '--until', '+3d', '--approved-by', 'the board')
    assert 'approved-by: the board\n    expires: %s\n' % ahead(3) in waivers.read_text()
    run(host, 'remove', 'web07')
    assert waivers.read_text() == EDITED


def test_break_glass(host, waivers):
    said = run(host, 'add', 'web07', '--domain', 'web08', '--all-rules', '--until', 'today', '--reason', 'at 3 a.m.')
    assert 'web07: may start\nweb08: may start\n' in said and ahead(0) in waivers.read_text()
    assert starts(host, 'web07') and starts(host, 'web08')
    assert run(host, 'list').splitlines()[0].endswith('; used by web07, web08')
    said = run(host, 'remove', 'web07')
    assert 'removed: web07 out of: ' in said
    assert not starts(host, 'web07') and starts(host, 'web08')


def test_what_only_its_start_shows_may_still_refuse_a_domain(host, waivers):
    rule = '{id: of-start, title: t, action: deny, phase: start, match: /domain, why: w, remedy: r}'
    drop_in = waivers.with_name('50-start.yaml')
    drop_in.write_text('rules:\n- %s\n' % rule)
    try:
        said = run(host, 'add', 'web07', 'tpm-passthrough', '--until', 'today', '--reason', 'r')
        assert said.endswith('web07: may start, as far as its definition shows; judged at its start: of-start\n')
        assert host.run_hook('web07', 'start', denied_xml('web07')).returncode == 1
        assert run(host, 'add', 'web07', 'of-start', '--until', 'today', '--reason', 'r').endswith('may start\n')
        assert host.run_hook('web07', 'start', denied_xml('web07')).returncode == 0
    finally:
        waivers.unlink()
        drop_in.unlink()


def test_who_approves_is_who_calls(host, waivers):
    if os.geteuid() != 0:
        pytest.skip('sudo is believed if the command runs as root')
    environment = dict(os.environ, SUDO_USER='daemon')
    run(host, 'add', 'web07', 'tpm-passthrough', '--until', 'today', '--reason', 'r', env=environment)
    run(host, 'add', 'web08', 'tpm-passthrough', '--until', 'today', '--reason', 'r', '--approved-by', 'my boss')
    environment['SUDO_USER'] = 'nobody knows me'
    run(host, 'add', 'db1', 'tpm-passthrough', '--until', 'today', '--reason', 'r', env=environment)
    approved = [json.loads(line)['approved-by'] for line in run(host, 'list', '--format', 'jsonl').splitlines()]
    assert approved == ['daemon', 'my boss', 'root']


UNTIL = ('--until', 'today', '--reason', 'r')


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['add', 'web7', 'tpm-passthrough', *UNTIL], "has the name or UUID 'web7' (did you mean 'web07' or 'web08'?)"),
        (['add', 'web07', 'tpm-passthru', *UNTIL], "no rule 'tpm-passthru' to waive (did you mean 'tpm-passthrough'?)"),
        (['add', 'web07', 'container-host', *UNTIL], "rule 'container-host' cannot be waived (defined in "),
        (['add', 'web07', *UNTIL], 'RULE is missing'),
        (['add', 'web07', 'tcg', '--all-rules', *UNTIL], '--all-rules and rules were given'),
        (['add', 'web07', 'tcg', '--reason', 'r'], '--until is missing'),
        (['add', 'web07', 'tcg', '--until', 'today'], '--reason is missing'),
        (['add', '--until', 'today'], 'DOMAIN is missing'),
        (['add', 'web07', 'tcg', '--reason', 'a\nb', '--until', 'today'], 'is not a line of printable text'),
        (['add', 'web07', 'tcg', '--reason', 'r', '--until', '+401d'], 'is more than 400 days ahead (until '),
        (['add', 'web07', 'tcg', '--reason', 'r', '--until', '2020-01-01'], '2020-01-01 is over (today is '),
        (['add', 'web07', 'tcg', '--reason', 'r', '--until', 'soon'], "'soon' is not a day of the calendar (write it "),
        (['renew', 'web07', '--until', 'today'], "has no waiver of 'web07'"),
        (['remove', 'bild-*'], "has no waiver of 'bild-*' (did you mean 'build-*'?)"),
        (['remove', 'build-*', 'tcg'], 'has no waiver of tcg for build-*'),
    ],
)  # fmt: skip
def test_refusals_change_nothing(host, waivers, arguments, said):
    waivers.write_text(EDITED)
    with host.with_policy(
        host.policy.read_text().replace('id: container-host\n', 'id: container-host\n  waivable: false\n')
    ):
        assert said in run(host, *arguments, status=2)
    assert waivers.read_text() == EDITED


def test_a_change_of_more_than_was_named_is_refused(host, waivers):
    run(host, 'add', 'web07', 'tpm-passthrough', 'tcg', '--domain', 'web08', *UNTIL)
    before = waivers.read_text()
    said = run(host, 'renew', 'web07', 'tcg', '--until', '+2d', status=2)
    assert 'also speaks of web08, tpm-passthrough (add tpm-passthrough --domain=web08)' in said
    assert waivers.read_text() == before
    run(host, 'remove', 'web07', 'tcg', '--domain', 'web08')
    assert 'rules: [tpm-passthrough]\n' in waivers.read_text()


def test_a_part_of_a_waiver_is_removed_by_making_two_of_it(host, waivers):
    run(host, 'add', 'web07', 'tpm-passthrough', 'tcg', 'virtiofs', '--domain', 'web08', '--domain', 'db1', *UNTIL)
    with waivers.open('a') as file:
        file.write('# the end\n')
    said = run(host, 'remove', 'web07', 'tpm-passthrough', 'tcg', '--domain', 'db1')
    assert 'removed: tpm-passthrough, tcg for web07, db1 out of: ' in said
    assert [starts(host, name) for name in ('web07', 'web08', 'db1')] == [False, True, False]
    listed = [json.loads(line) for line in run(host, 'list', '--format', 'jsonl').splitlines()]
    assert [one['rules'] for one in listed] == [['tpm-passthrough', 'tcg', 'virtiofs'], ['virtiofs']]
    assert len({(one['reason'], one['approved-by'], one['expires']) for one in listed}) == 1
    assert '# the end\n' in waivers.read_text()
    run(host, 'remove', 'web07')
    assert len(run(host, 'list').splitlines()) == 3 and starts(host, 'web08')


def test_a_waiver_elsewhere_is_named(host, waivers):
    other = waivers.parent / '50-site.yaml'
    other.write_text(EDITED)
    try:
        said = run(host, 'remove', 'build-*', status=2)
        assert "the waiver of 'build-*' is in %s:3" % other in said
    finally:
        other.unlink()


def test_the_list_tells_what_holds_and_who_uses_it(host, waivers):
    waivers.write_text(
        EDITED.replace('virtiofs', 'virtiofs, live-snapshot')
        + EDITED.split('\n')[2].replace(ahead(9), ahead(-1))
        + '\n'
    )
    run(host, 'add', 'db1', 'tpm-passthrough', *UNTIL)
    lines = run(host, 'list').splitlines()
    assert lines[0].startswith('%s:3: 9 days left: virtiofs, live-snapshot for build-*' % waivers)
    assert lines[0].endswith('; unused') and ': expired: ' in lines[1] and lines[1].endswith('by hand')
    assert ': expires today: ' in lines[2] and lines[2].endswith('; used by db1') and lines[3] == '3 waivers, 1 expired'


def test_the_list_while_the_policy_is_broken(host, waivers):
    run(host, 'add', 'db1', 'tpm-passthrough', *UNTIL)
    other = waivers.parent / '50-site.yaml'
    other.write_text('dead-line: 3\n')
    try:
        result = host.run_cli('waiver', 'list')
    finally:
        other.unlink()
    assert (result.returncode, b'1 waiver\n' in result.stdout) == (2, True) and b'db1' in result.stdout
    assert b'%s:1:1: ' % bytes(other) in result.stderr and b'what is shown is what can be read of it' in result.stderr


def test_a_pattern_in_a_name_means_only_itself(host, waivers):
    name = 'a[b]*'
    file = host.root / 'etc/libvirt/qemu' / (name + '.xml')
    file.write_bytes(denied_xml(name))
    try:
        run(host, 'add', name, 'tpm-passthrough', *UNTIL)
        assert starts(host, name)
        run(host, 'remove', name)
        assert not starts(host, name)
    finally:
        file.unlink()


def on_a_terminal(command, answers):
    """What a command says on a terminal where somebody types these answers, and its exit status."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execv(command[0], command)
        finally:
            os._exit(127)
    said = b''
    left = list(answers)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                chunk = os.read(terminal, 4096)
            except OSError:
                break
            said += chunk
            if left and said.endswith(b': '):
                os.write(terminal, left.pop(0).encode() + b'\n')
                said += b'\n'
    os.close(terminal)
    return said.decode('utf-8'), os.waitpid(pid, 0)[1] >> 8


def test_a_terminal_is_asked_for_what_is_missing(host, waivers):
    answers = ['web7', 'web07', '', '+500d', 'tomorrow', 'today', 'because']
    said, status = on_a_terminal([str(host.cli), 'waiver', 'add'], answers)
    assert status == 0, said
    assert "did you mean 'web07' or" in said and 'rules to waive (tpm-passthrough): ' in said
    assert 'is more than 400 days ahead' in said and "'tomorrow' is not a day" in said
    assert 'reason: because\n' in waivers.read_text() and 'rules: [tpm-passthrough]\n' in waivers.read_text()
    said, status = on_a_terminal([str(host.cli), 'waiver', 'renew', 'web07'], ['+2d'])
    assert status == 0 and 'expires: %s\n' % ahead(2) in waivers.read_text()


def test_several_at_once_lose_nothing(host, waivers):
    waivers.write_text(EDITED)
    listed = map(json.loads, host.run_cli('rules', '--format', 'jsonl').stdout.splitlines())
    rules = [rule['rule'] for rule in listed if rule['waivable']][-6:]
    writers = [
        subprocess.Popen([str(host.cli), 'waiver', 'add', 'web07', rule, *UNTIL], stdout=subprocess.DEVNULL)
        for rule in rules
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 6
    found = [json.loads(line)['rules'] for line in run(host, 'list', '--format', 'jsonl').splitlines()]
    assert sorted(found) == sorted([['virtiofs'], *([rule] for rule in rules)])
    assert waivers.read_text().startswith(EDITED)
    assert starts(host, 'web07') == ('tpm-passthrough' in rules)


@pytest.fixture
def defined(host):
    """Defines domains for one test."""
    made = set()

    def define(name, own=None, file=None):
        xml = denied_xml(name)
        if own is not None:
            xml = xml.replace(str(uuid.uuid5(uuid.NAMESPACE_DNS, name)).encode(), own.encode())
        path = host.root / 'etc/libvirt/qemu' / ((file or name) + '.xml')
        path.write_bytes(xml)
        made.add(path)

    yield define
    for path in made:
        path.unlink()


def days_left(host):
    return {entry['domains'][0]['name']: entry['days-left'] for entry in listed(host)}


def listed(host):
    return list(map(json.loads, run(host, 'list', '--format', 'jsonl').splitlines()))


@pytest.mark.parametrize(
    'other', ['WEB07', str(uuid.uuid5(uuid.NAMESPACE_DNS, 'web07'))], ids=['another case', 'a name that is a UUID']
)
def test_the_waiver_of_another_domain_stays(host, waivers, defined, other):
    defined(other)
    for name in ('web07', str(uuid.uuid5(uuid.NAMESPACE_DNS, other))):
        run(host, 'add', name, 'tpm-passthrough', *UNTIL)
    run(host, 'renew', 'web07', '--until', '+20d')
    assert days_left(host) == {'web07': 20, other: 0}
    run(host, 'renew', str(uuid.uuid5(uuid.NAMESPACE_DNS, other)), '--until', '+9d')
    assert days_left(host) == {'web07': 20, other: 9}
    run(host, 'remove', 'web07')
    assert days_left(host) == {other: 9}


def test_a_waiver_of_another_machine_of_that_name(host, waivers, defined):
    defined('moved')
    run(host, 'add', 'moved', 'tpm-passthrough', *UNTIL)
    (entry,) = listed(host)[0]['domains']
    new = str(uuid.uuid4())
    defined('moved', own=new)
    said = run(host, 'renew', 'moved', '--until', '+9d', status=2)
    assert entry['uuid'] in said and new in said and 'virt-guard waiver remove ' + entry['uuid'] in said
    run(host, 'remove', entry['uuid'])
    assert listed(host) == []


def test_no_name_is_run_by_a_shell_that_a_command_is_copied_into(host, waivers, defined):
    defined('x; touch pwn', file='x')
    other = str(uuid.uuid5(uuid.NAMESPACE_DNS, 'x; touch pwn'))
    run(host, 'add', 'web07', 'tpm-passthrough', '--domain', other, *UNTIL)
    assert "--domain='x; touch pwn'" in run(host, 'renew', 'web07', '--until', '+2d', status=2)


def test_spaces_at_the_edges_of_a_name_are_a_part_of_it(host, waivers, defined):
    defined(' web07 ')
    for name in ('web07', ' web07 '):
        run(host, 'add', name, 'tpm-passthrough', *UNTIL)
    run(host, 'renew', ' web07 ', '--until', '+2d')
    assert sorted(entry['days-left'] for entry in listed(host)) == [0, 2]
    run(host, 'remove', ' web07 ')
    assert days_left(host) == {'web07': 0}
    run(host, 'remove', ' web07\t')
    assert listed(host) == [], 'no domain here has that name, so it is taken for the one that is'


def test_a_file_that_only_some_may_read_stays_so(host, waivers):
    waivers.write_text(EDITED)
    waivers.chmod(0o600)
    run(host, 'add', 'web07', 'tpm-passthrough', *UNTIL)
    assert waivers.stat().st_mode & 0o777 == 0o600
