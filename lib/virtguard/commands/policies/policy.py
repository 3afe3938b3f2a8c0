# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy check|show|compile`. Each function returns the exit status."""

from ... import journal, model, wording
from ...compiled import compiled_path
from ...errors import GuardError
from ...policy.drop_ins import find_near_misses
from ...policy.installation import installed_below
from ...policy.load import load_timed
from ...policy.problems import PolicyError
from .. import loading
from ..calling_user import calling_user
from ..domains.absent_domains import find_absent
from ..exit_status import FINE, NOT_JUDGED
from ..terminal import show, show_line
from . import notes
from .offered_drop_in import OfferedDropIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import List, Optional, Sequence

    from ...policy.drop_ins import Changes
    from ...policy.installation import Installation
    from ...policy.problems import Problem


def check(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Report every problem, or that there is none."""
    path = loading.policy_path(arguments.policy, installation)
    if arguments.name is not None and arguments.drop_in is None:
        raise GuardError('--as names the file of --drop-in, which is not given', '--drop-in FILE --as NAME')
    if arguments.drop_in is not None:
        return _check_offered(OfferedDropIn(arguments.drop_in, arguments.name or '', path), arguments, installation)
    problems = find_near_misses(path)
    try:
        policy, slow = load_timed(lambda: loading.load_policy(arguments.policy, installation))
        unchecked = look_closer(policy, installation.host)
    except PolicyError as error:
        problems += error.problems
    if problems:
        for problem in problems:
            show_line(str(problem))
        return NOT_JUDGED
    show_line(policy.source + _no_problems(policy))
    for file in policy.files:
        if file != policy.source:
            show_line('with %s' % file)
    remarks = list(notes.on_ignored_files(path))
    is_in_force = path == installation.policy
    if is_in_force:
        remarks += [*notes.on_compiled(path), *notes.on_host(policy, installation), *find_absent(policy, installation)]
    about = notes.on_policy(policy, _host_of(policy) if is_in_force else None)
    for note in [*remarks, *unchecked, *filter(None, [slow]), *notes.told(about)]:
        show_line('note: ' + note)
    return FINE


def _check_offered(offered: OfferedDropIn, arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """As `check`, of the policy with one more drop-in, or another one in the place of one that is there."""
    remarks = list(offered.remarks())
    problems: 'Sequence[Problem]' = ()
    try:
        policy, slow = load_timed(lambda: loading.load_policy(arguments.policy, installation, offered.changes))
        remarks += look_closer(policy, installation.host, offered.changes)
    except PolicyError as error:
        problems = error.problems
    for problem in problems:
        show_line(str(offered.at_home(problem)))
    if not problems:
        show_line('%s%s, as %s' % (offered.file, _no_problems(policy), offered.path))
        is_in_force = policy.source == installation.policy
        about = notes.on_policy(policy, _host_of(policy) if is_in_force else None)
        remarks += [*map(str, find_near_misses(policy.source)), *filter(None, [slow]), *notes.told(about)]
        if is_in_force:
            remarks += find_absent(policy, installation)
    for note in remarks:
        show_line('note: ' + offered.named(note))
    return NOT_JUDGED if problems else FINE


def _host_of(policy: model.Policy) -> model.HostFacts:
    return loading.host(None, policy.needed_facts())


def _no_problems(policy: model.Policy) -> str:
    counted = wording.counted(len(policy.rules), 'rule')
    return ': no problems: policy %r, %s, mode %s, failure %s' % (
        policy.name,
        counted,
        policy.mode_in_words,
        policy.failure,
    )


def look_closer(policy: model.Policy, host: str, changes: 'Optional[Changes]' = None) -> 'List[str]':
    """Find mistakes in a policy that can be used: names that are not in the schema of this host's libvirt, and denials
    without a ground. Returns the reason, in a list, if the schema cannot be read.

    :param changes: those with which the policy was loaded
    :raises PolicyError: there is something
    """
    from ...digest import sha256_hex
    from ...match.libvirt_schema import libvirt_version, read_schema
    from ...match.relaxng import SchemaError
    from ...policy.files import read_policy_file
    from ...policy.lint import lint_policy
    from ...policy.merge import combined_sha256

    domains, unchecked = None, ['names are not checked: there is no libvirt schema on this host']
    try:
        domains = read_schema(host)
    except SchemaError as error:
        unchecked = ['names are not checked: %s' % error]
    given = {path: data for path, data in (changes or {}).items() if data is not None}
    files = {path: given[path] if path in given else read_policy_file(path) for path in policy.files}
    if combined_sha256([(sha256_hex(data), path) for path, data in files.items()]) != policy.sha256:
        raise GuardError('the files of the policy changed while they were being checked', 'run it again')
    problems = lint_policy(policy, files, domains, libvirt_version(host) if domains is not None else None)
    if problems:
        raise PolicyError(problems, {})
    return unchecked if domains is None else []


def show_effective(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Print the effective policy with the origin of every value."""
    from ...policy.show import show_policy

    show(show_policy(loading.policy(arguments.policy, installation)))
    return FINE


def compile_in_force(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Write the compiled form of the policy in force."""
    from ...policy.compiler import compile_in_place, until_unchanged, write_compiled

    path = compiled_path(installation.policy)
    slow = ''
    compiled: 'Optional[model.Policy]' = None
    loading.complain_of_near_misses(installation.policy)

    def load() -> model.Policy:
        nonlocal slow, compiled
        policy, slow = load_timed(lambda: loading.load_policy(None, installation))
        compiled = policy
        return policy

    try:
        written = until_unchanged(installation.policy, lambda: write_compiled(path, compile_in_place(load)))
    except OSError as error:
        raise GuardError('cannot write %s: %s' % (path, error.strerror), 'run it as root') from None
    if written and compiled is not None and installation.policy == installed_below('').policy:
        _record_compiled(compiled, path, installation)
    state = 'compiled from' if written else 'up to date with'
    show('%s: %s %s\n' % (wording.escape(path), state, wording.escape(installation.policy)))
    if slow:
        show_line('note: ' + slow)
    return FINE


def _record_compiled(policy: model.Policy, path: str, installation: 'Installation') -> None:
    """Starts are judged by it from now on, also where no watch runs that tells how the policy was changed."""
    user = calling_user()
    message = "policy '%s' was compiled by %s (%s)" % (policy.name, user, policy.mode_in_words)
    fields = [('VIRT_GUARD_USER', user), ('VIRT_GUARD_FILE', path), *policy.fields()]
    journal.Sinks(installation.log).send(journal.own_fields(model.COMPILED, message) + fields)
