# SPDX-License-Identifier: Apache-2.0
"""Sees that the policy in force is compiled anew after what others have changed.

As a service the watch may not write where the policy is: whoever takes it over through a domain's document must not
decide what starts. Then it asks virt-guard-compile.path by a file among its own, which that unit follows. In this way
the unit learns of changes that it does not see by itself, such as those of a file elsewhere that the policy extends.
"""

import os

from ..compiled import compiled_path, headline, load_compiled
from ..policy.compiler import compile_in_place, write_compiled
from ..trust import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .. import model
    from ..policy.installation import Installation

REQUEST = 'renew-policy'  # a file in the state directory, see data/virt-guard-compile.path
_HEAD = 512


class Renewal:
    """The compiled form of the policy that `load` reads from where it is in force."""

    def __init__(self, installation: 'Installation', load: 'Callable[[], model.Policy]') -> None:
        self._policy = installation.policy
        self._request = os.path.join(installation.state, REQUEST)
        self._load = load

    def lack(self) -> str:
        """Why the compiled form cannot be used; '' where it can."""
        screen, why = load_compiled(self._policy)
        return '' if screen is not None else why or '%s is missing' % compiled_path(self._policy)

    def renew(self) -> bool:
        """Renew it where it cannot be used; return False where another was asked to do that.

        :raises GuardError, OSError: it cannot be renewed
        """
        path = compiled_path(self._policy)
        if not self.lack():
            return True
        if not os.access(os.path.dirname(path), os.W_OK):
            write_file(self._request, b'', 0o600, durable=False)
            return False
        # After an upgrade, what the hook needs is written by the version that is in force, not by one that still runs.
        if not _is_of_other_version(path):
            write_compiled(path, compile_in_place(self._load))
        return True


def _is_of_other_version(path: str) -> bool:
    try:
        return read_file(path, _HEAD).split(b'\n', 1)[0] != headline()
    except FileNotFoundError:
        return False
