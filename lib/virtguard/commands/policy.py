# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy ...`: what the command does with the policy itself. Each returns the exit status."""

import os

from .. import model, wording
from ..compiled import compiled_path, load_compiled
from ..errors import GuardError, PolicyError, SchemaError
from ..host import read_facts, today
from ..policy import load as sources
from ..policyfile import read_policy_file
from .terminal import complain, show, show_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, Iterator, List, Optional

    from ..policy.installation import Layout

_USABLE, _UNUSABLE = 0, 2


def load_policy(name: 'Optional[str]', layout: 'Layout') -> model.Policy:
    """The policy of a file or profile; without a name the one in force.

    :raises GuardError: it cannot be used
    """
    if name is not None:
        return sources.load_policy_file(sources.find_policy(name), today())
    # The policy in force must satisfy what the hook asks of it, or the command would promise too much.
    load = sources.load_trusted_policy if layout.installed else sources.load_policy_in_checkout
    return load(layout.policy, today())


def load_with_drop_ins(name: str) -> model.Policy:
    """The policy of a file or profile, as it would be if it were the one in force.

    :raises GuardError: it cannot be used
    """
    return sources.load_policy_in_checkout(sources.find_policy(name), today())


def load_host(path: 'Optional[str]', needed: 'Iterable[str]', release: 'Optional[str]' = None) -> model.HostFacts:
    """The facts in a file; without one the `needed` facts of this host.

    :param release: the fact `os` to take instead, as after an upgrade of that host
    :raises GuardError: the file cannot be used
    """
    if path is None:
        host = read_facts(needed)
    else:
        from .stated_facts import load_facts

        host = load_facts(read_policy_file(path, 'the facts file'), path)
    if release is not None:
        host.os, host.os_like = release, ()
    return host


def check(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Report every problem, or that there is none."""
    try:
        policy, slow = sources.load_timed(lambda: load_policy(arguments.policy, layout))
        unchecked = look_closer(policy, layout.host)
    except PolicyError as error:
        for problem in error.problems:
            show_line(str(problem))
        return _UNUSABLE
    show_line(
        '%s: no problems: policy %r, %s, mode %s, failure %s'
        % (policy.source, policy.name, wording.counted(len(policy.rules), 'rule'), policy.mode, policy.failure)
    )
    for path in policy.files:
        if path != policy.source:
            show_line('with %s' % path)
    if arguments.policy is None:
        for note in [*_notes_on_files(layout), *note_on_host(policy, layout)]:
            show_line('note: ' + note)
    for note in [*unchecked, *filter(None, [slow]), *_notes(policy)]:
        show_line('note: ' + note)
    return _USABLE


def look_closer(policy: model.Policy, host: str) -> 'List[str]':
    """Find what is wrong with a policy that can be used: names that the schema of the host's libvirt does not know, and
    denials without a ground. Returns why that schema cannot be asked, if so.

    :raises PolicyError: there is something
    """
    from ..digest import sha256_hex
    from ..match.libvirt_schema import libvirt_version, read_schema
    from ..policy.lint import lint_policy
    from ..policy.merge import digest
    from ..policyfile import read_policy_file

    domains, unchecked = None, ['no libvirt schema on this host, names not checked']
    try:
        domains = read_schema(host)
    except SchemaError as error:
        unchecked = ['%s, names not checked' % error]
    files = {path: read_policy_file(path) for path in policy.files}
    if digest([(sha256_hex(data), path) for path, data in files.items()]) != policy.sha256:
        raise GuardError('the files of the policy were changed meanwhile', 'run it again')
    problems = lint_policy(policy, files, domains, libvirt_version(host) if domains is not None else None)
    if problems:
        raise PolicyError(problems, {})
    return unchecked if domains is None else []


def _notes_on_files(layout: 'Layout') -> 'Iterator[str]':
    for path in sources.ignored_drop_ins(layout.policy):
        yield '%s is ignored: the name of a drop-in ends with .yaml and does not begin with a dot' % path
    warning = load_compiled(layout.policy)[1]
    if warning:
        yield warning


def note_on_host(policy: model.Policy, layout: 'Layout') -> 'List[str]':
    """Whether the policy in force is made of another list than that of the host: as after an upgrade of the host."""
    from ..policy.host_profile import difference, profile_of

    profile = profile_of(policy)
    said = difference(profile, layout.host or '/') if layout.installed else ''
    command = said.replace('--profile', 'install.sh --profile')
    return ['%s (the policy is made of %s)' % (command, profile)] if said else []


def _notes(policy: model.Policy) -> 'Iterator[str]':
    from ..policy.waivers import days_left, expires_soon, names_alone

    for known in [rule.value_set for rule in policy.rules if rule.value_set is not None]:
        for problem in known.problems:
            yield 'not used for %s: %s' % (known.name, problem)
    for rule in policy.rules:
        yield from _notes_on_a_taken_id(rule)
    for path in _files_without_effect(policy):
        yield '%s decides nothing: it is empty, or others replace all that it says' % path
    if policy.mode == 'audit' and policy.failure == 'deny':
        yield 'mode audit admits what rules deny, but failure deny still refuses what cannot be judged'
    for waiver in policy.waivers:
        place = '%s:%d: the waiver of %s ' % (waiver.origin + (', '.join(waiver.rules),))
        if days_left(waiver, today()) < 0:
            yield place + 'has expired on %s and permits nothing' % waiver.expires
        elif expires_soon(waiver, today()):
            yield place + 'expires on %s' % waiver.expires
        names = names_alone(waiver)
        if names:
            hint = 'whoever may define a domain chooses its name; {uuid: ..., name: ...} is one domain'
            yield place + 'names domains by name (%s): %s' % (', '.join(names), hint)


def complain_of_unknown_uuids(policy: model.Policy, layout: 'Layout') -> None:
    """Tell which waivers name UUIDs that no domain of this host has; whoever defines one with it has the waiver."""
    from ..policy.waivers import uuids_not_among
    from .domain_files import defined_uuids

    if not os.path.isdir(layout.domains) or not any(uuids_not_among(waiver, ()) for waiver in policy.waivers):
        return
    try:
        here = defined_uuids([layout.domains, layout.run])
    except GuardError:
        return  # what runs without a definition cannot be seen
    for waiver in policy.waivers:
        unknown = uuids_not_among(waiver, here)
        if unknown:
            text = '%s:%d: the waiver of %s names a UUID that no domain here has: %s'
            complain(text % (waiver.origin + (', '.join(waiver.rules), ', '.join(unknown))))


def _files_without_effect(policy: model.Policy) -> 'List[str]':
    origins = [policy.origins, *(rule.origins for rule in policy.rules), *(waiver.origins for waiver in policy.waivers)]
    used = {file for given in origins for file, _ in given.values()}
    return [path for path in policy.files if path not in used]


def _notes_on_a_taken_id(rule: model.Rule) -> 'Iterator[str]':
    """A site's own rule may find less since an upgrade brought one of the same id."""
    file, line = rule.origins['id']
    given = {key for key, origin in rule.origins.items() if origin[0] == file}
    kept = [key for key in model.FINDING_KEYS if key in rule.origins and key not in given]
    if kept and given >= {'title', 'action', 'why', 'remedy'} and given & {'match', 'host'}:
        text = '%s:%d: rule %r looks new, but changes the one in %s:%d and keeps its %s'
        yield text % ((file, line, rule.id) + rule.origin + (', '.join(kept),))


def show_effective(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Print the effective policy with the origin of every value."""
    from ..policy.show import show_policy

    show(show_policy(load_policy(arguments.policy, layout)))
    return _USABLE


def compile_in_force(arguments: 'argparse.Namespace', layout: 'Layout') -> int:
    """Write the compiled form of the policy in force."""
    from ..policy.compiler import compile_in_place, write_compiled

    path = compiled_path(layout.policy)
    slow = ''

    def load() -> model.Policy:
        nonlocal slow
        policy, slow = sources.load_timed(lambda: load_policy(None, layout))
        return policy

    try:
        written = write_compiled(path, compile_in_place(load))
    except OSError as error:
        raise GuardError('cannot write %s: %s' % (path, error.strerror), 'run it as root') from None
    state = 'compiled from' if written else 'up to date with'
    show('%s: %s %s\n' % (wording.escape(path), state, wording.escape(layout.policy)))
    if slow:
        show_line('note: ' + slow)
    return _USABLE
