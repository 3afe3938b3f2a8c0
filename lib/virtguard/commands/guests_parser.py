# SPDX-License-Identifier: Apache-2.0
"""The options of `virt-guard guests`."""

import argparse

from .output.format_names import FORMAT_NAMES
from .usage import add_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.installation import Installation
    from .usage import Commands

_MOST = 60


def add_guests(commands: 'Commands') -> None:
    examples = [
        ('virt-guard guests', 'every running domain whose guest agent is connected'),
        ('virt-guard guests --timeout 10 web07', 'one, in which the agent may be slow'),
    ]
    statuses = [
        '0  no metadata contradicts the system that runs',
        '1  that of a domain does',
        '2  a guest or libvirt could not be asked, or the command line is wrong',
    ]
    purpose = 'ask guest agents which systems really run, and compare with metadata and rules'
    parser = add_command(commands, 'guests', purpose, examples, statuses, _tell_of_guests)
    parser.add_argument('--policy', metavar='FILE', help='a policy or profile to judge by (default: the one in force)')
    parser.add_argument(
        '--timeout',
        metavar='SECONDS',
        type=_seconds,
        default=3,
        help='how long an agent may take for an answer, 1 to %d (default: 3)' % _MOST,
    )
    parser.add_argument('--format', choices=FORMAT_NAMES, default='text', help='jsonl: one JSON object per domain')
    parser.add_argument(
        'domains', nargs='*', metavar='DOMAIN', help='names or UUIDs (default: every domain that runs on this host)'
    )


def _seconds(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError('%r is not a number of seconds from 1 to %d' % (text, _MOST))
    return int(text)


def _tell_of_guests(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .guests import guests

    return guests.run(arguments, installation)
