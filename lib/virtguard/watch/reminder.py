# SPDX-License-Identifier: Apache-2.0
"""What is told of an end that comes: in one line, and in the fields of a record. Pure: no I/O."""

from .. import journal
from ..waivers import describe, next_day
from ..wording import counted, escape, first_few

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List

    from .. import model
    from .expiry import Expiry
    from .refusals import Refusals

_MOST_NAMES = 8  # in the line
# So that a record fits into a datagram, see journal.
_MOST = 32  # values of a field
_MOST_CHARACTERS = 512
_WHEN = {0: 'today', 1: 'tomorrow'}


class Reminder:
    """An end, and which domains would be refused after it; `unknown` says why that could not be found out ('': it was).

    :param refusals: see refusals_after
    """

    def __init__(
        self, expiry: 'Expiry', refusals: 'Refusals', policy: 'model.Policy', today: str, unknown: str = ''
    ) -> None:
        self.expiry = expiry
        self._refused, self._unjudged = refusals
        self._policy = policy
        self._today = today
        self._unknown = unknown

    def __str__(self) -> str:
        number, left = len(self.expiry.waivers), self.expiry.left
        ending = ['mode audit'] if self.expiry.ends_audit else []
        ending += [counted(number, 'waiver')] if number else []
        return '%s end%s %s, on %s; %s' % (
            ' and '.join(ending),
            's' if number + self.expiry.ends_audit == 1 else '',
            _WHEN.get(left, 'in %d days' % left),
            self.expiry.day,
            '; '.join(self._effect()),
        )

    def _effect(self) -> 'Iterator[str]':
        if self._unknown:
            yield 'which domains would be refused after that day is not known: %s' % escape(self._unknown)
            return
        would = self._would() + ' after that day'
        if not self._refused:
            yield 'no domain on this host %s' % would
        else:
            names = ["'%s' (%s)" % (escape(name), ', '.join(rules)) for name, _, rules in self._refused]
            named = ', '.join(first_few(names, _MOST_NAMES))
            yield '%s on this host %s: %s' % (counted(len(self._refused), 'domain'), would, named)
        if self._unjudged:
            yield '%s could not be judged' % counted(len(self._unjudged), 'domain')

    def _would(self) -> str:
        after = self._policy.on(next_day(self.expiry.day))
        return 'would be refused' + (' in mode enforce' if after.mode == 'audit' else '')

    def fields(self) -> 'journal.Fields':
        """The record."""
        waivers = [
            '%s %s' % (rule, describe(waiver, self._today)) for waiver in self.expiry.waivers for rule in waiver.rules
        ]
        rules = dict.fromkeys(rule for _, _, rules in self._refused for rule in rules)
        would = self._would()
        warnings = ["domain '%s' %s: %s" % (name, would, ', '.join(rules)) for name, _, rules in self._refused]
        warnings += ["domain '%s' could not be judged: %s" % pair for pair in self._unjudged]
        return [
            *journal.expiry_fields(str(self), bool(warnings or self._unknown)),
            ('VIRT_GUARD_OPERATION', 'watch'),
            ('VIRT_GUARD_EXPIRES', self.expiry.day),
            *_repeated('VIRT_GUARD_WAIVER', waivers),
            *(('VIRT_GUARD_RULE', rule) for rule in list(rules)[:_MOST]),
            *_repeated('VIRT_GUARD_WARNING', warnings),
            *(('VIRT_GUARD_DOMAIN', name) for name, _, _ in self._refused[:_MOST]),
            *(('VIRT_GUARD_UUID', uuid) for _, uuid, _ in self._refused[:_MOST]),
            ('VIRT_GUARD_EVENT', self.expiry.event()),
            *self._policy.fields(),
        ]


def _repeated(name: str, values: 'List[str]') -> 'journal.Fields':
    return [(name, value[:_MOST_CHARACTERS]) for value in first_few(values, _MOST)]
