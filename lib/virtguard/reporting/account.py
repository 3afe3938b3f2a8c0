# SPDX-License-Identifier: Apache-2.0
"""The account of a period: what the records of each host add up to. Pure: no I/O."""

from .groups import Room
from .host_account import HostAccount
from .identity import Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable

    from .moments import Period
    from .record import Record

_MOST_HOSTS = 1000


class Account:
    """`hosts` in the order of their first records; `more` counts the records of hosts that found no room."""

    def __init__(self, period: 'Period') -> None:
        self.period = period
        self.hosts: 'Dict[str, HostAccount]' = {}
        self.more = 0
        self._room = Room()
        self._seen = Seen()

    def add_all(self, records: 'Iterable[Record]') -> None:
        for record in records:
            # Machines that were made from one image may have one id.
            host = record.host if not record.host or not record.hostname else record.host + ' ' + record.hostname
            account = self.hosts.get(host)
            if account is None:
                if len(self.hosts) >= _MOST_HOSTS:
                    self.more += 1
                    continue
                account = self.hosts[host] = HostAccount(record.host, self.period, self._room, self._seen)
            account.add(record)
