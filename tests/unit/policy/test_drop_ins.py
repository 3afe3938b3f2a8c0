# SPDX-License-Identifier: Apache-2.0
"""Which files beside a policy belong to it. What is ignored stops nothing; what looks like a drop-in is told."""

import os
import subprocess

import pytest
from virtguard.errors import PolicyFileError
from virtguard.policy import load
from virtguard.policy.drop_ins import find_drop_ins, find_ignored, find_near_misses

RULE = '{id: %s, title: t, action: deny, match: /domain/%s, why: w, remedy: r}'
POLICY = 'policy: base\nrules: [%s]\n' % (RULE % ('one', 'a'))

DROP_INS = ['10.yaml', '50-site.yaml', 'site.yaml', 'a.b.yaml', ' .yaml', '#.yaml']
LEFTOVERS = [
    '.50-site.yaml',  # hidden
    '.#50-site.yaml',  # Emacs
    '#50-site.yaml#',
    '.50-site.yaml.swp',  # Vim
    '50-site.yaml~',
    '50-site.yaml.4321.2026-11-28@10:00:00~',  # Ansible
    '50-site.yaml.4321',  # write_file
    '50-site.yaml.bak',
    '50-site.yaml.orig',
    '50-site.yaml.old',
    '50-site.yaml.save',
    '50-site.yaml.new',
    '50-site.yaml.off',
    '50-site.yaml.disabled',
    '50-site.yaml.rejected',
    '50-site.yaml.dpkg-old',
    '50-site.yaml.dpkg-new',
    '50-site.yaml.dpkg-dist',
    '50-site.yaml.ucf-dist',
    '50-site.yaml.rpmnew',
    '50-site.yaml.rpmsave',
    '50-site.yaml.rpmorig',
    '50-site.yml~',
    '50-site.yml.rpmsave',
    'README',
    'README.md',
    'notes.txt',
    'domain.xml',
    'Makefile',
    'disabled',
]
NEAR_MISSES = {
    '50-site.yml': '50-site.yaml',
    '50-site.YAML': '50-site.yaml',
    '50-site.Yml': '50-site.yaml',
    '50.site.yml': '50.site.yaml',
    '50-site.yaml.txt': '50-site.yaml',
    '50-site.yaml ': '50-site.yaml',
    '50-site.yaml\n': '50-site.yaml',
    '50-site.yalm': '50-site.yaml',
    '50-site.ymal': '50-site.yaml',
    '50-site.yaml_': '50-site.yaml',
    '50-site.json': '50-site.yaml',
    '50-site': '50-site.yaml',
    '50-siteyaml': '50-siteyaml.yaml',
    "it's ours.yml": "it's ours.yaml",
    '-rf.yml': '-rf.yaml',
}


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / 'policy.yaml'
    path.write_text(POLICY)
    return path


@pytest.fixture
def drop_ins(policy):
    directory = policy.with_suffix('.d')
    directory.mkdir()
    return directory


def names(paths):
    return [os.path.basename(path) for path in paths]


@pytest.mark.parametrize('name', DROP_INS)
def test_what_is_a_drop_in(policy, drop_ins, name):
    (drop_ins / name).write_text('deadline: 7\n')
    assert find_drop_ins(str(policy), False, {}) == [str(drop_ins / name)]
    assert load.as_if_in_force(str(policy)).deadline == 7
    assert (find_ignored(str(policy)), find_near_misses(str(policy))) == ([], [])


@pytest.mark.parametrize('name', LEFTOVERS)
def test_what_others_leave_behind_is_only_noted(policy, drop_ins, name):
    (drop_ins / name).write_text('rules: [\n')
    assert load.as_if_in_force(str(policy)).files == (str(policy),)
    assert find_ignored(str(policy)) == [str(drop_ins / name)]
    assert find_near_misses(str(policy)) == []


@pytest.mark.parametrize('name', sorted(NEAR_MISSES))
def test_what_somebody_may_have_meant_as_a_drop_in_is_a_problem(policy, drop_ins, name):
    (drop_ins / name).write_text('deadline: 7\n')
    assert load.as_if_in_force(str(policy)).files == (str(policy),), 'it stops no start'
    assert find_ignored(str(policy)) == []
    (problem,) = find_near_misses(str(policy))
    assert (problem.source, problem.line, problem.column) == (str(drop_ins / name), 1, 1)
    assert (
        problem.message == 'this file is ignored: the name of a drop-in ends with .yaml and does not begin with a dot'
    )
    type_what_is_said(problem)
    assert load.as_if_in_force(str(policy)).files == (str(policy), str(drop_ins / NEAR_MISSES[name]))
    assert find_near_misses(str(policy)) == []


def type_what_is_said(problem):
    command = problem.hint.partition('type: ')[2]
    assert command.startswith(('mv ', 'rm '))
    subprocess.check_call(['sh', '-c', command])


def test_the_suggested_command_overwrites_no_file(policy, drop_ins):
    (drop_ins / '50-site.yml').write_text('deadline: 7\n')
    (drop_ins / '50-site.yaml').write_text('deadline: 8\n')
    (problem,) = find_near_misses(str(policy))
    assert problem.hint.startswith('%s is there, too; ' % (drop_ins / '50-site.yaml'))
    type_what_is_said(problem)
    assert load.as_if_in_force(str(policy)).deadline == 8
    assert find_near_misses(str(policy)) == []


def test_a_directory_that_is_called_like_a_drop_in(policy, drop_ins):
    (drop_ins / '50-site.yaml').mkdir()
    (drop_ins / '50-site.yaml' / '10.yaml').write_text('deadline: 7\n')
    assert load.trusted(str(policy)).files == (str(policy),), 'it stops no start'
    (problem,) = find_near_misses(str(policy))
    assert problem.message == 'this directory is ignored: a drop-in is a file'
    type_what_is_said(problem)
    assert load.trusted(str(policy)).deadline == 7


def test_a_link_is_read_as_what_it_leads_to(policy, drop_ins, tmp_path):
    """What somebody has linked there is meant to be in force, so it must not be passed over."""
    (tmp_path / 'elsewhere').mkdir()
    (drop_ins / '50-site.yaml').symlink_to(str(tmp_path / 'elsewhere'))
    with pytest.raises(PolicyFileError) as caught:
        load.trusted(str(policy))
    assert 'is not a regular file' in caught.value.message
    (drop_ins / '50-site.yaml').unlink()
    (drop_ins / '50-site.yaml').symlink_to('nowhere')
    with pytest.raises(PolicyFileError):
        load.trusted(str(policy))


@pytest.mark.parametrize('is_there', [False, True])
@pytest.mark.parametrize(('name', 'like'), [('policy.yaml', 'policy.yaml.d'), ('site.yml', 'site.d')])
def test_a_directory_that_is_called_like_that_of_drop_ins(tmp_path, name, like, is_there):
    policy = tmp_path / name
    policy.write_text(POLICY)
    (tmp_path / like).mkdir()
    (tmp_path / like / '10.yaml').write_text('deadline: 7\n')
    wanted = tmp_path / {'policy.yaml': 'policy.d', 'site.yml': 'site.yml.d'}[name]
    if is_there:
        wanted.mkdir()
    assert load.as_if_in_force(str(policy)).files == (str(policy),)
    (problem,) = find_near_misses(str(policy))
    assert problem.message == 'this directory is ignored: the drop-ins of %s are in %s' % (policy, wanted)
    type_what_is_said(problem)
    assert load.as_if_in_force(str(policy)).deadline == 7


def test_without_drop_ins_nothing_is_said(policy):
    assert (find_drop_ins(str(policy), True, {}), find_ignored(str(policy)), find_near_misses(str(policy))) == (
        [],
        [],
        [],
    )


def test_a_link_to_the_right_directory_is_not_a_problem(policy, drop_ins):
    policy.with_name('policy.yaml.d').symlink_to('policy.d')
    assert find_near_misses(str(policy)) == []


def test_all_are_told(policy, drop_ins):
    for name in LEFTOVERS + list(NEAR_MISSES) + DROP_INS:
        (drop_ins / name).write_text('')
    assert names(find_drop_ins(str(policy), False, {})) == sorted(DROP_INS)
    assert names(find_ignored(str(policy))) == sorted(LEFTOVERS)
    assert [os.path.basename(problem.source) for problem in find_near_misses(str(policy))] == sorted(NEAR_MISSES)
