# SPDX-License-Identifier: Apache-2.0
"""What `policy edit` knows before an editor runs. What it does is in tests/installed/test_policy_edit.py."""

import re

import pytest
from support.paths import CHECKOUT
from virtguard.commands.policies import editor, policy_edit
from virtguard.errors import GuardError
from virtguard.host import today
from virtguard.policy.installation import Installation, installed_below
from virtguard.policy.layer import read_layer
from virtguard.policy.merge import merge_layers

SITE = installed_below('')


def merged(drop_in):
    shipped = read_layer((CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
    return merge_layers([shipped, read_layer(drop_in, '50-site.yaml', True)], today=today())


def test_a_new_drop_in_decides_nothing():
    assert merged(policy_edit.template()).files == ('policy.yaml', '50-site.yaml')
    assert merged(policy_edit.template()).waivers == ()


def test_the_example_in_a_new_drop_in_is_one():
    example = policy_edit.template().partition(b'\n#\n')[2]
    policy = merged(re.sub(rb'^#', b'', example, flags=re.MULTILINE))
    assert policy.mode == 'audit'
    actions = {rule.id: rule.action for rule in policy.rules}
    assert (actions['virtiofs'], actions['container-host']) == ('warn', 'off')
    assert [waiver.rules for waiver in policy.waivers] == [('tpm-passthrough',)]


@pytest.mark.parametrize('said', ['50-site', '50-site.yaml'])
def test_a_name_with_or_without_its_ending(said):
    assert policy_edit.drop_in_name(said, SITE) == '50-site.yaml'


def test_spaces_in_the_name_of_a_file_that_is_there(tmp_path):
    (tmp_path / 'policy.d').mkdir()
    (tmp_path / 'policy.d/50-site .yaml').write_text('')
    installation = Installation(str(tmp_path / 'policy.yaml'), True, '')
    assert policy_edit.drop_in_name('50-site ', installation) == '50-site .yaml'


HINTS = {
    '/etc/virt-guard/policy.d/50-x.yaml': 'did you mean 50-x?',
    '50-x ': 'did you mean 50-x?',
    ' 50-x.yaml': 'did you mean 50-x?',
    '50-x .yaml': 'did you mean 50-x?',
    ' ': 'the drop-ins are in /etc/virt-guard/policy.d; give the name of one, such as 50-site',
    '50-x.yml': 'did you mean 50-x?',
    '50-x.yaml.rejected': 'did you mean 50-x?',
    '50-x.yaml.rejected.2': 'did you mean 50-x?',
    '../50-x': 'the drop-ins are in /etc/virt-guard/policy.d; give the name of one, such as 50-site',
    '/etc/virt-guard/policy.yaml': 'type virt-guard policy edit',
    'policy': 'type virt-guard policy edit',
    'a\tb': 'a name has no control characters',
    'caf\udce9': 'a name has no control characters',
    '50-site\n.yaml': 'a name has no control characters',
}


@pytest.mark.parametrize('said', sorted(HINTS), ids=ascii)
def test_a_name_that_no_drop_in_has(said):
    with pytest.raises(GuardError) as caught:
        policy_edit.drop_in_name(said, SITE)
    assert caught.value.hint == HINTS[said]


def test_the_editor_of_a_host_without_variables():
    try:
        (program,) = editor.find_editor({'PATH': '/nowhere', 'EDITOR': ' '})
    except GuardError as error:
        assert error.message.startswith('there is no editor: none of /usr/bin/editor, ')
    else:
        assert program in editor._DEFAULTS


def test_the_path_of_the_caller_does_not_count(tmp_path):
    program = tmp_path / 'sh'
    program.write_text('#!/bin/sh\n')
    program.chmod(0o755)
    assert editor.find_editor({'PATH': str(tmp_path), 'EDITOR': 'sh -e "a b"'}) in (
        ['/usr/bin/sh', '-e', 'a b'],
        ['/bin/sh', '-e', 'a b'],
    )
    assert editor.find_editor({'VISUAL': str(program), 'EDITOR': 'sh'}) == [str(program)]
