# SPDX-License-Identifier: Apache-2.0
"""Every command takes the same for a policy: a file, what that extends, and its drop-ins; and says what it ignores."""

import pytest
from virtguard.commands.parser import build_parser
from virtguard.errors import PolicyFileError
from virtguard.health.condition import NOTE
from virtguard.health.policy_state import examine_policy
from virtguard.policy.installation import Installation
from virtguard.policy.problems import PolicyError

RULE = '{id: %s, title: t, action: %s, match: "/domain/%s", why: w, remedy: r}'
POLICY = 'policy: site\nextends: base.yaml\n'
DOMAIN = '<domain type="kvm"><name>guest</name><memory>1</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>'
EXPECTED = 'a.xml:\n  findings: [{rule: no-vcpu, status: deny}]\nb.xml:\n  findings: []\n'


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    drop_ins = tmp_path / 'policy.d'
    drop_ins.mkdir(mode=0o755)
    (tmp_path / 'policy.yaml').write_text(POLICY)
    (tmp_path / 'base.yaml').write_text('policy: base\nrules: [%s]\n' % (RULE % ('no-vcpu', 'warn', 'vcpu')))
    (drop_ins / '10-site.yaml').write_text('rules: [{id: no-vcpu, action: deny}]\n')
    (tmp_path / 'etc/libvirt/qemu').mkdir(parents=True)
    (tmp_path / 'etc/libvirt/qemu/guest.xml').write_text(DOMAIN)
    cases = tmp_path / 'cases' / 'no-vcpu'
    cases.mkdir(parents=True)
    (cases / 'expected.yaml').write_text(EXPECTED)
    (cases / 'a.xml').write_text(DOMAIN)
    (cases / 'b.xml').write_text(DOMAIN.replace('<vcpu>1</vcpu>', ''))
    return tmp_path / 'policy.yaml'


COMMANDS = {
    'check': (['check', '--policy', '{policy}', '{domain}'], 1, 'deny [no-vcpu]'),
    'scan': (['scan', '--policy', '{policy}'], 1, 'deny [no-vcpu]'),
    'scan --next-boot': (['scan', '--next-boot', '--policy', '{policy}'], 0, '0 of 0 running'),
    'watch --once': (['watch', '--once', '--policy', '{policy}'], 0, '0 domains'),
    'rules': (['rules', '--policy', '{policy}'], 0, 'deny'),
    'explain': (['explain', '--policy', '{policy}', 'no-vcpu'], 0, 'no-vcpu: t (deny)'),
    'policy show': (['policy', 'show', '{policy}'], 0, '10-site.yaml:1'),
    'policy diff': (['policy', 'diff', '{base}', '{policy}'], 1, 'warn -> deny [no-vcpu]'),
    'policy test': (['policy', 'test', '--policy', '{policy}', '{cases}'], 0, 'all as expected'),
    'policy check': (['policy', 'check', '{policy}'], 0, 'with {policy_d}/10-site.yaml'),
}


@pytest.fixture
def run(policy, capfd):
    """A function that runs a command on a policy that is named, or, if `in_force`, that is in force."""
    places = {
        'policy': str(policy),
        'policy_d': str(policy.with_suffix('.d')),
        'base': str(policy.with_name('base.yaml')),
        'domain': str(policy.with_name('etc') / 'libvirt/qemu/guest.xml'),
        'cases': str(policy.with_name('cases')),
    }
    for name in ('run/libvirt/qemu', 'etc/libvirt/qemu/autostart'):
        (policy.parent / name).mkdir(parents=True)

    def run_command(name, in_force=False):
        words, status, shown = COMMANDS[name]
        if in_force and '--policy' in words:
            words = [word for word in words if word not in ('--policy', '{policy}')]
        elif in_force and name != 'policy diff':
            words = words[:-1]
        arguments = build_parser().parse_args([word.format(**places) for word in words])
        elsewhere = policy if in_force else policy.with_name('none.yaml')
        try:
            ended = arguments.run(arguments, Installation(str(elsewhere), True, str(policy.parent)))
        except PolicyError as error:
            return error, '', ''
        output, errors = capfd.readouterr()
        return (ended, status, shown.format(**places)), output, errors

    return run_command


@pytest.mark.parametrize('in_force', [False, True])
@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_drop_ins_belong_to_a_policy_in_every_command(run, name, in_force):
    (status, expected, shown), output, errors = run(name, in_force)
    assert (status, errors) == (expected, '')
    assert shown in output


@pytest.mark.parametrize('in_force', [False, True])
@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_a_broken_drop_in_breaks_the_policy(run, policy, name, in_force):
    (policy.with_suffix('.d') / '20-site.yaml').write_text('deadlin: 3\n')
    result, output, errors = run(name, in_force)
    if name == 'policy check':
        assert result[0] == 2
        assert output.splitlines()[0].startswith('%s/20-site.yaml:1:1: ' % policy.with_suffix('.d'))
    elif name in ('rules', 'explain'):  # what can be read is shown all the same
        assert (result[0], len(errors.splitlines())) == (2, 2)
        assert result[2] in output
        assert errors.splitlines()[0].startswith('%s/20-site.yaml:1:1: ' % policy.with_suffix('.d'))
        assert errors.splitlines()[1].endswith(', without %s/20-site.yaml' % policy.with_suffix('.d'))
    else:
        assert [str(problem).partition(': ')[0] for problem in result.problems] == [
            '%s/20-site.yaml:1:1' % policy.with_suffix('.d')
        ]


@pytest.mark.parametrize('in_force', [False, True])
@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_what_looks_like_a_drop_in_is_told_and_stops_nothing(run, policy, name, in_force):
    near_miss, leftover = policy.with_suffix('.d') / '20-site.yml', policy.with_suffix('.d') / '30-site.yaml~'
    near_miss.write_text('rules: [\n')
    leftover.write_text('rules: [\n')
    told = '%s:1:1: this file is ignored: ' % near_miss
    (status, expected, shown), output, errors = run(name, in_force)
    if name == 'policy check':
        assert (status, errors) == (2, '')
        assert output.startswith(told) and 'type: mv %s ' % near_miss in output
        near_miss.unlink()
        (status, _, shown), output, errors = run(name, in_force)
        assert (status, errors) == (0, '')
        assert 'note: %s is ignored: ' % leftover in output
    else:
        assert (status, errors.count('\n')) == (expected, 1)
        assert errors.startswith('virt-guard: warning: ' + told)
    assert shown in output


def test_who_could_change_a_drop_in_counts_where_the_policy_in_force_is_named(run, policy):
    (policy.with_suffix('.d') / '10-site.yaml').chmod(0o666)
    assert run('scan')[0][0] == 1
    with pytest.raises(PolicyFileError) as caught:
        run('scan', in_force=True)
    assert '10-site.yaml can be written by others' in caught.value.message
    result, output, errors = run('rules', in_force=True)
    assert (result[0], len(errors.splitlines())) == (2, 2)
    assert 'can be written by others' in errors and 'no-vcpu' in output


def test_status_tells_what_looks_like_a_drop_in(policy):
    near_miss = policy.with_suffix('.d') / '20-site.yml'
    near_miss.write_text('rules: [\n')
    loaded, conditions = examine_policy(Installation(str(policy), True, str(policy.parent)), '2027-01-01')
    assert loaded is not None
    (told,) = [condition for condition in conditions if condition.subject == 'drop-in']
    assert (told.state, told.remedy) == (NOTE, 'virt-guard policy check')
    assert told.text.startswith('%s: this file is ignored: ' % near_miss)
