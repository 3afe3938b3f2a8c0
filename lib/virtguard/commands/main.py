# SPDX-License-Identifier: Apache-2.0
"""The `virt-guard` command: what it understands, and what becomes of errors.

Exit status: 0 admitted, 1 something is denied, 2 something could not be judged. Findings go to standard output,
errors to standard error.
"""

import argparse
import os
import signal
import time

from .. import __version__, model, wording
from ..errors import GuardError, PolicyError
from ..policy import installation
from ..policy.waivers import parse_day
from . import check, rules
from . import policy as policy_commands
from . import watch as watch_command
from .exit_status import INTERRUPTED, NOT_JUDGED
from .formats import FORMATS
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional, Sequence


def main(argv: 'Optional[Sequence[str]]' = None, layout: installation.Layout = installation.found()) -> int:  # noqa: B008
    """Run the command; `layout` says where the installation has its policy. Returns the exit status."""
    # As for any filter, a reader that has seen enough ends the program without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Waivers end with a day of the host's own calendar, as the hook tells it, wherever the caller takes himself to be.
    os.environ.pop('TZ', None)
    time.tzset()
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.run(arguments, layout))
    except PolicyError as error:
        for problem in error.problems:
            complain(str(problem))
        return NOT_JUDGED
    except GuardError as error:
        complain('%s: %s' % (wording.PROGRAM, error))
        return NOT_JUDGED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        from ..libraries import blame

        blamed = blame(error)
        if blamed is None:
            raise
        complain('%s: %s' % (wording.PROGRAM, blamed))
        return NOT_JUDGED


def _day(text: str) -> str:
    day = parse_day(text)
    if day is None:
        raise argparse.ArgumentTypeError('%r is not a day of the calendar; write it like 2027-01-31' % text)
    return day


def _release(text: str) -> str:
    if not any(model.release_of(text, (), vendor) for vendor in model.VENDORS):
        raise argparse.ArgumentTypeError('%r is no release that can be counted; write it like rhel-10.1' % text)
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> 'NoReturn':
        if message.startswith('unrecognized arguments'):
            message += '; options go before files'
        self.exit(NOT_JUDGED, '%s: %s (%s --help)\n' % (self.prog, wording.escape(message), self.prog))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=wording.PROGRAM,
        description='Judge libvirt domains by a policy of unsupported features.',
        epilog='Exit status: 0 admitted, 1 something is denied, 2 something could not be judged.',
    )
    parser.add_argument('--version', action='version', version='%s %s' % (wording.PROGRAM, __version__))
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    commands.required = True

    policy = _Parser(add_help=False)
    policy.add_argument('--policy', metavar='FILE', help='a policy or profile to judge by (default: the one in force)')
    output = _Parser(add_help=False)
    output.add_argument('--format', choices=list(FORMATS), default='text', help='jsonl: one JSON object per domain')
    output.add_argument('--facts', metavar='FILE', help='YAML: facts of another host to judge for; the rest is unknown')
    output.add_argument('--os', metavar='RELEASE', type=_release, help='judge as after an upgrade to it: rhel-10.1')

    date = _Parser(add_help=False)
    date.add_argument('--date', metavar='YYYY-MM-DD', type=_day, help='judge as on that day (default: today)')

    check_files = commands.add_parser('check', parents=[policy, output, date], help='judge domain XML files')
    check_files.add_argument(
        'paths', nargs='+', metavar='FILE|DIR|-', help='domain XML; a directory stands for all below it'
    )
    check_files.set_defaults(run=check.check)
    scan = commands.add_parser('scan', parents=[policy, output, date], help='judge every domain defined on this host')
    scan.add_argument(
        '--next-boot', action='store_true', help='judge what the next start of running and autostart domains takes'
    )
    scan.set_defaults(run=check.scan)
    watch = commands.add_parser('watch', parents=[policy], help='record what happens to running domains')
    watch.add_argument('--once', action='store_true', help='tell what holds now, record nothing, and end')
    watch.add_argument('--format', choices=list(FORMATS), default='text', help='jsonl: one JSON object per finding')
    watch.set_defaults(run=watch_command.run)
    list_rules = commands.add_parser('rules', parents=[policy], help='list the rules')
    list_rules.add_argument('--format', choices=list(FORMATS), default='text', help='jsonl: one JSON object per rule')
    list_rules.set_defaults(run=rules.list_rules)
    explain = commands.add_parser('explain', parents=[policy], help='tell what a rule is for and what to do')
    explain.add_argument('rules', nargs='+', metavar='RULE')
    explain.set_defaults(run=rules.explain)
    policy_command = commands.add_parser('policy', help='work on the policy itself')
    actions = policy_command.add_subparsers(dest='action', metavar='ACTION')
    actions.required = True
    policy_check = actions.add_parser('check', help='report every problem of a policy')
    policy_check.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')
    policy_check.set_defaults(run=policy_commands.check)
    policy_show = actions.add_parser('show', help='print the effective policy, and where each value comes from')
    policy_show.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')
    policy_show.set_defaults(run=policy_commands.show_effective)
    policy_test = actions.add_parser('test', parents=[policy], help='judge fixtures, and compare with what they expect')
    policy_test.add_argument('--all', action='store_true', help='demand cases of every rule, not only of your own')
    policy_test.add_argument('directory', metavar='DIR', help='has a directory per rule, with expected.yaml in each')
    policy_test.set_defaults(run=_test_policy)
    policy_diff = actions.add_parser(
        'diff', parents=[output, date], help='list the verdicts that another policy changes'
    )
    policy_diff.add_argument('old', metavar='OLD', help='a policy or profile, by which domains are judged today')
    policy_diff.add_argument('new', metavar='NEW', help='another one, or the same one on another day (--date)')
    policy_diff.add_argument(
        'paths', nargs='*', metavar='FILE|DIR|-', help='domain XML (default: every domain defined on this host)'
    )
    policy_diff.set_defaults(run=_diff_policies)
    policy_compile = actions.add_parser('compile', help='prepare the policy in force for a faster hook')
    policy_compile.set_defaults(run=policy_commands.compile_in_force)
    return parser


def _test_policy(arguments: argparse.Namespace, layout: installation.Layout) -> int:
    from .fixtures import run

    return run(arguments, layout)


def _diff_policies(arguments: argparse.Namespace, layout: installation.Layout) -> int:
    from .policy_diff import run

    return run(arguments, layout)
