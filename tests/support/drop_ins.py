# SPDX-License-Identifier: Apache-2.0
"""Drop-ins made at random from the language of policies: healthy ones, and ones with one mistake whose line is known.

They are about the policy BASE, so that its rules can be changed and waived.
"""

import datetime
import random
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

BASE = """\
policy: base
rules:
  - {id: one, title: t, action: deny, match: /domain/one, why: w, remedy: r}
  - {id: two, title: t, action: deny, match: /domain/two, why: w, remedy: r}
  - {id: fixed, title: t, action: deny, match: /domain/three, why: w, remedy: r, waivable: false}
"""
UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
_SETTINGS = {
    'policy': ['site', '"our policy"'],
    'mode': ['enforce', 'audit'],
    'failure': ['deny', 'admit'],
    'deadline': ['3', '0.5', '60'],
    'audit': ['{required: true}', '{required: no}'],
}
_CHANGES = {
    'title': ['another title'],
    'action': ['deny', 'warn'],
    'match': ['/domain/devices/disk[@device = "lun"]', '//qemu:arg', '"/domain[os/type = \'hvm\']"'],
    'why': ['because', '"it\'s why"'],
    'remedy': ['do without'],
    'reference': ['https://example.com/'],
    'reason': ['we decided so'],
    'supported': ['[RHEL 9]'],
    'host': ['{os: rhel-8}', '{os: {from: rhel-9.0, before: rhel-9.4}}', '{arch: [x86_64, aarch64]}'],
}
_WAIVED = {
    'rules': ['[one]', '[one, two]', '["two"]'],
    'domains': ['[%s]' % UUID, '["build-*"]', '[{uuid: %s, name: build-7}]' % UUID, '["web[0-9]"]'],
    'reason': ['the build farm moves in spring'],
    'approved-by': ['platform team'],
    'ticket': ['OPS-1234'],
}


class Line(NamedTuple):
    """A line of a drop-in: what it is part of, its indentation, its key, its value."""

    where: str
    indent: str
    key: str
    value: str

    def __str__(self) -> str:
        return '%s%s:%s%s' % (self.indent, self.key, ' ' if self.value else '', self.value)


class Broken(NamedTuple):
    """A drop-in with a mistake: which one, its text, and the line in which it is told, 0 where that depends."""

    mistake: str
    text: bytes
    line: int


def healthy(seed: int) -> bytes:
    """A drop-in without a problem."""
    return _text(_lines(random.Random(seed)))


def broken(seed: int) -> Broken:
    """A drop-in with one mistake; each kind comes with len(MISTAKES) seeds in a row."""
    names = sorted(MISTAKES)
    name = names[seed % len(names)]
    for attempt in range(1000):
        random_ = random.Random('%d %d' % (seed, attempt))
        made = MISTAKES[name](_lines(random_), random_)
        if made is not None:
            text, line = made
            return Broken(name, text, line)
    raise AssertionError('no drop-in has a place for the mistake %r' % name)


def _lines(random_: random.Random) -> 'List[Line]':
    found = [Line('setting', '', key, random_.choice(_SETTINGS[key])) for key in _some(random_, list(_SETTINGS), 1)]
    rules = _some(random_, ['one', 'two', 'fixed', 'new-rule'], 1)
    found.append(Line('list', '', 'rules', ''))
    for id in rules:
        found.append(Line('id', '  - ', 'id', id))
        keys = ['title', 'action', 'match', 'why', 'remedy'] if id == 'new-rule' else _some(random_, list(_CHANGES), 1)
        found += [Line(id, '    ', key, random_.choice(_CHANGES[key])) for key in keys]
    found.append(Line('list', '', 'waivers', ''))
    for _ in range(random_.randint(1, 3)):
        keys = [key for key in _WAIVED if key != 'ticket' or random_.random() < 0.5]
        values = [Line('waiver', '    ', key, random_.choice(_WAIVED[key])) for key in keys]
        values.insert(random_.randrange(len(values)), Line('waiver', '    ', 'expires', _day(random_.randint(0, 400))))
        found += [values[0]._replace(indent='  - '), *values[1:]]
    return found


def _some(random_: random.Random, words: 'List[str]', least: int) -> 'List[str]':
    return random_.sample(words, random_.randint(least, len(words)))


def _day(ahead: int) -> str:
    return str(datetime.date.today() + datetime.timedelta(ahead))


def _text(lines: 'List[Line]') -> bytes:
    return ''.join(str(line) + '\n' for line in lines).encode()


# Mistakes: each takes the lines of a healthy drop-in, and returns the text of a broken one and the line of its mistake;
# None where it has no place there.

Made = Optional[Tuple[bytes, int]]
Mistake = Callable[[List[Line], random.Random], Made]


def _value(key: str, *values: str, where: 'Tuple[str, ...]' = ()) -> Mistake:
    """Another value for a key."""

    def make(lines: 'List[Line]', random_: random.Random) -> Made:
        places = [i for i, line in enumerate(lines) if line.key == key and (not where or line.where in where)]
        if not places:
            return None
        place = random_.choice(places)
        lines[place] = lines[place]._replace(value=random_.choice(values))
        return _text(lines), place + 1

    return make


def _misspelt_key(lines: 'List[Line]', random_: random.Random) -> Made:
    place = random_.randrange(len(lines))
    key = lines[place].key
    at = random_.randrange(len(key))
    lines[place] = lines[place]._replace(key=key[:at] + key[at] + key[at:])
    return _text(lines), place + 1


def _repeated_key(lines: 'List[Line]', random_: random.Random) -> Made:
    places = [i for i, line in enumerate(lines) if line.where not in ('list', 'id') and line.indent != '  - ']
    place = random_.choice(places)
    lines.insert(place, lines[place])
    return _text(lines), place + 2


def _missing_key(lines: 'List[Line]', random_: random.Random) -> Made:
    places = [i for i, line in enumerate(lines) if line.where == 'waiver' and line.indent == '    ']
    places = [place for place in places if lines[place].key != 'ticket']
    place = random_.choice(places)
    first = max(i for i in range(place) if lines[i].indent == '  - ')
    del lines[place]
    return _text(lines), first + 1


def _new_rule_without(lines: 'List[Line]', random_: random.Random) -> Made:
    places = [i for i, line in enumerate(lines) if line.where == 'new-rule']
    if not places:
        return None
    del lines[random_.choice(places)]
    return _text(lines), places[0]


def _nothing_changed(lines: 'List[Line]', random_: random.Random) -> Made:
    place = lines.index(Line('list', '', 'waivers', ''))
    if any(line.where == 'two' for line in lines):
        return None
    lines.insert(place, Line('id', '  - ', 'id', 'two'))
    return _text(lines), place + 1


def _defined_twice(lines: 'List[Line]', random_: random.Random) -> Made:
    place = lines.index(Line('list', '', 'waivers', ''))
    ids = [line.value for line in lines if line.where == 'id']
    lines[place:place] = [Line('id', '  - ', 'id', random_.choice(ids)), Line('x', '    ', 'why', 'w')]
    return _text(lines), place + 1


def _off_without_a_reason(lines: 'List[Line]', random_: random.Random) -> Made:
    reasoned = {line.where for line in lines if line.key == 'reason'} | {'new-rule'}
    places = [i for i, line in enumerate(lines) if line.key == 'action' and line.where not in reasoned]
    if not places:
        return None
    place = random_.choice(places)
    lines[place] = lines[place]._replace(value='"off"')
    return _text(lines), place + 1


def _written(character: bytes) -> Mistake:
    """Characters that must not be there, at the beginning of a line. Where YAML sees that depends on what follows."""

    def make(lines: 'List[Line]', random_: random.Random) -> Made:
        place = random_.randrange(len(lines))
        texts = [str(line).encode() + b'\n' for line in lines]
        texts[place] = character + texts[place]
        return b''.join(texts), 0

    return make


def _extends(lines: 'List[Line]', random_: random.Random) -> Made:
    lines[0] = Line('setting', '', 'extends', random_.choice(['rhel-88', '[]', '[rhel-8, rhel-8]', '{}', './no.yaml']))
    return _text(lines), 1


def _not_a_list(lines: 'List[Line]', random_: random.Random) -> Made:
    key = random_.choice(['rules', 'waivers'])
    begin = lines.index(Line('list', '', key, ''))
    ends = [i for i in range(begin + 1, len(lines)) if not lines[i].indent] + [len(lines)]
    del lines[begin + 1 : ends[0]]
    lines[begin] = lines[begin]._replace(value=random_.choice(['{}', 'none', '7', '[[]]', '[a]', '[null]']))
    return _text(lines), begin + 1


def _cut_off(lines: 'List[Line]', random_: random.Random) -> Made:
    """As by a copy that was not finished, or two hands in one file."""
    unfinished = random_.choice(['[', '{', '"', "'", '{a: [', '!x'])
    lines.append(Line('x', '', random_.choice(['rules', 'mode', 'x']), unfinished))
    return _text(lines).rstrip(b'\n'), 0


_OF_RULES = ('one', 'two', 'fixed', 'new-rule')
MISTAKES: 'Dict[str, Mistake]' = {
    'misspelt key': _misspelt_key,
    'repeated key': _repeated_key,
    'waiver without a key': _missing_key,
    'new rule without a key': _new_rule_without,
    'rule that changes nothing': _nothing_changed,
    'rule defined twice': _defined_twice,
    'not a list': _not_a_list,
    'cut off': _cut_off,
    'tab': _written(b'\t'),
    'not UTF-8': _written(b'\xff\xfe'),
    'control character': _written(b'\x01'),
    'conflict of versions': _written(b'<<<<<<< HEAD\n'),
    'brace': _written(b'}'),
    'nested too deep': _value('title', '[' * 60 + ']' * 60),
    'extends': _extends,
    'mode': _value('mode', 'enforced', 'Audit', 'off', '[audit]', ''),
    'failure': _value('failure', 'allow', 'true', '{a: deny}', ''),
    'deadline': _value('deadline', '0', '61', '-1', 'soon', '"3"', '1:30', '[3]'),
    'audit': _value('audit', 'true', '{}', '{required: 1}', '{require: true}', '{required: maybe}'),
    'policy': _value('policy', '7', '""', '[site]', '"a\\nb"'),
    'id': _value('id', 'One', 'two_three', '7', '""', '[one]', 'two--three'),
    'title': _value('title', '""', '7', '[t]', '"a\\tb"', where=_OF_RULES),
    'action': _value('action', 'refuse', 'off', 'Deny', '[deny]', where=_OF_RULES),
    'off without a reason': _off_without_a_reason,
    'match': _value('match', '/domain[', 'domain/devices', '/domain/@x = ', '""', '"count(/domain)"', '/domain/a::b'),
    'host': _value('host', '{}', '{os: 8}', '{cpu: x86_64}', '{os: {from: rhel-8.10, before: rhel-8.4}}', 'rhel-8'),
    'supported': _value('supported', 'RHEL 9', '[]', '[9]'),
    'waiver of an unknown rule': _value('rules', '[on]', '[one, nothing]', '[]', 'one', '[1]', where=('waiver',)),
    'waiver of a rule that must not be waived': _value('rules', '[fixed]', '[one, fixed]', where=('waiver',)),
    'domains': _value(
        'domains', '[]', 'guest', '[7]', '[{uuid: 1, name: a}]', '[{name: a}]', '["[9-0]"]', '[%s0]' % UUID
    ),
    'reason': _value('reason', '""', '7', '[a]', where=('waiver',)),
    'approved-by': _value('approved-by', '""', 'true', '"a\\nb"'),
    'expires': _value('expires', '2027-02-30', 'never', '2027/01/31', _day(500), '""'),
    'ticket': _value('ticket', '1234', '""', '[OPS-1]'),
}
