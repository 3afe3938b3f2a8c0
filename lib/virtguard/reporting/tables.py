# SPDX-License-Identifier: Apache-2.0
"""The tables of a report: rows of plain text, the latest first, as many as a person reads. Pure: no I/O."""

from ..model import Phrase
from ..wording import counted, escape
from .moments import in_local_time, shown
from .record import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, List, Sequence, Tuple

    from ..health.coverage import Start
    from ..wording import Texts
    from .groups import Group, Groups
    from .host_account import HostAccount, Kept
    from .present import Present
    from .record import Record

    Row = Tuple[str, ...]

MOST_SHOWN = 100  # rows of one table
_MAX_CELL = 300  # characters
_MOST_FINDINGS = 3
_DIGITS = 12  # of a digest; more than enough to find it among the records


def in_language(texts: 'Texts', text: str) -> str:
    """A text in another language if it is ours; what a record says stays, even if it looks like one of ours."""
    return text.told(texts) if isinstance(text, Phrase) else text


class Table:
    """`head` are the names of the columns, of which the first says whom or what a row is about, in one line or two;
    `more` says what has no row."""

    def __init__(self, title: str, head: 'Row', rows: 'Sequence[Row]', more: str = '') -> None:
        self.title = title
        self.head = head
        self.rows = [tuple(cut(cell, _MAX_CELL) for cell in row) for row in rows]
        self.more = more


def tables_of(host: 'HostAccount') -> 'List[Table]':
    """What there is to tell of a host, in the order of its weight."""
    found = ('domain', 'rules', 'times', 'when', 'found', 'XML')
    tables = [
        _of_groups('Starts that were refused', found, host.refused, _verdict_row),
        _of_groups('Starts that mode enforce would refuse', found, host.would_refuse, _verdict_row),
        _of_groups(
            'Starts that could not be judged',
            ('domain', 'times', 'when', 'why'),
            host.unjudged,
            _why_row,
        ),
        _of_groups(
            'Findings about running domains',
            ('domain', 'rules', 'times', 'when', 'what'),
            host.happened,
            _happened_row,
        ),
        _of_groups('Waivers used', ('domain', 'waiver', 'times', 'when'), host.waivers, _waiver_row),
        _of_groups('Not observed', ('domain', 'since', 'until', 'why'), host.unobserved, _unobserved_row),
        _of_groups('Said by the watch', ('what', 'times', 'when'), host.warnings, _warning_row),
        _of_records('Changes of the guard', ('when', 'what', 'version', 'by'), host.guard_changes, _guard_row),
        _of_records(
            'Changes of the policy',
            ('when', 'what', 'by', 'file', 'SHA-256 before', 'SHA-256 after'),
            host.policy_changes,
            _policy_row,
        ),
        _of_policies(host),
        _of_records('Starts and ends of the watch', ('when', 'what'), host.watches, _message_row),
        _of_records('Records without fields, by way of syslog', ('when', 'what'), host.fieldless, _message_row),
    ]
    return [table for table in tables if table.rows]


def tables_of_present(present: 'Present') -> 'List[Table]':
    rows = [
        (_who(domain.domain, domain.uuid), ', '.join(domain.rules), ', '.join(domain.waived), _several(domain.findings))
        for domain in present.outside
    ]
    files = [(escape(path),) for path in present.files]
    starts = [(_who(start.name, start.uuid), shown(start.time), _running(start)) for start in present.unjudged[::-1]]
    head = ('domain', 'outside by', 'waived', 'found')
    tables = [
        Table('Starts without a verdict', ('domain', 'when', 'now'), starts[:MOST_SHOWN], _more(len(starts))),
        Table('Domains outside of the policy now', head, rows[:MOST_SHOWN], _more(len(rows))),
        Table('Files of the policy now', ('file',), files[:MOST_SHOWN], _more(len(files))),
    ]
    return [table for table in tables if table.rows]


def _running(start: 'Start') -> str:
    return Phrase('still running') if start.is_running else ''


def _of_groups(title: str, head: 'Row', groups: 'Groups', row: 'Callable[[Group], Row]') -> Table:
    ordered = groups.latest_first()
    return Table(title, head, [row(group) for group in ordered[:MOST_SHOWN]], _more(len(ordered)))


def _of_records(title: str, head: 'Row', kept: 'Kept', row: 'Callable[[Record], Row]') -> Table:
    records = kept.records[::-1]
    return Table(title, head, [row(record) for record in records[:MOST_SHOWN]], _more(len(records)))


def _of_policies(host: 'HostAccount') -> Table:
    uses = sorted(host.policies.values(), key=lambda use: use.last, reverse=True)
    rows = [
        (escape(use.name), ', '.join(use.modes), str(use.count), _span(use.first, use.last), use.sha256) for use in uses
    ]
    head = ('policy', 'mode', 'records', 'when', 'SHA-256')
    return Table('Policies that records name', head, rows[:MOST_SHOWN], _more(len(rows)))


def _more(number: int) -> str:
    if number <= MOST_SHOWN:
        return ''
    return Phrase('The latest %d of %d rows; --format jsonl has them all.', MOST_SHOWN, number)


def _verdict_row(group: 'Group') -> 'Row':
    record = group.record
    found = _several([finding for finding in record.findings if not finding.startswith('warn ')])
    rules = ', '.join(record.denied or record.rules)
    return (*_head(group)[:1], rules, *_head(group)[1:], found or record.message, _digest(record.xml_sha256))


def _why_row(group: 'Group') -> 'Row':
    return (*_head(group), group.record.message)


def _happened_row(group: 'Group') -> 'Row':
    who, *times = _head(group)
    return (who, ', '.join(group.record.rules), *times, group.record.message)


def _waiver_row(group: 'Group') -> 'Row':
    who, *times = _head(group)
    return (who, group.waiver, *times)


def _unobserved_row(group: 'Group') -> 'Row':
    record = group.record
    since, until, why = map(in_local_time, (record.since, record.until, record.message))
    return _who(record.domain, record.uuid), since, until or Phrase('not over'), why


def _warning_row(group: 'Group') -> 'Row':
    return (escape(group.record.message), *_head(group)[1:])


def _guard_row(record: 'Record') -> 'Row':
    return shown(record.moment), record.change or record.message, record.version, record.user


def _policy_row(record: 'Record') -> 'Row':
    digests = (_digest(record.before) or Phrase('no file'), _digest(record.after) or Phrase('no file'))
    return (shown(record.moment), record.message, record.user or Phrase('not known'), record.file, *digests)


def _message_row(record: 'Record') -> 'Row':
    return shown(record.moment), record.message


def _head(group: 'Group') -> 'Row':
    """Who, how often, and when."""
    return _who(group.record.domain, group.record.uuid), str(group.count), _span(group.first, group.last)


def _span(first: float, last: float) -> str:
    return shown(first) if first == last else Phrase('%s to %s', shown(first), shown(last))


def _who(domain: str, uuid: str) -> str:
    """The name and, in a second line, the UUID."""
    name = escape(domain) or Phrase('this host')
    return '%s\n%s' % (name, escape(uuid)) if uuid else name


def _several(texts: 'Iterable[str]') -> str:
    every = list(texts)
    more = len(every) - _MOST_FINDINGS
    return '; '.join(every[:_MOST_FINDINGS] + (['%s more' % counted(more, 'finding')] if more > 0 else []))


def _digest(digits: str) -> str:
    return digits[:_DIGITS]
