# SPDX-License-Identifier: Apache-2.0
"""The `virt-guard` command: judges domains outside of libvirt, and explains the policy.

Exit status: 0 admitted, 1 something is denied, 2 something could not be judged. Findings go to standard output,
errors to standard error.
"""

import argparse
import os
import signal
import sys
import time

from . import __version__, layout, model, report
from .compiled import compiled_path, load_compiled, take_stamp
from .documents import Document, find_documents
from .errors import GuardError, PolicyError, suggest
from .formats import JsonLines, Text, explain, happening_line, happening_object
from .policyfile import directories, read_policy_file, read_trusted_policy_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, NoReturn, Optional, Sequence, Union

    from .runtime import Occurrence, Tracked

    Format = Union[Text, JsonLines]

ADMITTED, DENIED, NOT_JUDGED = 0, 1, 2
_INTERRUPTED = 130


def main(argv: 'Optional[Sequence[str]]' = None, layout: layout.Layout = layout.found()) -> int:  # noqa: B008
    """Run the command; `layout` says where the installation has its policy. Returns the exit status."""
    # As for any filter, a reader that has seen enough ends the program without a word.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.run(arguments, layout))
    except PolicyError as error:
        for problem in error.problems:
            _complain(str(problem))
        return NOT_JUDGED
    except GuardError as error:
        _complain('%s: %s' % (report.PROGRAM, error))
        return NOT_JUDGED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _complain(text: str) -> None:
    _write(sys.stderr, report.escape(text) + '\n')


def _print(text: str) -> None:
    _write(sys.stdout, text)


def _write(stream: 'object', text: str) -> None:
    encoding = getattr(stream, 'encoding', None) or 'ascii'
    stream.buffer.write(text.encode(encoding, 'backslashreplace'))  # type: ignore[attr-defined]
    stream.flush()  # type: ignore[attr-defined]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> 'NoReturn':
        self.exit(NOT_JUDGED, '%s: %s (%s --help)\n' % (self.prog, report.escape(message), self.prog))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=report.PROGRAM,
        description='Judge libvirt domains by a policy of unsupported features.',
        epilog='Exit status: 0 admitted, 1 something is denied, 2 something could not be judged.',
    )
    parser.add_argument('--version', action='version', version='%s %s' % (report.PROGRAM, __version__))
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    commands.required = True

    policy = _Parser(add_help=False)
    policy.add_argument('--policy', metavar='FILE', help='the policy to judge by (default: the one in force)')
    output = _Parser(add_help=False)
    output.add_argument('--format', choices=('text', 'jsonl'), default='text', help='jsonl: one JSON object per domain')
    output.add_argument('--facts', metavar='FILE', help='YAML: facts of another host to judge for; the rest is unknown')

    check = commands.add_parser('check', parents=[policy, output], help='judge domain XML files')
    check.add_argument('paths', nargs='+', metavar='FILE|DIR|-', help='domain XML; a directory stands for its *.xml')
    check.set_defaults(run=_check)
    scan = commands.add_parser('scan', parents=[policy, output], help='judge every domain defined on this host')
    scan.set_defaults(run=_scan)
    watch = commands.add_parser('watch', parents=[policy], help='record what happens to running domains')
    watch.add_argument('--once', action='store_true', help='tell what holds now, record nothing, and end')
    watch.add_argument('--format', choices=('text', 'jsonl'), default='text', help='jsonl: one JSON object per finding')
    watch.set_defaults(run=_watch)
    rules = commands.add_parser('rules', parents=[policy], help='list the rules')
    rules.set_defaults(run=_rules)
    explain = commands.add_parser('explain', parents=[policy], help='tell what a rule is for and what to do')
    explain.add_argument('rules', nargs='+', metavar='RULE')
    explain.set_defaults(run=_explain)
    policy_command = commands.add_parser('policy', help='work on the policy itself')
    actions = policy_command.add_subparsers(dest='action', metavar='ACTION')
    actions.required = True
    policy_check = actions.add_parser('check', help='report every problem of a policy')
    policy_check.add_argument('policy', nargs='?', metavar='FILE', help='default: the policy in force')
    policy_check.set_defaults(run=_policy_check)
    policy_compile = actions.add_parser('compile', help='prepare the policy in force for a faster hook')
    policy_compile.set_defaults(run=_policy_compile, policy=None)
    return parser


def _load_policy(path: 'Optional[str]', layout: layout.Layout) -> model.Policy:
    from .policy import load_policy

    if path is not None:
        return load_policy(read_policy_file(path), path)
    # The policy in force must satisfy what the hook asks of it, or the command would promise too much.
    read = read_trusted_policy_file if layout.installed else read_policy_file
    return load_policy(read(layout.policy), layout.policy)


def _load_host(path: 'Optional[str]', policy: model.Policy) -> model.HostFacts:
    from .facts import load_facts
    from .host import read_facts

    if path is not None:
        return load_facts(read_policy_file(path), path)
    return read_facts(policy.facts())


def _check(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    return _judge_all(arguments, layout, find_documents(arguments.paths), show_admitted=False)


def _scan(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    try:
        names = sorted(name for name in os.listdir(layout.domains) if name.endswith('.xml'))
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise GuardError('cannot list %s: %s' % (layout.domains, error.strerror), 'run it as root') from None
    documents = [Document(os.path.join(layout.domains, name), True) for name in names]
    return _judge_all(arguments, layout, documents, show_admitted=True)


def _judge_all(
    arguments: argparse.Namespace, layout: layout.Layout, documents: 'Iterable[Document]', show_admitted: bool
) -> int:
    from .bulk import Judge, judge_all

    policy = _load_policy(arguments.policy, layout)
    judge = Judge(policy, _load_host(arguments.facts, policy))
    output: 'Format' = JsonLines() if arguments.format == 'jsonl' else Text(_wants_colour(), show_admitted)
    counts = {model.ADMIT: 0, model.DENY: 0, model.ERROR: 0}
    progress = _Progress()
    for outcome in judge_all(judge, output, documents):
        if outcome.output or outcome.complaint:
            progress.clear()
        if outcome.complaint:
            _complain(outcome.complaint)
        if outcome.output:
            _print(outcome.output)
        if outcome.decision:
            counts[outcome.decision] += 1
            progress.show(sum(counts.values()))
    progress.clear()
    if arguments.command == 'check' and not any(counts.values()):
        raise GuardError('there is no domain in the files given')
    _print(output.summary(counts[model.ADMIT], counts[model.DENY], counts[model.ERROR]))
    return _status(counts)


def _watch(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    from .watch import Watch

    if arguments.once:
        return _watch_once(arguments, layout)
    is_service = bool(
        os.environ.get('NOTIFY_SOCKET')
    )  # then journald has the records, and nobody reads what is printed

    def show(domain: 'Tracked', occurrence: 'Occurrence') -> None:
        if not is_service:
            render = happening_object if arguments.format == 'jsonl' else happening_line
            _print(render(domain.name, domain.uuid, occurrence))

    def complain(text: str) -> None:
        if not is_service:
            _complain('%s: %s' % (report.PROGRAM, text))

    path = arguments.policy if arguments.policy is not None else layout.policy
    Watch(layout, path, lambda: _load_policy(arguments.policy, layout), show, complain).run()
    return ADMITTED


def _watch_once(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    from .watch import audit_now

    output: 'Format' = JsonLines() if arguments.format == 'jsonl' else Text(_wants_colour(), True)
    counts = {model.ADMIT: 0, model.DENY: 0, model.ERROR: 0}
    for source, outcome in audit_now(layout, _load_policy(arguments.policy, layout)):
        if isinstance(outcome, model.Verdict):
            _print(output.verdict(source, outcome))
            counts[outcome.decision] += 1
        else:
            _complain('%s: error: %s' % (source, outcome))
            _print(output.failure(source, str(outcome)))
            counts[model.ERROR] += 1
    _print(output.summary(counts[model.ADMIT], counts[model.DENY], counts[model.ERROR]))
    return _status(counts)


def _status(counts: 'Dict[str, int]') -> int:
    return NOT_JUDGED if counts[model.ERROR] else DENIED if counts[model.DENY] else ADMITTED


class _Progress:
    """A count on the terminal's last line, for work that takes longer than a moment."""

    _INTERVAL = 0.5  # seconds

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty() and os.environ.get('TERM') != 'dumb'
        self._next = time.monotonic() + self._INTERVAL
        self._shown = False

    def show(self, count: int) -> None:
        if self._wanted and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._INTERVAL
            self._shown = True
            _write(sys.stderr, '\r%d domains judged' % count)

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            _write(sys.stderr, '\r\033[K')


def _wants_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get('NO_COLOR') and os.environ.get('TERM') != 'dumb'


def _rules(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    policy = _load_policy(arguments.policy, layout)
    width = max(len(rule.id) for rule in policy.rules)
    for rule in policy.rules:
        _print('%-*s  %-4s  %s\n' % (width, rule.id, rule.action, rule.title))
    return ADMITTED


def _explain(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    rules = {rule.id: rule for rule in _load_policy(arguments.policy, layout).rules}
    unknown = [id for id in arguments.rules if id not in rules]
    for id in unknown:
        _complain('%s: there is no rule %r (%s)' % (report.PROGRAM, id, suggest(id, rules)))
    _print('\n'.join(explain(rules[id]) for id in arguments.rules if id in rules))
    return NOT_JUDGED if unknown else ADMITTED


def _policy_check(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    try:
        policy = _load_policy(arguments.policy, layout)
    except PolicyError as error:
        _print(''.join(report.escape(str(problem)) + '\n' for problem in error.problems))
        return NOT_JUDGED
    lines = [
        '%s: no problems: policy %r, %d rules, mode %s, failure %s'
        % (policy.source, policy.name, len(policy.rules), policy.mode, policy.failure)
    ]
    if arguments.policy is None:
        warning = load_compiled(layout.policy)[1]
        lines += ['note: ' + warning] if warning else []
    if policy.mode == 'audit' and policy.failure == 'deny':
        lines.append('note: mode audit admits what rules deny, but failure deny still refuses what cannot be judged')
    _print(''.join(report.escape(line) + '\n' for line in lines))
    return ADMITTED


def _policy_compile(arguments: argparse.Namespace, layout: layout.Layout) -> int:
    from .compiler import compile_policy, let_clock_advance, write_compiled

    path = compiled_path(layout.policy)
    try:
        let_clock_advance(layout.policy)
        stamp = take_stamp(layout.policy, directories(layout.policy))
        written = write_compiled(path, compile_policy(_load_policy(None, layout), stamp))
    except OSError as error:
        raise GuardError('cannot write %s: %s' % (path, error.strerror), 'run it as root') from None
    state = 'compiled from' if written else 'up to date with'
    _print('%s: %s %s\n' % (report.escape(path), state, report.escape(layout.policy)))
    return ADMITTED
