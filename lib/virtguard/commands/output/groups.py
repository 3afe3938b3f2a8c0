# SPDX-License-Identifier: Apache-2.0
"""The findings of many domains by rule: of each rule and status, how many domains have it, and which.

The names are kept in temporary files once there are many, so that memory does not grow with the number of domains.
"""

import json

from ... import model
from .spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Iterator, List, Tuple

_ORDER = (model.ERROR, model.DENY, model.WARN, model.UNKNOWN, model.WAIVED)


class Group:
    """One rule (by its `id` and `title`) with one `status`, and how many domains have such a finding."""

    def __init__(self, status: str, id: str, title: str) -> None:
        self.status = status
        self.id = id
        self.title = title
        self.count = 0
        self._kept = Spool()

    def add(self, domain: 'List[str]') -> None:
        self.count += 1
        self._kept.add(json.dumps(domain) + '\n')

    def domains(self) -> 'Iterator[Tuple[str, str, str]]':
        """File, name and UUID of each domain, in the order in which they were judged."""
        for line in self._kept.lines():
            file, name, uuid = json.loads(line)
            yield file, name, uuid


class Groups:
    """Collects what `describe` says of each domain."""

    def __init__(self) -> None:
        self._groups: 'Dict[Tuple[str, str], Group]' = {}

    @staticmethod
    def describe(file: str, verdict: model.Verdict, statuses: 'Collection[str]' = ()) -> str:
        """What `add` has to know of a domain; `statuses` are those to count, by default all."""
        found = {(f.status, f.rule.id): f.rule.title for f in verdict.findings if not statuses or f.status in statuses}
        domain = [file, verdict.domain_name, verdict.uuid]
        return json.dumps([domain, [[*key, title] for key, title in found.items()]]) + '\n'

    def add(self, text: str) -> None:
        """Take what `describe` has made of any number of domains."""
        for line in text.splitlines():
            domain, found = json.loads(line)
            for status, id, title in found:
                if (status, id) not in self._groups:
                    self._groups[status, id] = Group(status, id, title)
                self._groups[status, id].add(domain)

    def in_order(self) -> 'List[Group]':
        """All groups: what refuses comes first, then what most domains have."""
        return sorted(self._groups.values(), key=lambda group: (_ORDER.index(group.status), -group.count, group.id))
