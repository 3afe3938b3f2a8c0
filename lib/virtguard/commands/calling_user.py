# SPDX-License-Identifier: Apache-2.0
"""Who runs the command: for the record of what was changed, and as the one who approves a waiver."""

import os
import pwd


def calling_user() -> str:
    """The name of the user; behind sudo, of the one who has called sudo."""
    said = os.environ.get('SUDO_USER', '') if os.geteuid() == 0 else ''
    if said and said.isprintable() and _is_known(said):
        return said
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return 'uid %d' % os.getuid()


def _is_known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True
