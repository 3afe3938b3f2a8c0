# SPDX-License-Identifier: Apache-2.0
"""The options of `virt-guard fleet`."""

from .output.format_names import FORMAT_NAMES
from .usage import add_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..policy.installation import Installation
    from .usage import Commands


def add_fleet(commands: 'Commands') -> None:
    examples = [
        ('virt-guard fleet /var/log/journal/remote', 'what systemd-journal-remote has collected'),
        ('virt-guard fleet --since "7 days ago" --silent-after 36h /srv/journal', 'numbers of a week'),
    ]
    statuses = [
        '0  nothing is amiss',
        '1  something is amiss on a host, or a host is silent',
        '2  the records cannot be read, or the command line is wrong',
    ]
    purpose = 'tell how the guards of many hosts are, from their collected journals'
    parser = add_command(commands, 'fleet', purpose, examples, statuses, _tell_of_fleet)
    parser.add_argument('--since', metavar='TIME', help='count from TIME on, as for report (default: everything)')
    parser.add_argument(
        '--silent-after',
        metavar='SPAN',
        default='1 day',
        help='a host is silent of which nothing has arrived for SPAN, such as 36h (default: 1 day)',
    )
    parser.add_argument(
        '--format', choices=FORMAT_NAMES, default='text', help='jsonl: one JSON object per host, rule and waiver'
    )
    parser.add_argument('directory', metavar='DIR', help='where the collector keeps the files *.journal')


def _tell_of_fleet(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from . import fleet

    return fleet.run(arguments, installation)
