# SPDX-License-Identifier: Apache-2.0
"""Where the waivers are that commands write, and how these name domains."""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model import DomainEntry

DROP_IN = '60-waivers.yaml'
_SPECIAL = re.compile(r'([*?[])')
_QUOTED = re.compile(r'\[([*?[])\]')


def as_glob(name: str) -> str:
    """The glob that a name alone matches."""
    return _SPECIAL.sub(r'[\1]', name)


def word_of(entry: 'DomainEntry') -> str:
    """What an entry of a waiver says of a domain's name, as people write it; its UUID, where it names none."""
    return entry if isinstance(entry, str) else _QUOTED.sub(r'\1', entry[1])
