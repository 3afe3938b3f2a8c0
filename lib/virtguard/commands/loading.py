# SPDX-License-Identifier: Apache-2.0
"""The policy and the host facts that a command judges by, according to its options."""

from .. import model
from ..host import read_facts, today
from ..policy import load
from ..policy.files import read_policy_file
from ..policy.installation import find_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional

    from ..policy.drop_ins import Changes
    from ..policy.installation import Installation


def policy(name: 'Optional[str]', installation: 'Installation', changes: 'Optional[Changes]' = None) -> model.Policy:
    """The policy of a file or profile; without a name, the policy in force.

    :param changes: of the policy in force, see load.trusted
    :raises GuardError: it cannot be used
    """
    if name is not None:
        return load.single_file(find_policy(name), today())
    # The hook checks owners and modes of the policy in force; the command must not accept what the hook refuses.
    from_file = load.trusted if installation.installed else load.as_if_in_force
    return from_file(installation.policy, today(), changes)


def policy_with_drop_ins(name: str) -> model.Policy:
    """The policy of a file or profile with the drop-ins beside it, as if it were in force.

    :raises GuardError: it cannot be used
    """
    return load.as_if_in_force(find_policy(name), today())


def host(path: 'Optional[str]', needed: 'Iterable[str]', release: 'Optional[str]' = None) -> model.HostFacts:
    """The facts in a file; without a file, the `needed` facts of this host.

    :param release: the fact `os` to take instead, as after an upgrade of that host
    :raises GuardError: the file cannot be used
    """
    if path is None:
        facts = read_facts(needed)
    else:
        from .stated_facts import load_facts

        facts = load_facts(read_policy_file(path, 'the facts file'), path)
    if release is not None:
        facts.os, facts.os_like = release, ()
    return facts
