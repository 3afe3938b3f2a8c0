# SPDX-License-Identifier: Apache-2.0
"""QEMU command line tokens -> options with named settings. Pure: no I/O, no XML.

`<qemu:commandline>` passes raw tokens to QEMU, and QEMU reads one setting in many spellings: `-device X,id=a`,
`--device driver=X`, `-device {"driver": "X"}`, `-drive file=json:{...}`. A policy that compared the text would miss
most of them, so the tokens are read as QEMU reads them (util/qemu-option.c, util/keyval.c, qobject/json-lexer.c).
"""

import re

from .errors import DomainXMLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Sequence, Tuple

    Settings = List[Tuple[str, str]]

# The setting that a leading word without '=' stands for.
_IMPLIED_KEY = {
    'accel': 'accel',
    'blockdev': 'driver',
    'chardev': 'backend',
    'device': 'driver',
    'fsdev': 'fsdriver',
    'machine': 'type',
    'net': 'type',
    'netdev': 'type',
    'nic': 'type',
    'object': 'qom-type',
    'tpmdev': 'type',
}
_ALIASES = {'M': 'machine'}
_GLOBAL_SHORT_FORM = re.compile(r'([^.=]+)\.([^=]+)=(.*)', re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', re.DOTALL)


class Option:
    """One option: `name` without dashes, its settings in order (a key may repeat), the token it is reported at."""

    __slots__ = ('name', 'settings', 'token')

    def __init__(self, name: str, settings: 'Settings', token: int) -> None:
        self.name = name
        self.settings = settings
        self.token = token


def parse_tokens(tokens: 'Sequence[str]') -> 'List[Option]':
    """Read command line tokens; `token` of each option is the index of the one that holds its value.

    Whether an option takes a value is QEMU's knowledge; here every token that follows one and does not look like an
    option is read as its value, and a stray token as QEMU's disk image. Too much is read rather than too little.
    """
    options = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if not token.startswith('-') or token == '-':
            options.append(Option('drive', list(_expand('file', token)), index))
            index += 1
            continue
        name = token[2:] if token.startswith('--') else token[1:]
        name = _ALIASES.get(name, name)
        if index + 1 < len(tokens) and not _looks_like_option(tokens[index + 1]):
            index += 1
            options.append(Option(name, _parse_value(name, tokens[index]), index))
        else:
            options.append(Option(name, [], index))
        index += 1
    return options


def _looks_like_option(token: str) -> bool:
    return token.startswith('-') and token != '-'


def _parse_value(name: str, value: str) -> 'Settings':
    if value.startswith('{'):
        return list(_expand_json('', value))
    if name == 'global':
        short = _GLOBAL_SHORT_FORM.match(value)
        if short:
            return [('driver', short.group(1)), ('property', short.group(2)), ('value', short.group(3))]
    return list(_parse_pairs(name, value))


def _parse_pairs(name: str, value: str) -> 'Iterator[Tuple[str, str]]':
    # A doubled comma stands for a comma inside a value; XML has no NUL, so it can hold the place.
    for number, part in enumerate(value.replace(',,', '\0').split(',')):
        key, equals, setting = part.replace('\0', ',').partition('=')
        if equals:
            yield from _expand(key, setting)
        elif number == 0:
            yield from _expand(_IMPLIED_KEY.get(name, 'value'), key)
        elif key:
            yield key, 'on'
            if key.startswith('no'):
                yield key[2:], 'off'


def _expand(key: str, value: str) -> 'Iterator[Tuple[str, str]]':
    """The setting itself and, where it is a `json:` pseudo file name, what that says."""
    yield key, value
    if value.startswith('json:'):
        yield from _expand_json(key + '.', value[len('json:') :])


def _expand_json(prefix: str, text: str) -> 'Iterator[Tuple[str, str]]':
    import json  # never needed for a domain without such an argument

    try:
        document = json.loads(_QUOTED.sub(_double_quoted, text), strict=False)
    except ValueError:
        return  # QEMU does not start with an argument that it cannot read
    except RecursionError:
        raise DomainXMLError('a JSON argument of <qemu:commandline> is nested too deep') from None
    yield from _flatten(prefix, document)


def _double_quoted(match: 're.Match[str]') -> str:
    """QEMU's JSON also takes strings in single quotes."""
    text = match.group()
    if text.startswith('"'):
        return text
    return '"%s"' % text[1:-1].replace("\\'", "'").replace('"', '\\"')


def _flatten(prefix: str, value: object) -> 'Iterator[Tuple[str, str]]':
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _flatten('%s%s.' % (prefix, key), member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _flatten('%s%d.' % (prefix, index), member)
    elif isinstance(value, bool):
        yield prefix[:-1], 'true' if value else 'false'
    else:
        yield prefix[:-1], str(value)


def by_key(settings: 'Settings') -> 'List[Dict[str, str]]':
    """Settings as dictionaries, more than one where a key repeats, so that no value hides behind another."""
    groups: 'List[Dict[str, str]]' = [{}]
    seen: 'Dict[str, int]' = {}
    for key, value in settings:
        number = seen[key] = seen.get(key, -1) + 1
        if number == len(groups):
            groups.append({})
        groups[number][key] = value
    return groups
