# SPDX-License-Identifier: Apache-2.0
"""Which running domains have a guest agent that listens, as libvirt's status files say; libvirt itself is not asked."""

import os
import pyexpat

from ..errors import GuardError
from ..watch.state import uuid_in
from ..watch.state_files import StateFileError, StateFiles
from .condition import OK, Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Tuple

    from ..policy.installation import Installation

# What a status says of the agent. ABSENT: the domain has no channel for one. PAUSED: nothing in the guest runs.
CONNECTED, DISCONNECTED, ABSENT, PAUSED = 'connected', 'disconnected', 'absent', 'paused'

FOR_EVER = -2  # libvirt's number for "as long as it takes"
_CHANNEL = b'org.qemu.guest_agent.0'
_RUNNING = ('running', 'idle')  # in which the guest's own processes run
_TARGET = ['domstatus', 'domain', 'devices', 'channel', 'target']
_TIMEOUT, _UUID = ['domstatus', 'agentTimeout'], ['domstatus', 'domain', 'uuid']


class RunningGuest:
    """A running domain: `agent` is one of the words above; `patience` is how many seconds libvirt waits for an answer
    of it, or FOR_EVER, or another negative number for a default of libvirt's own."""

    __slots__ = ('name', 'uuid', 'agent', 'patience')

    def __init__(self, name: str, uuid: str, agent: str, patience: int) -> None:
        self.name = name
        self.uuid = uuid
        self.agent = agent
        self.patience = patience


def running_guests(installation: 'Installation') -> 'Tuple[List[RunningGuest], List[str]]':
    """Every running domain, in the order of the names, and what to say of each status that cannot be read.

    :raises GuardError: libvirt's directory of domains that run cannot be listed
    """
    files = StateFiles(installation.run, installation.lib)
    paths, unlisted = files.paths()
    if installation.run in unlisted:
        raise unlisted[installation.run]
    found, unread = [], []
    for path in sorted(path for path in paths if os.path.dirname(path) == installation.run):
        try:
            _, data = files.read(path)
            if data is not None:
                found.append(_read_status(files.about(path).domain, data))
        except StateFileError as error:
            unread.append(str(error))
        except (pyexpat.ExpatError, UnicodeDecodeError) as error:
            unread.append('%s is not well-formed: %s' % (path, error))
    return found, unread


def askable(installation: 'Installation') -> str:
    """How many running domains could be asked which system they run, in words; '' where none could, or that is not
    known."""
    try:
        guests = running_guests(installation)[0]
    except GuardError:  # who asks for something else is not told of it
        return ''
    count = sum(guest.agent == CONNECTED for guest in guests)
    if not count:
        return ''
    domains = 'running domain' if len(guests) == 1 else 'running domains'
    return '%d of %d %s can be asked which system really runs: virt-guard guests' % (count, len(guests), domains)


def examine_guests(installation: 'Installation') -> 'Iterator[Condition]':
    said = askable(installation)
    if said:
        yield Condition('guests', OK, said)


def _read_status(name: str, data: bytes) -> RunningGuest:
    if _CHANNEL not in data:  # so it need not be parsed
        return RunningGuest(name, uuid_in(data), ABSENT, FOR_EVER)
    path: 'List[str]' = []
    texts: 'Dict[str, str]' = {'uuid': '', 'agentTimeout': ''}
    states: 'List[str]' = []
    is_paused = False

    def start(tag: str, attributes: 'Dict[str, str]') -> None:
        nonlocal is_paused
        path.append(tag)
        if len(path) == 1:
            is_paused = attributes.get('state') not in _RUNNING
        elif path == _TARGET and attributes.get('name') == _CHANNEL.decode():
            states.append(CONNECTED if attributes.get('state') == CONNECTED else DISCONNECTED)

    def end(tag: str) -> None:
        path.pop()

    def read(text: str) -> None:
        if path in (_TIMEOUT, _UUID):
            texts[path[-1]] += text

    parser = pyexpat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, read
    parser.Parse(data, True)
    agent = states[0] if states else ABSENT
    if agent == CONNECTED and is_paused:
        agent = PAUSED
    try:
        patience = int(texts['agentTimeout'] or FOR_EVER)
    except ValueError:
        patience = FOR_EVER
    return RunningGuest(name, texts['uuid'].strip(), agent, patience)
