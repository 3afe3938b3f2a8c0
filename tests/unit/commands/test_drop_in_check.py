# SPDX-License-Identifier: Apache-2.0
"""`policy check --drop-in`: a file before it stands among the drop-ins. What is broken never gets a 0."""

import datetime
import io
import os
import re
import sys

import pytest
from support.drop_ins import BASE, MISTAKES, UUID, broken, healthy
from virtguard.commands.parser import build_parser
from virtguard.errors import GuardError
from virtguard.policy.installation import Installation

NUMBER = 200


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    path = tmp_path / 'etc' / 'policy.yaml'
    path.parent.mkdir(mode=0o755)
    path.write_text(BASE)
    path.with_suffix('.d').mkdir(mode=0o755)
    return path


@pytest.fixture
def check(policy, tmp_path, capfd):
    """A function that types `policy check` with these words; the status, and the lines that are printed."""
    installation = Installation(str(policy), True, str(tmp_path), str(tmp_path / 'host'))

    def run(*words):
        arguments = build_parser().parse_args(['policy', 'check', *map(str, words)])
        status = arguments.run(arguments, installation)
        output, errors = capfd.readouterr()
        assert errors == ''
        return status, output.splitlines()

    return run


@pytest.fixture
def new(tmp_path):
    def write(text, name='50-new.yaml'):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems(lines):
    return [line for line in lines if not line.startswith('note: ')]


def test_what_is_broken_is_told_with_its_place(check, new, policy):
    before = sorted(policy.parent.rglob('*'))
    assert 4 * len(MISTAKES) <= NUMBER
    for seed in range(NUMBER):
        made = broken(seed)
        file = new(made.text)
        status, lines = check('--drop-in', file)
        told = problems(lines)
        assert (status, bool(told)) == (2, True), made
        places = [re.match(r'%s:(\d+):(\d+): \S' % re.escape(str(file)), line) for line in told]
        assert all(places), (made, told)
        assert not made.line or made.line in {int(place.group(1)) for place in places}, (made, told)
    assert sorted(policy.parent.rglob('*')) == before, 'nothing is written'


def test_what_is_healthy_is_not(check, new):
    for seed in range(100):
        text = healthy(seed)
        status, lines = check('--drop-in', new(text))
        assert status == 0, (text, lines)
        assert ': no problems: policy ' in lines[0]


def test_the_same_in_force(check, new, policy):
    """What --drop-in says of a file is what `policy check` says once it is in force."""
    in_force = policy.with_suffix('.d') / '50-new.yaml'
    for seed in range(0, NUMBER, 7):
        text = broken(seed).text
        _, before = check('--drop-in', new(text))
        in_force.write_bytes(text)
        status, after = check()
        in_force.unlink()
        assert status == 2
        assert [line.partition(':')[2] for line in problems(before)] == [line.partition(':')[2] for line in after]


def test_a_healthy_one_beside_a_broken_policy(check, new, policy):
    (policy.with_suffix('.d') / '10-site.yaml').write_text('deadlin: 3\n')
    status, lines = check('--drop-in', new('mode: audit\n'))
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith('%s/10-site.yaml:1:1: ' % policy.with_suffix('.d'))
    assert check('--drop-in', new('mode: audit\n'), '--as', '10-site.yaml')[0] == 0, 'this one replaces it'


def test_where_it_stands_decides_what_it_does(check, new, policy):
    (policy.with_suffix('.d') / '50-rules.yaml').write_text(
        'rules: [{id: ours, title: t, action: deny, match: /domain/x, why: w, remedy: r}]\n'
    )
    turned_off = new('rules: [{id: ours, action: "off"}]\n')
    assert check('--drop-in', turned_off, '--as', '40-earlier.yaml')[0] == 0, 'it is replaced'
    status, lines = check('--drop-in', turned_off, '--as', '60-later.yaml')
    assert status == 2 and "rule 'ours' is turned off without a reason" in lines[0]
    temporary = new('rules: [{id: ours, action: "off"}]\n', '.ansible_tmp')
    status, lines = check('--drop-in', temporary)
    said = 'note: %s was read as the last of the drop-ins; --as NAME says which one it is, or replaces' % temporary
    assert (status, lines[-1]) == (2, said)


@pytest.mark.parametrize('name', ['50-site.yml', '.50-site.yaml', 'policy.d/50-site.yaml', '../50-site.yaml', 'a'])
def test_a_name_that_no_drop_in_can_have(check, new, name):
    with pytest.raises(GuardError) as caught:
        check('--drop-in', new('mode: audit\n'), '--as', name)
    assert caught.value.message == '%r is not the name of a drop-in' % name
    assert 'such as 50-site.yaml' in caught.value.hint


@pytest.mark.parametrize('name', [' 50-site.yaml', '50-site .yaml'])
def test_a_name_with_spaces_at_its_edges(check, new, policy, name):
    with pytest.raises(GuardError) as caught:
        check('--drop-in', new('mode: audit\n'), '--as', name)
    assert caught.value.hint == 'did you mean 50-site.yaml?'
    (policy.with_suffix('.d') / name).write_text('')
    assert check('--drop-in', new('mode: audit\n'), '--as', name)[0] == 0, 'it is there'


def test_standard_input(check, monkeypatch):
    for text, status, line in (
        (b'mode: audit\n', 0, '-: no problems: '),
        (b'mod: audit\n', 2, '-:1:1: the policy has'),
    ):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(text)))
        ended, lines = check('--drop-in', '-', '--as', '50-site.yaml')
        assert (ended, lines[0].startswith(line)) == (status, True), lines


def test_of_another_policy(check, new, tmp_path):
    rule = '{id: x, title: t, action: warn, host: {arch: a}, why: w, remedy: r}'
    other = new('policy: other\nrules: [%s]\n' % rule, 'o.yaml')
    assert check('--drop-in', new('rules: [{id: x, action: deny}]\n'), other)[0] == 0
    assert check('--drop-in', new('rules: [{id: one, action: deny}]\n'), other)[0] == 2
    assert check('--drop-in', new('rules: [{id: tcg, action: warn}]\n'), 'rhel-9')[0] == 0


def test_what_cannot_be_read(check, tmp_path):
    with pytest.raises(GuardError) as caught:
        check('--drop-in', tmp_path / 'nowhere.yaml')
    assert caught.value.message == 'cannot read the drop-in %s/nowhere.yaml: No such file or directory' % tmp_path
    with pytest.raises(GuardError):
        check('--drop-in', tmp_path)
    with pytest.raises(GuardError) as caught:
        check('--as', '50-site.yaml')
    assert caught.value.hint == '--drop-in FILE --as NAME'


def test_a_drop_in_that_is_taken_for_a_policy(check, new):
    status, lines = check(new('rules: []\n'))
    assert status == 2
    assert '(if it is a drop-in, type: virt-guard policy check --drop-in FILE)' in lines[0]


def test_what_looks_like_a_drop_in_is_only_noted(check, new, policy):
    """Whoever deploys one drop-in is not stopped by what somebody else has left there."""
    (policy.with_suffix('.d') / '10-site.yml').write_text('rules: [\n')
    status, lines = check('--drop-in', new('mode: audit\n'))
    assert status == 0
    assert [line for line in lines if line.startswith('note: %s/10-site.yml:1:1: ' % policy.with_suffix('.d'))]


# What a person wants to know of waivers

WAIVER = """\
waivers:
  - rules: [%s]
    domains: [%s]
    reason: r
    approved-by: a
    expires: %s
"""


def day(ahead):
    return str(datetime.date.today() + datetime.timedelta(ahead))


@pytest.fixture
def waived(check, new, policy, tmp_path):
    """The remarks on a waiver of one and of these domains: offered, and in force."""
    for name, uuid in (('web07', UUID), ('build-7', UUID.replace('6f3b', '7f3b'))):
        path = tmp_path / 'etc/libvirt/qemu' / (name + '.xml')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('<domain type="kvm"><name>%s</name><uuid>%s</uuid></domain>' % (name, uuid))

    def remarks(domains, rules='one', days=100):
        file = new(WAIVER % (rules, domains, day(days)))
        status, lines = check('--drop-in', file)
        in_force = policy.with_suffix('.d') / '50-new.yaml'
        in_force.write_bytes(file.read_bytes())
        assert (status, check()[0]) == (0, 0)
        prefix = '%s:2: the waiver of %s ' % (file, rules)
        found = [line[len('note: ') :] for line in lines if line.startswith('note: ' + prefix)]
        of_policy = [line[len('note: ') :].replace(str(in_force), str(file)) for line in check()[1]]
        assert sorted(found) == sorted(line for line in of_policy if line.startswith(prefix))
        return [line[len(prefix) :] for line in found if ' by name (' not in line]

    return remarks


ABSENT = UUID.replace('6f3b', 'ffff')


@pytest.mark.parametrize(
    ('domains', 'remark'),
    [
        (UUID, None),
        (UUID.upper(), None),
        ('web07', None),
        ('"web0?"', None),
        ('{uuid: %s, name: web07}' % UUID, None),
        ('{uuid: %s, name: "web*"}' % UUID, None),
        ('web7', "names web7, which is not a domain of this host (did you mean 'web07'?)"),
        ('"db*"', 'names db*, and no domain of this host has a name like this'),
        (ABSENT, 'names the UUID %s, which no domain of this host has' % ABSENT),
        (
            '{uuid: %s, name: web07}' % ABSENT,
            'names the UUID %s, which no domain of this host has (web07 has %s)' % (ABSENT, UUID),
        ),
        ('{uuid: %s, name: build-7}' % UUID, 'names build-7, but the domain with that UUID is web07'),
    ],
)
def test_domains_that_are_not_here(waived, domains, remark):
    assert waived(domains) == ([] if remark is None else [remark])


def test_where_there_is_no_libvirt_nobody_knows(check, new):
    status, lines = check('--drop-in', new(WAIVER % ('one', ABSENT, day(100))))
    assert (status, [line for line in lines if ABSENT in line]) == (0, [])


def test_rules_that_cannot_find_anything(waived, policy):
    (policy.with_suffix('.d') / '10-off.yaml').write_text('rules: [{id: one, action: "off", reason: r}]\n')
    assert waived('web07', 'one, two') == ['permits nothing that is denied: one is off']


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ('action: warn', 'one only warns'),
        ('host: {arch: [of-no-host]}', 'one is not about this host (arch is %s)' % os.uname().machine),
        ('host: {arch: {not: [of-no-host]}}', None),
    ],
)
def test_rules_that_deny_nothing_here(waived, policy, change, reason):
    (policy.with_suffix('.d') / '10-site.yaml').write_text('rules: [{id: one, reason: r, %s}]\n' % change)
    assert waived('web07', 'one, two') == ([] if reason is None else ['permits nothing that is denied: ' + reason])


def test_the_rules_of_another_host_are_not_asked_about_this_one(check, new, policy, tmp_path):
    other = tmp_path / 'site.yaml'
    other.write_text(BASE + WAIVER % ('one', UUID, day(100)))
    (tmp_path / 'site.d').mkdir()
    (tmp_path / 'site.d/10-site.yaml').write_text('rules: [{id: one, reason: r, host: {arch: [of-no-host]}}]\n')
    assert [line for line in check(other)[1] if 'permits nothing' in line] == []


@pytest.mark.parametrize(('off', 'told'), [(9, False), (10, True)])
def test_break_glass_is_not_told_of_each_of_its_rules(check, new, policy, off, told):
    rule = '- {id: r%d, title: t, action: %s, match: /domain/x, why: w, remedy: r, reason: r, reference: x}\n'
    rules = ''.join(rule % (number, 'warn' if number < off else 'deny') for number in range(10))
    ids = ', '.join('r%d' % number for number in range(10))
    _, lines = check('--drop-in', new('rules:\n' + rules + WAIVER % (ids, 'web07', day(100))))
    text = 'the waiver of 10 rules permits nothing that is denied: 10 rules only warns'
    assert any(text in line for line in lines) == told and not any('r0, r1' in line for line in lines)


@pytest.mark.parametrize(('days', 'is_told'), [(0, True), (14, True), (15, False)])
def test_waivers_that_end_soon(waived, days, is_told):
    assert waived('web07', days=days) == (['expires on %s' % day(days)] if is_told else [])
