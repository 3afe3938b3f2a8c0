# SPDX-License-Identifier: Apache-2.0
"""A policy of several files: which are read, in which order, and that nobody else may have written any of them."""

import os

import pytest
from support.policies import load_policy
from virtguard.errors import PolicyFileError
from virtguard.libraries import MissingLibraryError
from virtguard.policy import load
from virtguard.policy.installation import profiles
from virtguard.policy.problems import PolicyError

RULE = '{id: %s, title: t, action: deny, match: /domain/%s, why: w, remedy: r}'
POLICY = 'policy: base\nfailure: admit\nrules: [%s]\n' % (RULE % ('one', 'a'))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to give a file away')


@pytest.fixture
def policy(tmp_path):
    tmp_path.chmod(0o755)
    path = tmp_path / 'policy.yaml'
    write(path, POLICY)
    return path


@pytest.fixture
def drop_ins(policy):
    directory = policy.with_suffix('.d')
    directory.mkdir(mode=0o755)
    return directory


def write(path, text):
    path.write_text(text, encoding='utf-8')
    path.chmod(0o644)
    return path


def refused(policy, read=load.trusted):
    with pytest.raises((PolicyFileError, PolicyError)) as caught:
        read(str(policy))
    return caught.value


def test_a_policy_alone(policy):
    loaded = load.trusted(str(policy))
    assert (loaded.name, loaded.source, loaded.files) == ('base', str(policy), (str(policy),))


def test_drop_ins_in_the_order_of_their_names(policy, drop_ins):
    write(drop_ins / '20-b.yaml', 'deadline: 20\n')
    write(drop_ins / '9-z.yaml', 'deadline: 9\n')
    write(drop_ins / '10-a.yaml', 'deadline: 10\nmode: audit\n')
    loaded = load.trusted(str(policy))
    assert (loaded.deadline, loaded.mode) == (9, 'audit')
    names = [os.path.basename(path) for path in loaded.files]
    assert names == ['policy.yaml', '10-a.yaml', '20-b.yaml', '9-z.yaml']


def test_a_policy_with_a_broken_drop_in_is_refused(policy, drop_ins):
    write(drop_ins / '10.yaml', 'mode: audit\n')
    write(drop_ins / '20.yaml', 'rules: [\n')
    error = refused(policy)
    assert [(os.path.basename(p.source), p.message.partition(':')[0]) for p in error.problems] == [
        ('20.yaml', 'not YAML')
    ]
    assert error.settings['failure'] == 'admit'


@pytest.mark.parametrize(
    'base, drop_in, failure',
    [
        ('failure: admit', 'x: [\n', 'admit'),
        ('failure: admit', 'failure: deny\nx: [\n', 'deny'),
        ('mode: audit', 'failure: admit\nx: [\n', 'admit'),
        ('mode: audit', 'x: [\n', 'deny'),
    ],
)
def test_what_holds_where_a_file_is_not_even_yaml(policy, drop_ins, base, drop_in, failure):
    write(policy, POLICY.replace('failure: admit', base))
    write(drop_ins / '10.yaml', drop_in)
    assert refused(policy).settings['failure'] == failure


NOTHING = {
    'no byte': '',
    'white space': ' \n\n',
    'a byte order mark': '\ufeff',
    'comments': '# deadline: 7\n\n  # nothing yet\n',
    'a document without anything': '---\n# nothing yet\n...\n',
    'null': 'null\n',
    'a mapping without anything': '{}\n',
    'no rules': 'rules: []\n',
    'no waivers': 'waivers: []\n',
    'lists whose items are comments': 'rules:\n#  - id: x\nwaivers:\n#  - rules: [x]\n',
}


@pytest.mark.parametrize('what', sorted(NOTHING))
def test_an_empty_drop_in_changes_nothing(policy, drop_ins, what):
    before = load.trusted(str(policy))
    empty = write(drop_ins / '10.yaml', NOTHING[what])
    write(drop_ins / '20.yaml', 'deadline: 7\n')
    after = load.trusted(str(policy))
    assert (after.deadline, after.mode, after.failure) == (7, before.mode, before.failure)
    assert [rule.id for rule in after.rules] == [rule.id for rule in before.rules]
    assert str(empty) in after.files and after.sha256 != before.sha256, 'what it is read from is known all the same'


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('', 'the policy is empty'),
        ('# nothing\n', 'the policy is empty'),
        ('policy: a\nrules: []\n', 'rules is an empty list'),
        ('policy: a\nrules:\n', 'rules is empty, not a list'),
    ],
)
def test_a_policy_says_something(policy, text, problem):
    write(policy, text)
    assert problem in str(refused(policy))


def test_a_policy_that_only_extends_another(tmp_path, policy):
    site = write(tmp_path / 'site.yaml', 'policy: site\nextends: %s\nrules: []\nwaivers:\n' % policy.name)
    assert load.as_if_in_force(str(site)).name == 'site'


@pytest.mark.parametrize(
    'text', ['- []\n', 'text\n', 'rules: {}\n', 'waivers: no\n', 'deadline:\n', 'rules: [null]\n', '"\n']
)
def test_a_drop_in_with_a_wrong_value_is_a_problem(policy, drop_ins, text):
    write(drop_ins / '10.yaml', text)
    assert '10.yaml:' in str(refused(policy))


@pytest.mark.parametrize('mode', [0o664, 0o646])
def test_nobody_else_may_write_a_drop_in(policy, drop_ins, mode):
    write(drop_ins / '10.yaml', 'mode: audit\n').chmod(mode)
    error = refused(policy)
    assert '10.yaml can be written by others' in error.message
    assert error.settings == {'failure': 'admit'}
    assert load.as_if_in_force(str(policy)).mode == 'audit'


@as_root
def test_nobody_else_may_own_a_drop_in(policy, drop_ins):
    os.chown(str(write(drop_ins / '10.yaml', 'mode: audit\n')), 12345, -1)
    assert 'belongs to uid 12345' in refused(policy).message


@pytest.mark.parametrize('filled', [True, False])
def test_nobody_else_may_add_a_drop_in(policy, drop_ins, filled):
    if filled:
        write(drop_ins / '10.yaml', 'mode: audit\n')
    drop_ins.chmod(0o777)
    assert 'policy.d can be written by others' in refused(policy).message


def test_a_link_to_where_others_write(policy, drop_ins, tmp_path):
    public = tmp_path / 'public'
    public.mkdir()
    public.chmod(0o777)
    (drop_ins / '10.yaml').symlink_to(write(public / 'a.yaml', 'mode: audit\n'))
    assert 'public can be written by others' in refused(policy).message


def test_a_drop_in_that_is_not_a_file(policy, drop_ins):
    os.mkfifo(str(drop_ins / '10.yaml'))
    assert 'is not a regular file' in refused(policy).message
    (drop_ins / '10.yaml').unlink()
    (drop_ins / '10.yaml').symlink_to('nowhere')
    error = refused(policy)
    assert (error.message, error.hint) == (
        'cannot read the policy %s: No such file or directory' % (drop_ins / '10.yaml'),
        '',
    )


def test_the_hint_to_install_is_given_only_where_the_policy_is_missing(policy):
    policy.unlink()
    assert refused(policy).hint == 'run install.sh again'
    assert refused(policy, load.as_if_in_force).hint == ''


def test_a_drop_in_directory_that_is_a_file(policy):
    write(policy.with_suffix('.d'), '')
    assert 'cannot list the drop-ins in' in refused(policy).message


# extends


def test_extends_a_file_beside_it(policy, tmp_path):
    site = write(tmp_path / 'site.yaml', 'policy: site\nextends: policy.yaml\nrules: [{id: one, action: warn}]\n')
    for read in (load.trusted, load.as_if_in_force):
        loaded = read(str(site))
        assert (loaded.name, loaded.failure, loaded.source) == ('site', 'admit', str(site))
        assert [(rule.id, rule.action) for rule in loaded.rules] == [('one', 'warn')]
        assert loaded.files == (str(policy), str(site))


def test_extends_in_a_row_and_drop_ins_last(policy, tmp_path):
    write(tmp_path / 'middle.yaml', 'extends: policy.yaml\ndeadline: 2\nmode: audit\n')
    site = write(tmp_path / 'site.yaml', 'extends: middle.yaml\ndeadline: 3\n')
    (tmp_path / 'site.d').mkdir()
    write(tmp_path / 'site.d' / '10.yaml', 'failure: deny\n')
    loaded = load.trusted(str(site))
    assert (loaded.name, loaded.deadline, loaded.mode, loaded.failure) == ('base', 3, 'audit', 'deny')
    names = [os.path.basename(path) for path in loaded.files]
    assert names == ['policy.yaml', 'middle.yaml', 'site.yaml', '10.yaml']


def test_extends_a_profile(tmp_path):
    site = write(tmp_path / 'site.yaml', 'policy: site\nextends: rhel-8\n')
    loaded = load.as_if_in_force(str(site))
    assert loaded.name == 'site'
    assert 'virtiofs' in [rule.id for rule in loaded.rules]
    assert loaded.files[0] == profiles()['rhel-8']


@pytest.mark.parametrize(
    'text, message',
    [
        ('extends: rhel-88\n', "site.yaml:1:10: extends 'rhel-88', which is not a profile (did you mean 'rhel-8'?)"),
        ('extends: nowhere.yaml\n', 'site.yaml:1:10: extends a policy that cannot be used: cannot read the policy'),
        ('extends: site.yaml\n', '/site.yaml, which leads in a circle, or too far'),
        ('extends: ./../missing/../site.yaml\n', 'site.yaml:1:10: extends'),
    ],
)
def test_a_policy_that_extends_what_it_cannot(tmp_path, text, message):
    site = write(tmp_path / 'site.yaml', text)
    assert message in str(refused(site, load.as_if_in_force))


def test_extending_in_a_circle_is_a_problem(tmp_path):
    write(tmp_path / 'a.yaml', 'extends: b.yaml\n')
    write(tmp_path / 'b.yaml', 'mode: audit\nextends: a.yaml\n')
    assert [str(problem) for problem in refused(tmp_path / 'a.yaml', load.as_if_in_force).problems] == [
        '{0}/b.yaml:2:10: extends {0}/a.yaml, which leads in a circle, or too far'.format(tmp_path)
    ]


def test_extending_too_many_files_is_a_problem(tmp_path):
    for number in range(9):
        write(tmp_path / ('%d.yaml' % number), 'extends: %d.yaml\n' % (number + 1))
    write(tmp_path / '9.yaml', POLICY)
    assert len(load.as_if_in_force(str(tmp_path / '1.yaml')).files) == 9
    (problem,) = refused(tmp_path / '0.yaml', load.as_if_in_force).problems
    assert str(problem) == '{0}/8.yaml:1:10: extends {0}/9.yaml, which leads in a circle, or too far'.format(tmp_path)


def test_what_is_extended_must_be_trusted_too(policy, tmp_path):
    site = write(tmp_path / 'site.yaml', 'extends: policy.yaml\n')
    policy.chmod(0o666)
    assert 'can be written by others' in str(refused(site))
    assert load.as_if_in_force(str(site)).name == 'base'


def test_a_drop_in_is_not_extended_too(policy, drop_ins):
    write(drop_ins / '10.yaml', POLICY)
    write(policy, 'extends: policy.d/10.yaml\n')
    assert 'policy.yaml:1:10: extends %s, which is one of its drop-ins' % (drop_ins / '10.yaml') in str(refused(policy))


def test_extends_is_not_passed_over():
    with pytest.raises(PolicyError) as caught:
        load_policy(b'extends: rhel-8\n' + POLICY.encode(), 'p')
    assert 'p:1:10: extends another policy, which is not at hand' in str(caught.value)


# Other ways to load one


def test_a_drop_in_alone_is_not_a_policy(policy, drop_ins):
    path = write(drop_ins / '10.yaml', 'mode: audit\n')
    assert 'is a drop-in of %s, not a policy by itself' % policy in refused(path, load.as_if_in_force).message


def test_a_candidate_is_judged_with_the_drop_ins_of_its_place(policy, drop_ins):
    write(drop_ins / '10.yaml', 'mode: audit\n')
    loaded = load.candidate(str(policy), {str(policy): POLICY.replace('base', 'new').encode()})
    assert (loaded.name, loaded.mode, loaded.source) == ('new', 'audit', str(policy))
    with pytest.raises(PolicyError):
        load.candidate(str(policy), {str(policy): b'policy: x\n'})


def test_without_yaml_the_last_word_on_failure_counts(policy, drop_ins, monkeypatch):
    write(drop_ins / '10.yaml', 'failure: deny\n')
    monkeypatch.setitem(__import__('sys').modules, 'virtguard.policy.layer', None)
    with pytest.raises(MissingLibraryError) as caught:
        load.trusted(str(policy))
    assert caught.value.settings == {'failure': 'deny'}
