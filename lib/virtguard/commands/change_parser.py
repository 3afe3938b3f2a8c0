# SPDX-License-Identifier: Apache-2.0
"""The sub-commands that write the policy. What runs them is in the modules that are named for them."""

import argparse

from .usage import Parser, add_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..policy.installation import Installation
    from .usage import Commands

_SETTINGS = ['mode', 'failure', 'deadline', 'audit', 'language', 'extends']
_STATUSES = ('0  done', '2  nothing was changed: what is asked for cannot be, or the command line is wrong')


def add_policy_set(actions: 'Commands') -> None:
    """Add `policy set`."""
    examples = [
        ('virt-guard policy set --until +30d mode audit', 'admit what rules deny, for 30 days'),
        ('virt-guard policy set failure admit', 'while the guard itself fails, domains start'),
        ('virt-guard policy set extends kvm-baseline', 'judge by this list, too'),
    ]
    purpose = 'put another value of a setting in force'
    statuses = (_STATUSES[0], '1  it stays as it was: the answer on the terminal was no', *_STATUSES[1:])
    parser = add_command(actions, 'set', purpose, examples, statuses, _set_policy)
    parser.add_argument('--until', metavar='DATE', help='the last day of mode audit: YYYY-MM-DD, today, or +30d')
    parser.add_argument('key', metavar='SETTING', choices=_SETTINGS, help='%(choices)s')
    parser.add_argument('value', metavar='VALUE', help="the value; 'default' for what the other files say")


def _set_policy(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .policies.policy_set import run

    return run(arguments, installation)


def add_waiver(commands: 'Commands', add_list_options: 'Callable[[Parser], None]') -> None:
    """Add `waiver`, with what is below it."""
    examples = [
        ('virt-guard waiver add web07 virtiofs', 'asks for what is missing'),
        ('virt-guard waiver list', 'which there are, and who uses them'),
    ]
    purpose = 'permit single domains, for a while, what rules deny'
    actions = add_command(commands, 'waiver', purpose, examples, _STATUSES).add_commands('ACTION')
    examples = [
        ('virt-guard waiver add --until +30d --reason "moves to NFS" web07 virtiofs', 'for 30 days'),
        ('virt-guard waiver add --all-rules --until today --reason "at 3 a.m." web07', 'in an emergency'),
    ]
    purpose = 'permit a domain what rules deny, until a day'
    parser = add_command(actions, 'add', purpose, examples, _STATUSES, _add_a_waiver)
    _add_waiver_options(parser, 'the last day: YYYY-MM-DD, today, or +30d')
    parser.add_argument('--all-rules', action='store_true', help='waive all rules that refuse and can be waived')
    _add_waiver_words(parser)
    examples = [
        ('virt-guard waiver list', 'days left, and the domains that use each'),
        ('virt-guard waiver list --format jsonl', 'the same, for programs'),
    ]
    purpose = 'list the waivers, how long they hold, and which domains use them'
    statuses = ('0  fine', '2  a policy has a problem, or the command line is wrong')
    parser = add_command(actions, 'list', purpose, examples, statuses, _list_waivers)
    add_list_options(parser)
    examples = [
        ('virt-guard waiver renew --until +30d web07', 'all waivers of a domain'),
        ('virt-guard waiver renew --until +30d --ticket OPS-7 web07 virtiofs', 'those of a rule'),
    ]
    parser = add_command(actions, 'renew', 'give a waiver another last day', examples, _STATUSES, _renew_waivers)
    _add_waiver_options(parser, 'the new last day: YYYY-MM-DD, today, or +30d')
    _add_waiver_words(parser)
    examples = [
        ('virt-guard waiver remove web07', 'all waivers of a domain'),
        ('virt-guard waiver remove web07 virtiofs', 'those of a rule'),
    ]
    parser = add_command(
        actions, 'remove', 'take domains or rules out of waivers', examples, _STATUSES, _remove_waivers
    )
    _add_waiver_words(parser)


def _add_waiver_options(parser: Parser, until: str) -> None:
    parser.add_argument('--until', metavar='DATE', help=until)
    parser.add_argument('--reason', metavar='TEXT', help='why')
    parser.add_argument('--approved-by', metavar='WHO', help='by whom (default: the user who runs the command)')
    parser.add_argument('--ticket', metavar='ID', help='where it was discussed')


def _add_waiver_words(parser: Parser) -> None:
    another = 'one more domain'
    parser.add_argument('--domain', metavar='ANOTHER', action='append', default=[], dest='others', help=another)
    parser.add_argument('domain', metavar='DOMAIN', nargs='?', help='the name or the UUID of a domain')
    parser.add_argument('rules', metavar='RULE', nargs='*', help='the rules')


def _add_a_waiver(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .waivers.waiver import add

    return add(arguments, installation)


def _renew_waivers(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .waivers.waiver import renew

    return renew(arguments, installation)


def _remove_waivers(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .waivers.waiver import remove

    return remove(arguments, installation)


def _list_waivers(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .waivers.waiver_list import run

    return run(arguments, installation)
