# SPDX-License-Identifier: Apache-2.0
"""The sub-commands and options of `virt-guard`. What runs them is in `runs`.

Each TAB of a shell makes this parser (see completing/answer): what it imports must be little.
"""

import argparse

from .. import __version__, model, wording
from ..errors import suggest
from ..policy.installation import LANGUAGES
from ..waivers import parse_day
from . import runs
from .change_parser import add_policy_set, add_waiver
from .domains.named_hosts import NamedHost
from .exit_status import FINE
from .fleet_parser import add_fleet
from .guests_parser import add_guests
from .output.format_names import FORMAT_NAMES, VERDICT_FORMATS
from .polkit_parser import add_polkit
from .usage import Parser, add_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

    from ..policy.installation import Installation
    from .usage import Commands

_FAILED = '2  a policy or another input has a problem, or the command line is wrong'
_JUDGES = (
    '0  every domain is admitted',
    '1  a domain is denied, also in mode audit',
    '2  a domain could not be judged, a policy has a problem, or the command line is wrong',
)
_TELLS = ('0  fine', _FAILED)
_EXPLAINS = ('0  fine; --domain: it is admitted', '1  --domain: it is denied', _FAILED)
_DOMAINS = 'FILE|DIR|DOMAIN|-'
_WHAT = 'domain XML; a directory stands for every file below it; DOMAIN is the name or UUID of a domain of this host'


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


def _host(text: str) -> NamedHost:
    try:
        return NamedHost(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def build_parser() -> Parser:
    """The parser of the whole command line; what it returns has `run`, the function to call."""
    parser = Parser(
        prog=wording.PROGRAM,
        description='Judge libvirt domains by a policy of unsupported features.',
        examples=[
            ('virt-guard scan', 'judge every domain defined on this host'),
            ('virt-guard help check', 'how to judge single files and domains'),
        ],
        statuses=[
            '0  admitted, or fine',
            '1  something is denied, or not as it should be',
            '2  something could not be judged, or the command line is wrong',
        ],
    )
    parser.add_argument('--version', action='version', version='%s %s' % (wording.PROGRAM, __version__))
    commands = parser.add_commands('COMMAND')
    for add in (_add_check, _add_scan, _add_status, _add_report, add_fleet):
        add(commands)
    for add in (add_guests, _add_metrics, _add_watch, _add_rules, _add_explain):
        add(commands)
    policy_command = add_command(
        commands,
        'policy',
        'work on the policy itself',
        [
            ('virt-guard policy check', 'report every problem of the policy in force'),
            ('virt-guard help policy diff', 'how to compare two policies'),
        ],
        ['the exit statuses are those of the ACTION; 2 if the command line is wrong'],
    )
    actions = policy_command.add_commands('ACTION')
    for add in (_add_policy_check, _add_policy_edit, _add_policy_show, _add_policy_test, _add_policy_diff):
        add(actions)
    _add_policy_compile(actions)
    add_policy_set(actions)
    add_waiver(commands, _add_list_options)
    add_polkit(commands, _add_policy_option)
    _add_help(commands)
    return parser


def _add_check(commands: 'Commands') -> None:
    examples = [
        ('virt-guard check web07', 'a domain of this host, as it runs'),
        ('virt-guard check ./web07.xml', 'a file'),
        ('virt-guard check --policy rhel-9 --by rule domains/', 'every file below a directory, by a profile'),
    ]
    parser = add_command(
        commands, 'check', 'judge domain XML files, or domains of this host', examples, _JUDGES, runs.check
    )
    _add_policy_option(parser)
    _add_judging_options(parser)
    _add_report_options(parser)
    parser.add_argument('paths', nargs='+', metavar=_DOMAINS, help=_WHAT)


def _add_scan(commands: 'Commands') -> None:
    examples = [
        ('virt-guard scan', 'every domain, as its next start would be judged'),
        ('virt-guard scan --denied --by rule', 'which rules refuse which domains'),
        ('virt-guard scan --quiet web07 || echo refused', 'a question in a script'),
        ('virt-guard scan --next-boot', 'only domains that run or start with the host'),
    ]
    parser = add_command(commands, 'scan', 'judge every domain defined on this host', examples, _JUDGES, runs.scan)
    _add_policy_option(parser)
    _add_judging_options(parser)
    parser.add_argument(
        '--next-boot',
        action='store_true',
        help='judge the definitions from which running and autostart domains start next',
    )
    _add_report_options(parser)
    parser.add_argument(
        'domains', nargs='*', metavar='DOMAIN', help='names or UUIDs (default: every domain defined on this host)'
    )


def _add_status(commands: 'Commands') -> None:
    examples = [
        ('virt-guard status', 'what is amiss, and what mends it'),
        ('virt-guard status --format jsonl', 'the same, for monitoring'),
    ]
    statuses = ['0  the guard is in force', '1  something is amiss', '2  something could not be told']
    purpose = 'tell whether the guard is in force on this host'
    parser = add_command(commands, 'status', purpose, examples, statuses, runs.tell_status)
    _add_format_option(parser, 'condition')


def _add_report(commands: 'Commands') -> None:
    examples = [
        ('virt-guard report --since 2026-10-01 --until 2026-11-01', 'what happened in October'),
        ('virt-guard report --since yesterday --format html --output report.html', 'a page for others'),
        ('virt-guard report --since "30 days ago" --pack evidence', 'with the records and checksums'),
        ('virt-guard report --records fleet.jsonl', 'of many hosts, from journalctl -o json'),
    ]
    purpose = 'tell whether the guard was on in a period, and what it has found'
    statuses = ['0  the report is made', '2  it cannot be made, or the command line is wrong']
    parser = add_command(commands, 'report', purpose, examples, statuses, runs.report)
    when = 'as journalctl takes it: 2027-01-31, "2027-01-31 14:30", today, yesterday, "7 days ago"'
    parser.add_argument('--since', metavar='TIME', help='%s (default: the first record)' % when)
    parser.add_argument('--until', metavar='TIME', help='the report ends just before it (default: now)')
    records = parser.add_mutually_exclusive_group()
    records.add_argument('--journal', metavar='DIR', help='read the journals in a directory, not that of this host')
    records.add_argument(
        '--records', metavar='FILE', help='read what journalctl -o json has written; -: standard input'
    )
    parser.add_argument('--format', choices=['text', 'html', 'jsonl'], help='default: text')
    output = parser.add_mutually_exclusive_group()
    output.add_argument('--output', metavar='FILE', help='write it into a file that does not exist yet')
    output.add_argument(
        '--pack', metavar='DIR', help='make a directory with the report, records, policy, versions and checksums'
    )


def _add_metrics(commands: 'Commands') -> None:
    examples = [
        ('virt-guard metrics', 'to look at'),
        ('virt-guard metrics --output /var/lib/prometheus/node-exporter/virt-guard.prom', 'for node_exporter'),
    ]
    statuses = ['0  the metrics are written, whatever they say', '2  they are not, or the command line is wrong']
    purpose = 'tell in numbers how the guard and the domains are, for Prometheus'
    parser = add_command(commands, 'metrics', purpose, examples, statuses, runs.write_metrics)
    parser.add_argument('--output', metavar='FILE', help='write them into FILE, in one step')


def _add_watch(commands: 'Commands') -> None:
    examples = [
        ('virt-guard watch --once', 'what holds now; nothing is recorded'),
        ('virt-guard watch', 'what the unit virt-guard-watch.service runs'),
    ]
    statuses = [
        '0  it has ended as it should; --once: nothing would be denied',
        '1  --once: something would be denied',
        _FAILED,
    ]
    purpose = 'record findings about running domains as they change'
    parser = add_command(commands, 'watch', purpose, examples, statuses, runs.watch)
    _add_policy_option(parser)
    parser.add_argument('--once', action='store_true', help='report what is found now, record nothing, and exit')
    _add_verdict_formats(parser)


def _add_rules(commands: 'Commands') -> None:
    examples = [
        ('virt-guard rules', 'those in force on this host'),
        ('virt-guard rules --policy rhel-9 --format jsonl', 'those of a profile, for programs'),
    ]
    parser = add_command(commands, 'rules', 'list the rules', examples, _TELLS, runs.list_rules)
    _add_policy_option(parser)
    _add_format_option(parser, 'rule')
    _add_language_option(parser)


def _add_explain(commands: 'Commands') -> None:
    examples = [
        ('virt-guard explain virtiofs', 'a rule of the policy in force'),
        ('virt-guard explain --policy rhel-9 tcg virtiofs', 'rules of a profile'),
        ('virt-guard explain --domain web07', 'why this domain is refused, and what to do'),
    ]
    purpose = 'tell what a rule is for, or why a domain is refused, and what to do'
    parser = add_command(commands, 'explain', purpose, examples, _EXPLAINS, runs.explain)
    _add_policy_option(parser)
    parser.add_argument('--domain', metavar='DOMAIN', help='tell what is found in a domain of this host (name or UUID)')
    _add_language_option(parser)
    parser.add_argument('rules', nargs='*', metavar='RULE', help='with --domain: only what these rules find')


def _add_policy_check(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy check', 'the policy in force'),
        ('virt-guard policy check site.yaml', 'a file, with the drop-ins beside it'),
        ('virt-guard policy check --drop-in new.yaml --as 50-site.yaml', 'before it is put in force'),
    ]
    statuses = ['0  there is no problem', '2  there is one, or the command line is wrong']
    parser = add_command(commands, 'check', 'report every problem of a policy', examples, statuses, runs.check_policy)
    parser.add_argument('--drop-in', metavar='FILE', help='check the policy as if FILE (or -) were one of its drop-ins')
    parser.add_argument(
        '--as', dest='name', metavar='NAME', help='the name that FILE would have there (default: its own)'
    )
    parser.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')


def _add_policy_edit(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy edit', 'the drop-in 50-site.yaml'),
        ('virt-guard policy edit 70-build', 'another one, which need not be there yet'),
    ]
    statuses = ['0  the text is in force, or nothing has changed', '1  the text was kept or dropped', _FAILED]
    purpose = 'edit a drop-in, and put it in force once nothing is wrong with it'
    parser = add_command(commands, 'edit', purpose, examples, statuses, runs.edit_policy)
    parser.add_argument('name', nargs='?', metavar='NAME', help='a file in policy.d (default: 50-site.yaml)')


def _add_policy_show(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy show', 'the policy in force, made of all its files'),
        ('virt-guard policy show rhel-9', 'a profile'),
    ]
    purpose = 'print the effective policy, and where each value comes from'
    parser = add_command(commands, 'show', purpose, examples, _TELLS, runs.show_policy)
    parser.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')


def _add_policy_test(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy test tests/', 'the test cases of the rules of this site'),
        ('virt-guard policy test --policy site.yaml tests/', 'those of a policy that is not in force'),
    ]
    statuses = ['0  everything is as expected', '1  something is not, or cases are missing', _FAILED]
    purpose = 'judge test domains, and compare the findings with the expected ones'
    parser = add_command(commands, 'test', purpose, examples, statuses, runs.test_policy)
    _add_policy_option(parser)
    parser.add_argument(
        '--host', metavar='HOST', type=_host, help='the host of cases that state no os of their own, such as rhel-9.4'
    )
    parser.add_argument('--all', action='store_true', help='require test cases for every rule, not only for your own')
    parser.add_argument(
        'directory', metavar='DIR', help='a directory with one directory for each rule, each with an expected.yaml'
    )


def _add_policy_diff(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy diff rhel-9 site.yaml', 'what changes for the domains of this host'),
        ('virt-guard policy diff --os rhel-10.1 rhel-9 rhel-10', 'what an upgrade of the host changes'),
    ]
    statuses = ['0  nothing changes', '1  something changes', _FAILED]
    purpose = 'list the domains that another policy judges differently'
    parser = add_command(commands, 'diff', purpose, examples, statuses, runs.diff_policies)
    _add_format_option(parser, 'domain')
    _add_judging_options(parser)
    parser.add_argument('old', metavar='OLD', help='the policy or profile that judges the domains as of today')
    parser.add_argument(
        'new',
        metavar='NEW',
        help='the policy or profile to compare with it: another one, or the same one on another day (--date)',
    )
    parser.add_argument(
        'paths', nargs='*', default=[], metavar=_DOMAINS, help=_WHAT + ' (default: every domain defined on this host)'
    )


def _add_policy_compile(commands: 'Commands') -> None:
    examples = [
        ('virt-guard policy compile', 'after an edit, where no unit does it'),
        ('virt-guard policy check && virt-guard policy compile', 'only a policy without problems'),
    ]
    purpose = 'compile the policy in force, so that the hook starts faster'
    add_command(commands, 'compile', purpose, examples, _TELLS, runs.compile_policy)


def _add_help(commands: 'Commands') -> None:
    examples = [('virt-guard help', 'the list of commands'), ('virt-guard help policy diff', 'help on one of them')]
    parser = add_command(commands, 'help', 'tell how a command is used', examples, _TELLS, _help)
    parser.add_argument('words', nargs='*', metavar='COMMAND')


def _add_policy_option(parser: Parser) -> None:
    parser.add_argument('--policy', metavar='FILE', help='a policy or profile to judge by (default: the one in force)')


def _add_list_options(parser: Parser) -> None:
    _add_policy_option(parser)
    _add_format_option(parser, 'waiver')


def _add_format_option(parser: Parser, what: str) -> None:
    parser.add_argument('--format', choices=FORMAT_NAMES, default='text', help='jsonl: one JSON object per ' + what)


def _add_judging_options(parser: Parser) -> None:
    """Options about the host and the day that verdicts depend on."""
    host = parser.add_mutually_exclusive_group()
    host.add_argument('--facts', metavar='FILE', help='judge for another host, whose facts are in this YAML file')
    host.add_argument(
        '--host', metavar='HOST', type=_host, help='judge for a host as its vendor supports it, such as rhel-9.4'
    )
    parser.add_argument(
        '--os', metavar='RELEASE', type=_release, help='judge as if the host ran RELEASE, such as rhel-10.1'
    )
    parser.add_argument('--date', metavar='YYYY-MM-DD', type=_day, help='judge as if it were that day (default: today)')


def _add_verdict_formats(parser: Parser) -> None:
    parser.add_argument(
        '--format', choices=VERDICT_FORMATS, default='text', metavar='FORMAT', help=', '.join(VERDICT_FORMATS)
    )
    parser.add_argument(
        '--output',
        action='append',
        default=[],
        type=_output,
        metavar='[FORMAT:]FILE',
        help='write FILE as well, in FORMAT (default: that of --format); may be repeated',
    )


def _output(text: str) -> 'Tuple[Optional[str], str]':
    """The format, or None, and the file that a value of --output names."""
    name, colon, path = text.partition(':')
    if text in VERDICT_FORMATS:
        told = "'%s' is a format, and names no file; write %s:FILE, or ./%s for a file of this name"
        raise argparse.ArgumentTypeError(told % (text, text, text))
    if not colon or not name.isalpha():
        name, path = '', text
    elif name not in VERDICT_FORMATS:
        told = "'%s' is not a format (%s); a file of this name is ./%s"
        raise argparse.ArgumentTypeError(told % (name, suggest(name, VERDICT_FORMATS), text))
    if path in ('', '-'):
        raise argparse.ArgumentTypeError("'%s' names no file; --format is for standard output" % text)
    return name or None, path


def _add_report_options(parser: Parser) -> None:
    """Options about what is printed of the verdicts."""
    _add_verdict_formats(parser)
    parser.add_argument('--denied', action='store_true', help='print only the domains that are denied, or not judged')
    parser.add_argument('--quiet', action='store_true', help='print nothing but errors: the exit status is the answer')
    parser.add_argument('--by', choices=['rule'], help='rule: for each rule, how many domains it finds, and which')
    _add_language_option(parser)


def _add_language_option(parser: Parser) -> None:
    parser.add_argument('--language', choices=LANGUAGES, help='default: that of the locale; of JSON, en')


def _help(arguments: argparse.Namespace, installation: 'Installation') -> int:
    parser = build_parser()
    for word in arguments.words:
        parser = parser.command(word)
    parser.print_help()
    return FINE
