# SPDX-License-Identifier: Apache-2.0
"""The options of `virt-guard polkit`."""

from .polkit.permissions import COARSE
from .usage import Parser, add_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable

    from ..policy.installation import Installation
    from .usage import Commands

_STATUSES = ('0  fine', '2  a policy has a problem, or the command line is wrong')


def add_polkit(commands: 'Commands', add_policy_option: 'Callable[[Parser], None]') -> None:
    """Add `polkit`, with what is below it."""
    examples = [
        ('virt-guard polkit print', 'the rules, and how to put them in force'),
        ('virt-guard polkit check alice', 'what a user may do, before and after'),
    ]
    purpose = 'make rules for polkit, by which libvirt denies what the hook cannot see'
    actions = add_command(commands, 'polkit', purpose, examples, _STATUSES).add_commands('ACTION')
    examples = [
        ('virt-guard polkit print', 'to read'),
        ('virt-guard polkit print --output /etc/polkit-1/rules.d/10-virt-guard.rules', 'to obey'),
    ]
    purpose = 'print the rules for polkit that follow from the policy'
    parser = add_command(actions, 'print', purpose, examples, _STATUSES, _print_rules)
    parser.add_argument('--output', metavar='FILE', help='write them into FILE, in one step')
    _add_options(parser, add_policy_option)
    examples = [
        ('virt-guard polkit check alice', 'today, and with the rules'),
        ('virt-guard polkit check libvirtdbus', 'whoever works in Cockpit'),
    ]
    purpose = 'tell what a user may do today, and what with these rules'
    parser = add_command(actions, 'check', purpose, examples, _STATUSES, _check_user)
    _add_options(parser, add_policy_option)
    parser.add_argument('user', metavar='USER', help='the name of the user')


def _add_options(parser: Parser, add_policy_option: 'Callable[[Parser], None]') -> None:
    add_policy_option(parser)
    parser.add_argument(
        '--also',
        metavar='PERMISSION',
        choices=COARSE,
        action='append',
        default=[],
        help='deny a permission that is for much else, too: %(choices)s',
    )
    yes = parser.add_mutually_exclusive_group()
    yes.add_argument(
        '--group',
        metavar='GROUP',
        action='append',
        default=[],
        dest='groups',
        help='who may do the rest (default: the group that may use libvirt); may be repeated',
    )
    yes.add_argument(
        '--deny-only', action='store_true', help='say nothing of the rest, about which rules of your own decide'
    )


def _print_rules(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .polkit.print_rules import run

    return run(arguments, installation)


def _check_user(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .polkit.check_user import run

    return run(arguments, installation)
