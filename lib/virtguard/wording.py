# SPDX-License-Identifier: Apache-2.0
"""Verdict -> text. Pure: no I/O. Whatever comes from a domain is escaped: names may hold anything."""

from .verdict import DENY, ERROR, UNKNOWN, WAIVED, WARN, Policy, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .model import Finding, Occurrence, Phrase

    Texts = Dict[str, str]  # English -> another language, see policy/languages; empty for English

PROGRAM = 'virt-guard'
# What no shell reads as anything but itself.
_PLAIN = frozenset('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-')
_HEX = frozenset('0123456789abcdefABCDEF')
# libvirt passes the hook's stderr on verbatim, as part of one error message.
REFUSAL_BYTES = 4000  # and the hook may add a line, within 4 KiB


def escape(text: str) -> str:
    """`text` on one line: control characters, quotes of the terminal and lone surrogates become escapes."""
    if text.isprintable():  # as nearly all are
        return text
    return ''.join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode('unicode_escape', 'surrogatepass').decode('ascii')


def ascii_only(text: str) -> str:
    """`text` with everything beyond ASCII escaped, for readers whose encoding is unknown."""
    return text.encode('ascii', 'backslashreplace').decode('ascii')


def counted(number: int, noun: str) -> 'Phrase':
    """'1 domain', '2 domains'."""
    from .model import Phrase  # which most starts do without

    return Phrase('%d ' + noun + ('' if number == 1 else 's'), number)


def headline(verdict: Verdict, mode: str) -> str:
    """The verdict in one line."""
    domain = "domain '%s'" % escape(verdict.domain_name)
    policy = "policy '%s'" % escape(verdict.policy.name)
    denied = verdict.rule_ids(DENY)
    if denied and mode != 'enforce':
        would = 'would be denied (%s)' % _audit_mode(verdict.policy)
        return '%s %s by %s: %s' % (domain, would, policy, ', '.join(denied))
    if denied or verdict.rule_ids(ERROR):
        return _refused(verdict, {})
    notes = [('with warnings', verdict.rule_ids(WARN, UNKNOWN)), ('waived', verdict.rule_ids(WAIVED))]
    noted = ''.join(', %s: %s' % (note, ', '.join(ids)) for note, ids in notes if ids)
    return '%s admitted by %s%s' % (domain, policy, noted)


def _refused(verdict: Verdict, texts: 'Texts') -> str:
    denied = verdict.rule_ids(DENY)
    phrase = "domain '%s' denied by policy '%s': %s" if denied else "domain '%s' could not be judged by policy '%s': %s"
    names = (escape(verdict.domain_name), escape(verdict.policy.name), ', '.join(denied or verdict.rule_ids(ERROR)))
    return fill(texts, phrase, *names)


def fill(texts: 'Texts', phrase: str, *values: object) -> str:
    """A phrase in the language of `texts`, as far as they have it, with what is filled in."""
    return texts.get(phrase, phrase) % values


def translated(texts: 'Texts', text: str) -> str:
    """A text in the language of `texts`, as far as they have it; a model.Phrase knows its parts."""
    if not texts:
        return text
    if text.__class__ is str:
        return texts.get(' '.join(text.split()), text)
    told: str = text.told(texts)  # type: ignore[attr-defined]
    return told


def _audit_mode(policy: Policy) -> str:
    return 'mode audit until %s' % policy.audit_until if policy.audit_until else 'mode audit'


def refusal(verdict: Verdict) -> str:
    """The text for the user whose domain does not start: at most REFUSAL_BYTES of UTF-8, its first line sufficient.

    Where white space is folded, as in a web page, numbers and punctuation keep the findings apart.
    It is in the policy's language, as far as `texts` of the policy have it.
    """
    texts = verdict.policy.texts
    lines = ['%s: %s' % (PROGRAM, _refused(verdict, texts))]
    shown = [f for f in verdict.findings if f.status in (DENY, ERROR)]
    lines += [describe(number, finding, texts) for number, finding in enumerate(shown, 1)]
    explain = '%s explain %s' % (PROGRAM, ' '.join(verdict.rule_ids(DENY, ERROR)))
    more = fill(texts, 'more: %s', explain)
    if verdict.decision == DENY and all(finding.rule.waivable for finding in shown):
        waive = '%s waiver add %s %s' % (PROGRAM, word_for(verdict), ' '.join(verdict.rule_ids(DENY)))
        more = fill(texts, 'more: %s; to permit it for a while: %s', explain, waive)
    return cap(lines, '  ' + more, texts)


def word_for(verdict: Verdict) -> str:
    """What stands for the domain in a command that somebody may copy: whoever defines a domain chooses its name."""
    return plain_word(verdict.domain_name, verdict.uuid)


def plain_word(name: str, uuid: str) -> str:
    """As word_for."""
    digits = name.replace('-', '')
    # A name that is the UUID of another domain would stand for that one.
    if name and name[0] != '-' and _PLAIN.issuperset(name) and not (len(digits) == 32 and _HEX.issuperset(digits)):
        return name
    return uuid if uuid and _PLAIN.issuperset(uuid) else 'DOMAIN'


def quoted(word: str) -> str:
    """A word as it is typed in a shell."""
    import shlex  # a start does not need it

    return shlex.quote(word)


def describe(number: int, finding: 'Finding', texts: 'Texts') -> str:
    """One finding as one line."""
    text = '  (%d) [%s] %s' % (number, finding.rule.id, escape(translated(texts, finding.message)))
    if finding.evidence and finding.status != UNKNOWN:
        text += ': ' + escape(finding.evidence)
    if finding.line:
        text += ' ' + fill(texts, '(line %d of virsh dumpxml)', finding.line)
    if finding.more:
        text = fill(texts, '%s, and %d more', text, finding.more)
    if finding.status == ERROR:
        return text + '.'
    return fill(texts, '%s; remedy: %s.', text, escape(translated(texts, finding.remedy)).rstrip('.。'))


def others(finding: 'Finding') -> str:
    """What to say of the further places that a finding stands for."""
    return 'and %d more' % finding.more


def first_few(texts: 'List[str]', most: int) -> 'List[str]':
    """The first of some texts and, where there are more than `most`, how many are left."""
    left = len(texts) - most
    return [*texts[:most], 'and %d more' % left] if left > 0 else texts


def happening(occurrence: 'Occurrence', verdict: Verdict) -> str:
    """What happened to a running domain, or ('') to the host, in one line; `verdict` judges only this."""
    finding = occurrence.finding
    who = "domain '%s'" % escape(verdict.domain_name) if verdict.domain_name else 'this host'
    text = '%s: %s: %s [%s]' % (who, finding.status, escape(finding.message), finding.rule.id)
    if finding.more:
        text += ' (%s)' % others(finding)
    if finding.status in (UNKNOWN, ERROR) or not (occurrence.before or occurrence.after):
        return text
    if not occurrence.before or occurrence.before == occurrence.after:
        return '%s: %s' % (text, escape(occurrence.after))
    return '%s: %s, was %s' % (text, escape(occurrence.after) or 'gone', escape(occurrence.before))


def failure(domain: str, reason: str, hint: str = '', texts: 'Optional[Texts]' = None) -> str:
    """The text where no verdict could be reached, in English if there are no `texts`."""
    texts = texts or {}
    why = escape(translated(texts, reason))
    lines = ['%s: %s' % (PROGRAM, fill(texts, "domain '%s' could not be judged: %s", escape(domain), why))]
    if hint:
        lines.append('  ' + fill(texts, 'next: %s', escape(translated(texts, hint))))
    return cap(lines, '')


def cap(lines: 'List[str]', last: str, texts: 'Optional[Texts]' = None) -> str:
    """`lines` and the `last` one, within REFUSAL_BYTES of UTF-8; what is left out is counted."""
    text = '\n'.join(lines + [last]) if last else '\n'.join(lines)
    if len(text.encode()) < REFUSAL_BYTES:
        return text + '\n'
    texts = texts or {}
    note = '  ' + fill(texts, '(shortened: %d lines in all)', len(lines))
    last = last if len(last.encode()) < 600 else '  ' + fill(texts, 'more: %s', PROGRAM + ' check')
    room = REFUSAL_BYTES - len(note.encode()) - len(last.encode()) - 3
    kept = '\n'.join(lines).encode()[:room].decode('utf-8', 'ignore')
    # A line is shown whole or not at all, but for the first, which must say something.
    kept = kept if '\n' not in kept else kept[: kept.rindex('\n')]
    return '\n'.join(part for part in (kept, note, last) if part) + '\n'
