# SPDX-License-Identifier: Apache-2.0
"""The rules and the waivers of the policy that a command line is about."""

import os

from ...compiled import load_compiled
from ...libraries import enable_packages
from ...policy.drop_ins import drop_in_directory
from ...policy.installation import find_policy
from ..waivers.entries import DROP_IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Mapping, Sequence, Tuple

    from ...model import Policy, Waiver
    from ...policy.installation import Installation


class KnownPolicy:
    """As it was compiled, which takes a moment; where it is not, as its files have it.

    :param typed: the values of the command line, by their names
    :raises GuardError: it cannot be used
    """

    def __init__(self, typed: 'Mapping[str, Sequence[str]]', installation: 'Installation') -> None:
        name = typed['policy'][-1] if 'policy' in typed else None
        path = installation.policy if name is None else find_policy(name)
        self._drop_in = os.path.join(drop_in_directory(path), DROP_IN)
        compiled, _ = load_compiled(path)
        if compiled is not None:
            self._rules = list(compiled.listed())
            self._policy: 'Policy' = compiled.narrowed(())
        else:
            enable_packages()
            from ..loading import load_policy

            self._policy = load_policy(name, installation)
            self._rules = [(rule.id, rule.title) for rule in self._policy.rules]

    def rules(self) -> 'List[Tuple[str, str]]':
        """The id and the title of each."""
        return self._rules

    def written_waivers(self) -> 'List[Waiver]':
        """Those that commands have written, and can change."""
        return [waiver for waiver in self._policy.waivers if waiver.origin[0] == self._drop_in]
