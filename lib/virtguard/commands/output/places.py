# SPDX-License-Identifier: Apache-2.0
"""How formats for other programs call a file, and by what they know a finding again."""

import hashlib
import json
import os
import re
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    from ...model import Finding, Verdict

STDIN = '-'
_POSITION = re.compile(r'\[\d+\]')


class Places:
    """Files are called by their path from the working directory, which in CI is the checkout, or, if they are not below
    it, from the root."""

    def __init__(self) -> None:
        try:
            self._base = os.path.join(os.getcwd(), '')
        except FileNotFoundError:  # it has been removed
            self._base = '/'
        self._file = ''
        self._seen: 'Dict[str, int]' = {}

    @property
    def base_uri(self) -> str:
        """The URI of the working directory."""
        return 'file://' + quote(os.fsencode(self._base))

    def path(self, file: str) -> str:
        """The path from the working directory, for a file below it; else the absolute one."""
        if file == STDIN:
            return 'stdin'
        path = os.path.normpath(os.path.join(self._base, file))
        path = path[len(self._base) :] if path.startswith(self._base) else path
        # The same text in every locale.
        return path.encode('utf-8', 'surrogateescape').decode('utf-8', 'surrogateescape')

    def fingerprint(self, file: str, verdict: 'Verdict', finding: 'Finding') -> str:
        """A hexadecimal digest that stays when lines move, or elements before the one that was found. Equal findings of
        one domain, and of one file, have different ones."""
        path = self.path(file)
        if path != self._file:  # one process judges all domains of a file, one after the other
            self._file, self._seen = path, {}
        known_by = [path, verdict.uuid or verdict.domain_name, finding.rule.id]
        known_by += [_POSITION.sub('', finding.path), finding.evidence]
        digest = _digest(known_by)
        number = self._seen[digest] = self._seen.get(digest, 0) + 1
        return digest if number == 1 else _digest([digest, str(number)])


def _digest(texts: object) -> str:
    return hashlib.sha256(json.dumps(texts).encode('ascii')).hexdigest()
