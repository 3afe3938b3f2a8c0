# SPDX-License-Identifier: Apache-2.0
"""The policy and the host facts that a command judges by, according to its options."""

import os

from .. import model, wording
from ..errors import PolicyFileError
from ..host import read_facts, today
from ..policy import load
from ..policy.drop_ins import find_near_misses
from ..policy.files import read_policy_file
from ..policy.host_profile import profile_of
from ..policy.installation import find_policy
from ..policy.problems import PolicyError
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, Optional, Tuple

    from ..policy.drop_ins import Changes
    from ..policy.installation import Installation
    from .domains.named_hosts import NamedHost


def policy(name: 'Optional[str]', installation: 'Installation') -> model.Policy:
    """The policy of a file or profile, with its drop-ins; without a name, the policy in force. Complains of files that
    somebody may take for a part of it.

    :raises GuardError: it cannot be used
    """
    complain_of_near_misses(policy_path(name, installation))
    return load_policy(name, installation)


def load_policy(
    name: 'Optional[str]', installation: 'Installation', changes: 'Optional[Changes]' = None
) -> model.Policy:
    """As `policy`, without complaints.

    :param changes: see load.trusted
    :raises GuardError: it cannot be used
    """
    path = policy_path(name, installation)
    # The hook checks owners and modes of the policy in force; the command must not accept what the hook refuses.
    from_file = load.trusted if installation.installed and path == installation.policy else load.as_if_in_force
    return from_file(path, today(), changes)


def policy_to_show(name: 'Optional[str]', installation: 'Installation') -> 'Tuple[model.Policy, bool]':
    """As `policy`, to look up rules; and True. Where it cannot be used: what can be read of it, and False; complains of
    what is wrong.

    :raises GuardError: nothing can be read
    """
    try:
        return policy(name, installation), True
    except (PolicyError, PolicyFileError) as error:
        from ..policy.partial import load_partly

        path = policy_path(name, installation)
        try:
            partial, left_out = load_partly(path, today(), path == installation.policy)
        except (PolicyError, PolicyFileError):
            raise error from None
        if isinstance(error, PolicyError):
            for problem in error.problems:
                complain(str(problem))
        else:
            complain('%s: %s' % (wording.PROGRAM, error))
        without = ', without ' + ', '.join(left_out) if left_out else ''
        said = '%s: warning: the policy cannot be used; what is shown is what can be read of it%s'
        complain(said % (wording.PROGRAM, without))
        return partial, False


def policy_path(name: 'Optional[str]', installation: 'Installation') -> str:
    """Where the policy is that a user names; without a name, where the one in force is."""
    path = installation.policy if name is None else find_policy(name)
    return installation.policy if os.path.abspath(path) == installation.policy else path


def complain_of_near_misses(path: str) -> None:
    """Complain of what looks like a drop-in of this policy, and is not."""
    for problem in find_near_misses(path):
        complain('%s: warning: %s' % (wording.PROGRAM, problem))


def policy_for_host(arguments: 'argparse.Namespace', installation: 'Installation') -> model.Policy:
    """The policy that is named; else the one in force; where none is installed, the list for the host that is named.

    :raises GuardError: it cannot be used
    """
    name, named = arguments.policy, arguments.host
    if name is not None or named is None:
        return policy(name, installation)
    if not installation.installed:
        told = 'no policy is in force here; %s, the list for %s, is taken (--policy names another one)'
        complain('%s: note: %s' % (wording.PROGRAM, told % (named.profile, named.os)))
        return policy(named.profile, installation)
    in_force = policy(None, installation)
    profile = profile_of(in_force)
    if profile.rpartition('-')[0] in model.VENDORS and profile != named.profile:
        told = 'judged by the policy in force here, which is made of %s; the list for %s is %s (--policy %s)'
        complain('%s: note: %s' % (wording.PROGRAM, told % (profile, named.os, named.profile, named.profile)))
    return in_force


def meant_host(arguments: 'argparse.Namespace', needed: 'Iterable[str]', release: 'Optional[str]') -> model.HostFacts:
    """The host that --host or --facts names; else this one. The rest is as in `host`."""
    named: 'Optional[NamedHost]' = arguments.host
    if named is None:
        return host(arguments.facts, needed, release)
    return model.HostFacts(named.arch, named.container, release or named.os, named.probe)


def host(path: 'Optional[str]', needed: 'Iterable[str]', release: 'Optional[str]' = None) -> model.HostFacts:
    """The facts in a file; without a file, the `needed` facts of this host.

    :param release: the fact `os` to take instead, as after an upgrade of that host
    :raises GuardError: the file cannot be used
    """
    if path is None:
        facts = read_facts(needed)
    else:
        from .domains.stated_facts import load_facts

        facts = load_facts(read_policy_file(path, 'the facts file'), path)
    if release is not None:
        facts.os, facts.os_like = release, ()
    return facts
