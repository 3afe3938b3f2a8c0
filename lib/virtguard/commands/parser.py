# SPDX-License-Identifier: Apache-2.0
"""The sub-commands and options of `virt-guard`. What runs them is in the modules that are named for them."""

import argparse

from .. import __version__, model, wording
from ..policy.waivers import parse_day
from . import check, policy, rules, watch
from .exit_status import NOT_JUDGED
from .formats import FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..policy.installation import Installation

    Commands = argparse._SubParsersAction['_Parser']


def _day(text: str) -> str:
    day = parse_day(text)
    if day is None:
        raise argparse.ArgumentTypeError('%r is not a day of the calendar; write it like 2027-01-31' % text)
    return day


def _release(text: str) -> str:
    if not any(model.release_of(text, (), vendor) for vendor in model.VENDORS):
        raise argparse.ArgumentTypeError(
            '%r is not a release that virt-guard can compare; write it like rhel-10.1' % text
        )
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> 'NoReturn':
        if message.startswith('unrecognized arguments'):
            message += '; put options before files'
        self.exit(NOT_JUDGED, '%s: %s (%s --help)\n' % (self.prog, wording.escape(message), self.prog))


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it returns has `run`, the function to call."""
    parser = _Parser(
        prog=wording.PROGRAM,
        description='Judge libvirt domains by a policy of unsupported features.',
        epilog='Exit status: 0 admitted, 1 something is denied, 2 something could not be judged.',
    )
    parser.add_argument('--version', action='version', version='%s %s' % (wording.PROGRAM, __version__))
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    commands.required = True
    for add in (_add_check, _add_scan, _add_watch, _add_rules, _add_explain):
        add(commands)
    policy_command = commands.add_parser('policy', help='work on the policy itself')
    actions = policy_command.add_subparsers(dest='action', metavar='ACTION')
    actions.required = True
    for add in (_add_policy_check, _add_policy_show, _add_policy_test, _add_policy_diff, _add_policy_compile):
        add(actions)
    return parser


def _add_check(commands: 'Commands') -> None:
    parser = commands.add_parser('check', help='judge domain XML files')
    parser.set_defaults(run=check.check)
    _add_policy_option(parser)
    _add_judging_options(parser)
    parser.add_argument(
        'paths', nargs='+', metavar='FILE|DIR|-', help='domain XML; a directory stands for every file below it'
    )


def _add_scan(commands: 'Commands') -> None:
    parser = commands.add_parser('scan', help='judge every domain defined on this host')
    parser.set_defaults(run=check.scan)
    _add_policy_option(parser)
    _add_judging_options(parser)
    parser.add_argument(
        '--next-boot',
        action='store_true',
        help='judge the definitions from which running and autostart domains start next',
    )


def _add_watch(commands: 'Commands') -> None:
    parser = commands.add_parser('watch', help='record findings about running domains as they change')
    parser.set_defaults(run=watch.run)
    _add_policy_option(parser)
    parser.add_argument('--once', action='store_true', help='report what is found now, record nothing, and exit')
    _add_format_option(parser, 'finding')


def _add_rules(commands: 'Commands') -> None:
    parser = commands.add_parser('rules', help='list the rules')
    parser.set_defaults(run=rules.list_rules)
    _add_policy_option(parser)
    _add_format_option(parser, 'rule')


def _add_explain(commands: 'Commands') -> None:
    parser = commands.add_parser('explain', help='tell what a rule is for, and what to do about its findings')
    parser.set_defaults(run=rules.explain)
    _add_policy_option(parser)
    parser.add_argument('rules', nargs='+', metavar='RULE')


def _add_policy_check(commands: 'Commands') -> None:
    parser = commands.add_parser('check', help='report every problem of a policy')
    parser.set_defaults(run=policy.check)
    parser.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')


def _add_policy_show(commands: 'Commands') -> None:
    parser = commands.add_parser('show', help='print the effective policy, and where each value comes from')
    parser.set_defaults(run=policy.show_effective)
    parser.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')


def _add_policy_test(commands: 'Commands') -> None:
    parser = commands.add_parser('test', help='judge test domains, and compare the findings with the expected ones')
    parser.set_defaults(run=_test_policy)
    _add_policy_option(parser)
    parser.add_argument('--all', action='store_true', help='require test cases for every rule, not only for your own')
    parser.add_argument(
        'directory', metavar='DIR', help='a directory with one directory for each rule, each with an expected.yaml'
    )


def _add_policy_diff(commands: 'Commands') -> None:
    parser = commands.add_parser('diff', help='list the domains that another policy judges differently')
    parser.set_defaults(run=_diff_policies)
    _add_judging_options(parser)
    parser.add_argument('old', metavar='OLD', help='the policy or profile that judges the domains as of today')
    parser.add_argument(
        'new',
        metavar='NEW',
        help='the policy or profile to compare with it: another one, or the same one on another day (--date)',
    )
    parser.add_argument(
        'paths', nargs='*', metavar='FILE|DIR|-', help='domain XML (default: every domain defined on this host)'
    )


def _add_policy_compile(commands: 'Commands') -> None:
    parser = commands.add_parser('compile', help='compile the policy in force, so that the hook starts faster')
    parser.set_defaults(run=policy.compile_in_force)


def _add_policy_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--policy', metavar='FILE', help='a policy or profile to judge by (default: the one in force)')


def _add_format_option(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument('--format', choices=list(FORMATS), default='text', help='jsonl: one JSON object per ' + what)


def _add_judging_options(parser: argparse.ArgumentParser) -> None:
    """Options about the format of verdicts, and about the host and the day that they depend on."""
    _add_format_option(parser, 'domain')
    parser.add_argument('--facts', metavar='FILE', help='judge for another host, whose facts are in this YAML file')
    parser.add_argument(
        '--os', metavar='RELEASE', type=_release, help='judge as if the host ran RELEASE, such as rhel-10.1'
    )
    parser.add_argument('--date', metavar='YYYY-MM-DD', type=_day, help='judge as if it were that day (default: today)')


def _test_policy(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .fixtures import run

    return run(arguments, installation)


def _diff_policies(arguments: argparse.Namespace, installation: 'Installation') -> int:
    from .policy_diff import run

    return run(arguments, installation)
