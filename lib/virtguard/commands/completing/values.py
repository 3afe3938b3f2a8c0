# SPDX-License-Identifier: Apache-2.0
"""What may be typed as the value of an argument or an option: words, each with what it is."""

import argparse
import grp
import os
import pwd

from ...errors import GuardError
from ...policy.drop_ins import drop_in_directory, is_drop_in_name
from ...policy.installation import LANGUAGES, profiles
from ..domains import named_hosts
from ..domains.host_domains import HostDomains, as_text
from ..waivers.entries import word_of
from .known_policy import KnownPolicy
from .place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from ...policy.installation import Installation

    Words = List[Tuple[str, str]]
    Source = Callable[[Place, Installation], Words]

FILES, DIRECTORIES, NOTHING = 'files', 'directories', 'nothing'


def values_of(action: argparse.Action, place: Place, installation: 'Installation') -> 'Tuple[Words, str]':
    """The words for a value, and what else may stand there: FILES, DIRECTORIES or NOTHING."""
    if isinstance(action, argparse._SubParsersAction):
        return [(below.dest, below.help or '') for below in action._choices_actions], NOTHING
    if action.choices is not None:
        return [(str(choice), '') for choice in action.choices], NOTHING
    source, others = source_of(action)
    typed = place.typed.get(action.dest, ())
    words = source(place, installation) if source is not None else []
    return [(word, told) for word, told in words if word not in typed], others


def source_of(action: argparse.Action) -> 'Tuple[Optional[Source], str]':
    """Where the words for a value come from, and what else may stand there.

    :raises KeyError: the table below does not say so
    """
    return _BY_NAME[action.dest] if action.dest in _BY_NAME else _BY_METAVAR[str(action.metavar)]


def _domains(place: Place, installation: 'Installation') -> 'Words':
    try:
        names = HostDomains(installation).names()
    except GuardError:  # who may not look into these directories is not told so at each TAB
        return []
    return [(as_text(name), '') for name in names]


def _policies(place: Place, installation: 'Installation') -> 'Words':
    return [(name, 'profile') for name in profiles()]


def _rules(place: Place, installation: 'Installation') -> 'Words':
    policy = KnownPolicy(place.typed, installation)
    if not _changes_waivers(place):
        return policy.rules()
    domains = {word for name in ('domain', 'others') for word in place.typed.get(name, ())}
    waivers = [waiver for waiver in policy.written_waivers() if not domains.isdisjoint(map(word_of, waiver.domains))]
    waived = {rule for waiver in waivers for rule in waiver.rules}
    return [(rule, title) for rule, title in policy.rules() if rule in waived]


def _one_domain(place: Place, installation: 'Installation') -> 'Words':
    if not _changes_waivers(place):
        return _domains(place, installation)
    waivers = KnownPolicy(place.typed, installation).written_waivers()
    words = {word_of(entry): 'until ' + waiver.expires for waiver in waivers for entry in waiver.domains}
    return [(word, told) for word, told in sorted(words.items()) if word not in place.typed.get('domain', ())]


def _changes_waivers(place: Place) -> bool:
    return place.parser.prog in ('virt-guard waiver renew', 'virt-guard waiver remove')


def _drop_ins(place: Place, installation: 'Installation') -> 'Words':
    try:
        names = os.listdir(drop_in_directory(installation.policy))
    except OSError:
        return []
    return [(as_text(name), '') for name in sorted(names) if is_drop_in_name(name)]


def _settings(place: Place, installation: 'Installation') -> 'Words':
    key = place.typed.get('key', [''])[-1]
    values = profiles() if key == 'extends' else _SETTINGS.get(key, ())
    return [(value, '') for value in (*values, 'default')]


def _commands(place: Place, installation: 'Installation') -> 'Words':
    """Of `virt-guard help`: those below the commands that are typed."""
    commands = place.root.commands
    for word in place.typed.get('words', ()):
        commands = commands[word].commands if word in commands else {}
    return [(name, parser.description or '') for name, parser in commands.items()]


def _hosts(place: Place, installation: 'Installation') -> 'Words':
    return [(name, '') for name in named_hosts.names()]


def _users(place: Place, installation: 'Installation') -> 'Words':
    return [(user.pw_name, '') for user in pwd.getpwall()]


def _groups(place: Place, installation: 'Installation') -> 'Words':
    return [(group.gr_name, '') for group in grp.getgrall()]


def _words(*words: str) -> 'Source':
    return lambda place, installation: [(word, '') for word in words]


_SETTINGS = {
    'mode': ('enforce', 'audit'),
    'failure': ('deny', 'admit'),
    'audit': ('required', 'optional'),
    'language': LANGUAGES,
}
# By the name that the parser has for it, else by what the help calls it.
_BY_NAME: 'Dict[str, Tuple[Optional[Source], str]]' = {
    'policy': (_policies, FILES),
    'old': (_policies, FILES),
    'new': (_policies, FILES),
    'domain': (_one_domain, NOTHING),
    'others': (_one_domain, NOTHING),
    'value': (_settings, NOTHING),
    'date': (None, NOTHING),
}
_BY_METAVAR: 'Dict[str, Tuple[Optional[Source], str]]' = {
    'FILE': (None, FILES),
    '[FORMAT:]FILE': (None, FILES),
    'DIR': (None, DIRECTORIES),
    'FILE|DIR|DOMAIN|-': (_domains, FILES),
    'DOMAIN': (_domains, NOTHING),
    'RULE': (_rules, NOTHING),
    'NAME': (_drop_ins, NOTHING),
    'COMMAND': (_commands, NOTHING),
    'TIME': (_words('today', 'yesterday'), NOTHING),
    'DATE': (_words('today', '+7d', '+30d'), NOTHING),
    'SECONDS': (None, NOTHING),
    'SPAN': (_words('36h', '7 days'), NOTHING),
    'RELEASE': (_hosts, NOTHING),
    'HOST': (_hosts, NOTHING),
    'TEXT': (None, NOTHING),
    'WHO': (None, NOTHING),
    'ID': (None, NOTHING),
    'USER': (_users, NOTHING),
    'GROUP': (_groups, NOTHING),
}
