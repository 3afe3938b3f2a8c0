# SPDX-License-Identifier: Apache-2.0
"""Names and values that no domain can have, in a whole policy: which rules are looked at, and what is said of each."""

import pytest
from virtguard.commands.policies.policy import look_closer
from virtguard.errors import GuardError
from virtguard.policy import load
from virtguard.policy.layer import read_layer
from virtguard.policy.lint import lint_policy
from virtguard.policy.merge import merge_layers
from virtguard.policy.problems import PolicyError

from ..match.test_lint import NEWER, SCHEMA

POLICY = """\
policy: example
rules:
  - id: one
    title: the first
    action: deny
    match: /domain/devices/disk
    why: because
    remedy: do something else
  - id: two
    title: the second
    action: "off"
    at: runtime
    match: >-
      /transition/after
      /domstatus/domain/pm
    why: because
    remedy: do something else
"""
MATCH = 'match: /domain/devices/disk'


def lint(old, new, version=None):
    """The problems of the policy above, changed."""
    assert POLICY.count(old) == 1
    return lint_files({'policy.yaml': POLICY.replace(old, new)}, version)


def lint_files(texts, version=None):
    files = {source: text.encode() for source, text in texts.items()}
    policy = merge_layers([read_layer(data, source) for source, data in files.items()])
    return [str(problem) for problem in lint_policy(policy, files, SCHEMA, version)]


@pytest.mark.parametrize(
    'old, new, problem',
    [
        (
            MATCH,
            'match: /domain/pm/suspend-to-ram',
            "6:23: match: no <suspend-to-ram> under <pm> in libvirt's schema (did you mean <suspend-to-mem>?)",
        ),
        (MATCH, 'match: /domain/devices[false()]', '6:12: match: nothing can match it, whatever a domain has'),
        (
            MATCH,
            'match: "/domain/devices/interface[@type = \'vhost-user\']"',
            "6:47: match: type of <interface> is never 'vhost-user' in libvirt's schema (did you mean 'vhostuser'?)",
        ),
        (
            MATCH,
            'match: >-\n      /domain\n      /disk',
            "6:12: match: no <disk> under <domain> in libvirt's schema (it is known under <devices>)",
        ),
        (
            '/domstatus/domain/pm',
            '/domstatus/domain/pmm',
            "13:12: match: no <pmm> under <domain> in libvirt's schema (did you mean <pm>?)",
        ),
        (
            MATCH,
            'match: /domain/@type\n    values: [kvm, qemuu]',
            "7:19: values: type of <domain> is never 'qemuu' in libvirt's schema (did you mean 'qemu'?)",
        ),
        (
            MATCH,
            'match: /domain/@type\n    values:\n      - kvm\n      - "no-such"',
            "9:9: values: type of <domain> is never 'no-such' in libvirt's schema (known are: kvm, qemu)",
        ),
        (
            MATCH,
            MATCH + '\n    since: {dsk: 4.4.0}',
            "7:12: since has 'dsk', which the rule does not use (did you mean 'disk'?)",
        ),
        (
            MATCH,
            "match: /domain/devices/disk[@type = 'file'][@type = 'block']",
            "6:57: match: @type cannot be 'file' and 'block' at once (join them with or)",
        ),
    ],
)
def test_problem(old, new, problem):
    assert lint(old, new) == ['policy.yaml:' + problem]


SET = '\n    values: {os-released-before: 2009-01-01}\n'


def test_a_named_set_where_the_schema_has_other_values():
    """It has hundreds of values, and one place."""
    (problem,) = lint(MATCH, 'match: /domain/@type' + SET)
    assert problem.startswith("policy.yaml:7:13: values: type of <domain> is never 'http://")
    assert problem.endswith("' in libvirt's schema (known are: kvm, qemu)")


def test_since_cannot_name_values_of_a_named_set():
    assert lint(MATCH, MATCH + SET + '    since: {xyzzy: 4.4.0}') == [
        "policy.yaml:8:12: since has 'xyzzy', which the rule does not use (known are: devices, disk, domain)"
    ]


def test_policies_in_which_the_linter_finds_no_problem():
    assert lint(MATCH, MATCH) == []


def test_problems_in_the_order_of_the_file():
    problems = lint(MATCH, 'match: /domain/@typ | /domain/dev\n    since: {x: 1.0}\n')
    assert [problem.split()[0] for problem in problems] == [
        'policy.yaml:6:21:',
        'policy.yaml:6:35:',
        'policy.yaml:7:12:',
    ]


def test_problems_of_drop_ins():
    """Each is a problem of the file that gives the key."""
    site = 'rules:\n  - {id: one, values: [x, qemuu]}\n  - id: two\n    match: /transition/after/domstatus/domain/pmm\n'
    policy = POLICY.replace(MATCH, 'match: /domain/@typ | /domain/@type')
    shown = [
        problem.partition(" in libvirt's")[0] for problem in lint_files({'policy.yaml': policy, 'site.yaml': site})
    ]
    assert shown == [
        'policy.yaml:6:21: match: no @typ on <domain>',
        'site.yaml:4:47: match: no <pmm> under <domain>',
    ]
    shown = lint_files({'policy.yaml': POLICY.replace(MATCH, 'match: /domain/@type'), 'site.yaml': site})
    assert [problem.split()[0] for problem in shown] == ['site.yaml:2:24:', 'site.yaml:2:27:', 'site.yaml:4:47:']


@pytest.mark.parametrize(
    'version, is_problem',
    [(None, False), ((9, 0, 0), False), ((9, 1, 0), True), ((9, 1, 2), True), ((10, 0, 0), True)],
)
def test_since(version, is_problem):
    problems = lint(MATCH, 'match: /domain/devices/crypto\n    since: {crypto: 9.1}', version)
    shown = "policy.yaml:6:28: match: no <crypto> under <devices> in libvirt's schema (%s)" % NEWER
    assert problems == ([shown] if is_problem else [])


def test_since_does_not_excuse_other_names():
    (problem,) = lint(MATCH, 'match: /domain/devices/crypto | /domain/devises\n    since: {crypto: 9.1.0}', (9, 0, 0))
    assert 'no <devises> under <domain>' in problem


SITE = 'rules: [{id: tcg, %s}]\n'
UNCONFIRMED = 'known-from: unconfirmed\n    why'


@pytest.mark.parametrize(
    'action, later, place',
    [
        ('deny', '', 'policy.yaml:7:17'),
        ('warn', '', ''),
        # A site that refuses what is only warned of has decided that.
        ('warn', 'action: deny', ''),
        ('warn', 'action: deny, known-from: unconfirmed', '50-site.yaml:1:45'),
        ('warn', 'action: deny, known-from: list', ''),
        ('deny', 'known-from: unconfirmed, title: t', '50-site.yaml:1:31'),
        ('deny', 'action: warn', ''),
        ('deny', 'known-from: derived, title: t', ''),
    ],
)
def test_what_nothing_confirms_may_only_warn(action, later, place):
    text = POLICY.replace('action: deny', 'action: ' + action).replace('why', UNCONFIRMED, 1)
    texts = {'policy.yaml': text.replace('id: one', 'id: tcg')}
    if later:
        texts['50-site.yaml'] = SITE % later
    files = {source: text.encode() for source, text in texts.items()}
    policy = merge_layers([read_layer(data, source) for source, data in files.items()])
    expected = (
        [place + ": rule 'tcg' denies what is unconfirmed (let it warn, or tell what it is known from)"]
        if place
        else []
    )
    assert [str(problem) for problem in lint_policy(policy, files, None)] == expected
    assert lint_files(texts) == expected


def test_what_nothing_can_match_is_found_without_a_schema():
    text = POLICY.replace(MATCH, 'match: /domain/devices[false()]')
    policy = merge_layers([read_layer(text.encode('utf-8'), 'policy.yaml')])
    problems = lint_policy(policy, {'policy.yaml': text.encode('utf-8')}, None)
    assert [str(problem) for problem in problems] == [
        'policy.yaml:6:12: match: nothing can match it, whatever a domain has'
    ]


def test_files_that_were_changed_meanwhile(tmp_path):
    """What is found in a text that is no longer the policy's would be found in the wrong places."""
    directory = tmp_path / 'usr' / 'share' / 'libvirt' / 'schemas'
    directory.mkdir(parents=True)
    (directory / 'domain.rng').write_text("<element name='domain' xmlns='http://relaxng.org/ns/structure/1.0'/>")
    path = tmp_path / 'policy.yaml'
    path.write_text(POLICY)
    policy = load.as_if_in_force(str(path))
    with pytest.raises(PolicyError, match='no <devices> under <domain>'):
        look_closer(policy, str(tmp_path))
    path.write_text(POLICY + '\n')
    with pytest.raises(GuardError, match='changed while they were being checked'):
        look_closer(policy, str(tmp_path))
