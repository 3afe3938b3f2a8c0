# SPDX-License-Identifier: Apache-2.0
"""What a report says, in the order in which it says it: sentences and tables of plain text, which formats only lay out.

Pure: no I/O. Nothing is escaped here: that depends on the format.
"""

from .. import __version__
from ..model import Phrase
from ..wording import counted
from .host_account import REMOVED
from .moments import in_local_time, shown, shown_span
from .tables import tables_of, tables_of_present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional, Tuple

    from .account import Account
    from .host_account import HostAccount
    from .moments import Period
    from .present import Present
    from .reading import Reading
    from .tables import Table

BAD, NOTE, GOOD = 'bad', 'note', 'good'
WITHOUT_VERDICT = 'started-without-verdict'  # the rule by which a watch finds such starts
_MOST_TOLD = 20  # sentences of one kind
_UNNAMED = Phrase('unnamed host')


class HostContents:
    """What is said of one host: `statements`, each with BAD, NOTE or GOOD, and `tables` with rows."""

    def __init__(self, name: str, statements: 'List[Tuple[str, str]]', tables: 'List[Table]') -> None:
        self.name = name
        self.statements = statements
        self.tables = tables


class Contents:
    """`facts` say what the report is about, each with its name; `limits` what it cannot tell."""

    def __init__(self, account: 'Account', reading: 'Reading', origin: 'Origin', made: float) -> None:
        self.title = Phrase('virt-guard report')
        self.facts = list(_facts(account, reading, origin, made))
        self.limits = list(_limits(account, reading, origin))
        hosts = [host for host in account.hosts.values() if host.first is not None or host.before is not None]
        present = origin.present
        self.hosts = [HostContents(name_of(host), list(_statements(host)), tables_of(host)) for host in hosts]
        if present is not None:
            of_now = HostContents(
                Phrase('This host now'), list(_statements_of_present(present)), tables_of_present(present)
            )
            self.hosts.append(of_now)


class Origin:
    """Where the records come from: `name` in words, `oldest` the time at which what was read begins (0.0: nothing is in
    it, None: it cannot tell), `unread` says what was not read, and `present` what is known of this host beside them."""

    def __init__(
        self,
        name: str,
        oldest: 'Optional[float]' = None,
        unread: 'Iterable[str]' = (),
        present: 'Optional[Present]' = None,
    ) -> None:
        self.name = name
        self.oldest = oldest
        self.unread = list(unread)
        self.present = present


def name_of(host: 'HostAccount') -> str:
    return ' '.join(part for part in (host.hostname, host.host and 'machine-id ' + host.host) if part) or _UNNAMED


def shown_period(period: 'Period') -> str:
    if period.since is None:
        return Phrase('from the first record until just before %s', shown(period.until))
    return Phrase('from %s until just before %s', shown(period.since), shown(period.until))


def _facts(account: 'Account', reading: 'Reading', origin: 'Origin', made: float) -> 'Iterator[Tuple[str, str]]':
    hosts = [host for host in account.hosts.values() if host.first is not None]
    yield 'Period', shown_period(account.period)
    yield (
        'Records',
        Phrase('%s of %s, from %s', counted(reading.count, 'record'), counted(len(hosts), 'host'), origin.name),
    )
    of_what = '%s (of these records, one JSON object in each line with its keys in order)'
    yield 'SHA-256', Phrase(of_what, reading.sha256)
    yield 'Made', Phrase('%s by virt-guard %s', shown(made), __version__)


def _limits(account: 'Account', reading: 'Reading', origin: 'Origin') -> 'Iterator[str]':
    yield from _of_begin(account, origin)
    if reading.unreadable:
        phrase = '%d entry could not be read' if reading.unreadable == 1 else '%d entries could not be read'
        yield Phrase(phrase, reading.unreadable)
    if reading.strangers:
        text = '%s left out: another user than root has sent what says that it comes from virt-guard'
        yield Phrase(text, _were(reading.strangers))
    if reading.unsigned:
        text = '%s without the field _UID: whether root has sent them is not known'
        yield Phrase(text, _records(reading.unsigned))
    if account.more:
        yield Phrase('%s left out: there are more hosts than a report takes', _were(account.more))
    for host in account.hosts.values():
        for text in _limits_of(host):
            yield Phrase('%s: %s', host.hostname or host.host or _UNNAMED, text)
    yield from origin.unread
    for text in origin.present.unknown[:_MOST_TOLD] if origin.present is not None else ():
        yield text


def _of_begin(account: 'Account', origin: 'Origin') -> 'Iterator[str]':
    since = account.period.since
    if origin.oldest is None:
        yield Phrase('a file of records cannot tell what was left out of it, or was lost before it was written')
    elif not origin.oldest:
        yield Phrase('the journal is empty')
    elif since is None:
        yield Phrase('the journal begins at %s: what was before is not known', shown(origin.oldest))
    elif since < origin.oldest:
        told = (shown(origin.oldest), shown(since))
        yield Phrase('the journal begins at %s: what was from %s until then is not known', *told)


def _limits_of(host: 'HostAccount') -> 'Iterator[str]':
    for record in host.dropped.records[:_MOST_TOLD]:
        text = 'at %s, journald dropped messages, of the guard perhaps, too: %s'
        yield Phrase(text, shown(record.moment), record.message)
    more = len(host.dropped.records[_MOST_TOLD:]) + host.dropped.more
    if more:
        yield Phrase('journald dropped messages %d more times', more)
    for before, after in host.set_back[:_MOST_TOLD]:
        text = 'the clock was set back, or the records are not in order: %s came after %s'
        yield Phrase(text, shown(after), shown(before))
    if len(host.set_back) > _MOST_TOLD:
        yield Phrase('that happened %d more times', len(host.set_back) - _MOST_TOLD)
    if host.repeated:
        yield Phrase('%s stored more than once, and counted once', _were(host.repeated))
    unkept = [groups.more for groups in host.every_kind() if groups.more]
    kinds = (host.guard_changes, host.policy_changes, host.watches, host.fieldless)
    unkept += [kept.more for kept in kinds if kept.more]
    if unkept or host.more_policies:
        text = 'there is more than a report takes: %s counted, but without a row'
        yield Phrase(text, _were(sum(unkept) + host.more_policies))


def _were(number: int) -> Phrase:
    return Phrase('%d record was' if number == 1 else '%d records were', number)


def _records(number: int) -> Phrase:
    return Phrase('%d record is' if number == 1 else '%d records are', number)


def _statements(host: 'HostAccount') -> 'Iterator[Tuple[str, str]]':
    yield from _whether_on(host)
    kinds = (
        (host.refused, '%s refused'),
        (host.would_refuse, '%s admitted that mode enforce would refuse'),
        (host.unjudged, '%s not judged'),
    )
    said = [Phrase('%s admitted', counted(host.starts, 'start'))]
    said += [Phrase(phrase, counted(groups.count, 'start')) for groups, phrase in kinds if groups.count]
    yield (NOTE if len(said) > 1 else GOOD), Phrase('; '.join(['%s'] * len(said)), *said)
    if host.happened.count:
        told = (counted(host.happened.count, 'finding'), counted(host.happened.domains, 'domain'))
        yield NOTE, Phrase('while domains ran: %s of %s', *told)
    for record in host.unwatched.records[:_MOST_TOLD]:
        yield NOTE, in_local_time(record.message)
    more = len(host.unwatched.records[_MOST_TOLD:]) + host.unwatched.more
    if more:
        yield NOTE, Phrase('running domains were not watched %d more times', more)
    if host.unobserved.count:
        yield NOTE, Phrase('not all of %s could be observed', counted(host.unobserved.domains, 'domain'))


def _whether_on(host: 'HostAccount') -> 'Iterator[Tuple[str, str]]':
    removed = host.time_removed()
    for begin, end in removed[:_MOST_TOLD]:
        yield (
            BAD,
            Phrase(
                'the guard was not installed for %s, from %s to %s', shown_span(end - begin), shown(begin), shown(end)
            ),
        )
    if len(removed) > _MOST_TOLD:
        yield BAD, Phrase('nor was it %d more times', len(removed) - _MOST_TOLD)
    unseen = [group for group in host.happened.latest_first() if WITHOUT_VERDICT in group.record.rules]
    if unseen:
        number = sum(group.count for group in unseen)
        names = ', '.join(group.record.domain for group in unseen[:_MOST_TOLD])
        yield BAD, Phrase('%s without a verdict: %s', counted(number, 'start'), names)
    in_audit = [use for use in host.policies.values() if 'audit' in use.modes]
    if in_audit:
        told = (shown(min(use.first for use in in_audit)), shown(max(use.last for use in in_audit)))
        yield NOTE, Phrase('mode audit, which refuses nothing, is named by records from %s to %s', *told)
    if host.first is None or host.last is None:
        yield NOTE, Phrase('nothing is recorded in this period')
    elif not removed and not unseen:
        text = 'no record says that the guard was away; the records go from %s to %s'
        yield GOOD, Phrase(text, shown(host.first), shown(host.last))
    if host.before is not None and host.before.change != REMOVED:
        told = (host.before.version or Phrase('of an unknown version'), shown(host.before.moment))
        yield GOOD, Phrase('virt-guard %s was in place when the period began (since %s)', *told)
    by_others = [record for record in host.policy_changes.records if not record.user]
    if by_others:
        text = 'the policy was changed by other means than a command of virt-guard (%s): by whom is not known'
        yield NOTE, Phrase(text, counted(len(by_others), 'record'))
    for use in host.unexplained_policies()[:_MOST_TOLD]:
        text = 'another policy is in force since %s, and no record tells of that change: %s'
        yield NOTE, Phrase(text, shown(use.first), use.sha256)


def _statements_of_present(present: 'Present') -> 'Iterator[Tuple[str, str]]':
    policy = present.policy
    if policy is None:
        yield BAD, Phrase('the policy cannot be used')
        return
    yield (
        (GOOD if policy.mode == 'enforce' else NOTE),
        Phrase(
            "policy '%s' is in force in mode %s; its digest is %s", policy.name, policy.mode_in_words, policy.sha256
        ),
    )
    if present.unjudged:
        names = sorted({start.name for start in present.unjudged})
        told = (counted(len(present.unjudged), 'start'), ', '.join(names[:_MOST_TOLD]))
        yield BAD, Phrase("libvirt's logs tell of %s in the period without a verdict: %s", *told)
    if present.judged:
        text = "libvirt's logs tell of %s in the period with a verdict"
        yield (NOTE if present.unjudged else GOOD), Phrase(text, counted(present.judged, 'start'))
    outside = sum(bool(domain.rules) for domain in present.outside)
    waived = len(present.outside) - outside
    text = '%s running, %d outside of the policy, %d by a waiver'
    tone = BAD if outside else NOTE if waived else GOOD
    yield tone, Phrase(text, counted(present.running, 'domain'), outside, waived)
