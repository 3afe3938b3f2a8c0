# SPDX-License-Identifier: Apache-2.0
"""What the guard records, as administrators and the journal know it."""

import re

# MESSAGE_IDs, as administrators have them in their filters: they never change.
ADMITTED_ID = '23879d3fea7b48338d22c201c6577e2a'
DENIED_ID = '493275d39ad54c669c33d8328bff1447'
WOULD_DENY_ID = '26094ee951604dfc931e71473e1c5bc3'
FAILED_ID = 'f5fed29b16764425ac01972c7559af07'
HAPPENED_ID = '56f3aa9fc0884aca888aa25eb2ec6229'
POLICY_CHANGED_ID = '8a207a7f96844ca98aa39f027b04ad4a'
GUARD_CHANGED_ID = '0663a4e211e84c2bbcef5dba4d777625'
COMPILED_ID = 'b00b97a388434e8c88f63cb62c1fffbd'
WATCH_STARTED_ID = '2b48c9f11dc7459db3bc076f7810f2b1'
WATCH_STOPPED_ID = '1fbf7b9595d64dc282c3504342606a4f'
UNWATCHED_ID = 'fb2e0122d284473581aedf66150985be'
EXPIRY_ID = 'a98fdc1ae51b411692abc70f35674db7'

# What a decision is recorded with: MESSAGE_ID, PRIORITY.
MARKS = {
    'admit': (ADMITTED_ID, '6'),
    'deny': (DENIED_ID, '4'),
    'would-deny': (WOULD_DENY_ID, '4'),
    'error': (FAILED_ID, '3'),
}


def decode(datagram: bytes) -> list:
    """(name, value in bytes) of each field, in order, by https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""
    fields = []
    while datagram:
        line, newline, datagram = datagram.partition(b'\n')
        assert newline
        name, equals, value = line.partition(b'=')
        if not equals:
            length = int.from_bytes(datagram[:8], 'little')
            value, end, datagram = datagram[8 : 8 + length], datagram[8 + length : 9 + length], datagram[9 + length :]
            assert end == b'\n'
        assert re.match(rb'[A-Z][A-Z0-9_]{0,63}\Z', name), name
        fields.append((name.decode(), value))
    return fields
