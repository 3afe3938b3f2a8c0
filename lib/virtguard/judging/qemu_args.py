# SPDX-License-Identifier: Apache-2.0
"""QEMU command line tokens -> options with named settings. Pure: no I/O, no XML.

`<qemu:commandline>` passes raw tokens to QEMU, and QEMU reads one setting in many spellings: `-device X,id=a`,
`--device driver=X`, `-device {"driver": "X"}`, `-drive file=json:{...}`. A policy that compared the text would miss
most of them, so the tokens are read as QEMU reads them (util/qemu-option.c, util/keyval.c, qobject/json-lexer.c).
"""

import re

from ..errors import DomainXMLError

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
    'display': 'type',
    'fsdev': 'fsdriver',
    'fw_cfg': 'name',
    'machine': 'type',
    'net': 'type',
    'netdev': 'type',
    'nic': 'type',
    'object': 'qom-type',
    'tpmdev': 'type',
}
# Their value is a character device in QEMU's old way of writing one, mon:unix:/a=b,server, where = is just a character.
_OLD_CHARACTER_DEVICES = frozenset(('debugcon', 'gdb', 'monitor', 'parallel', 'serial', 'virtioconsole'))
_LISTS = frozenset(('guestfwd', 'hostfwd'))
_ALIASES = {'M': 'machine'}
_GLOBAL_SHORT_FORM = re.compile(r'([^.=]+)\.([^=]+)=(.*)', re.DOTALL)
_SET_FORM = re.compile(r'([^.=]+)\.([^.=]+)\.([^=]+)=(.*)', re.DOTALL)
_HAS_SETTING = re.compile(r'(?:^|,)[\w.-]+=')
# A string without a closing quote ends with the text, so that matching never has to go back.
_STRING = re.compile(r""""(?:[^"\\]+|\\.?)*"?|'(?:[^'\\]+|\\.?)*'?""", re.DOTALL)
_ESCAPE_OR_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_PSEUDO_FILE = re.compile(r'json:\s*\{')
# More than any real argument has; reading more would take longer than the hook may take.
_MAX_SETTINGS = 1000
_MAX_SETTINGS_IN_ALL = 20000
_MAX_PSEUDO_FILES = 16


class Option:
    """One option: `name` without dashes, its settings in order (of a repeated key QEMU obeys the last), the token it is
    reported at."""

    __slots__ = ('name', 'settings', 'token')

    def __init__(self, name: str, settings: 'Settings', token: int) -> None:
        self.name = name
        self.settings = settings
        self.token = token

    def readings(self) -> 'Iterator[Dict[str, str]]':
        """Each key once, with its last value; and again with the values before it, if these may count.

        They may count for keys that make a list, and in JSON, where one setting can be written in two ways
        ("file.driver" and "file": {"driver"}) and the order does not decide.
        """
        values: 'Dict[str, List[str]]' = {}
        for key, value in self.settings:
            if '.' in key or key in _LISTS:
                values.setdefault(key, []).append(value)
            else:
                values[key] = [value]
        for number in range(max(map(len, values.values()), default=1)):
            yield {key: those[min(number, len(those) - 1)] for key, those in values.items()}


def parse_tokens(tokens: 'Sequence[str]') -> 'List[Option]':
    """Read command line tokens; `token` of each option is the index of the one that holds its value.

    Only QEMU knows whether an option takes a value, and whether as JSON; versions differ. Here every token that follows
    an option and does not look like one is read as its value, and a stray token as a disk image; a value is read in
    every way that it can be. Too much is read rather than too little.

    :raises DomainXMLError: an argument is nested deeper, or one or all have more settings, than in any real domain
    """
    options: 'List[Option]' = []
    number = index = 0
    while index < len(tokens):
        read, index = _read_option(tokens, index, options)
        for option in read:
            number += _check_number(option, number)
        options += read
    return options


def _read_option(tokens: 'Sequence[str]', index: int, before: 'Sequence[Option]') -> 'Tuple[List[Option], int]':
    """What the token at an index begins, in each way that it can be read, and the index behind it.

    :param before: the options that were given before it, which `-set` changes
    """
    token = tokens[index]
    if not _looks_like_option(token):
        return [Option('drive', list(_expand('file', token)), index)], index + 1
    name = token[2:] if token.startswith('--') else token[1:]
    name = _ALIASES.get(name, name)
    if index + 1 == len(tokens) or _looks_like_option(tokens[index + 1]):
        return [Option(name, [], index)], index + 1
    index += 1
    change = _SET_FORM.match(tokens[index]) if name == 'set' else None
    if change:
        return [_change(before, index, *change.groups())], index + 1
    return [Option(name, settings, index) for settings in _read_value(name, tokens[index])], index + 1


def _check_number(option: Option, before: int) -> int:
    """How many settings an option makes, in each way that it can be read.

    :param before: how many those before it make
    :raises DomainXMLError: they are too many
    """
    if len(option.settings) > _MAX_SETTINGS:
        raise DomainXMLError('an argument of <qemu:commandline> has more than %d settings' % _MAX_SETTINGS)
    number = sum(map(len, option.readings()))
    if before + number > _MAX_SETTINGS_IN_ALL:
        raise DomainXMLError('the arguments of <qemu:commandline> have more than %d settings' % _MAX_SETTINGS_IN_ALL)
    return number


def _looks_like_option(token: str) -> bool:
    return token.startswith('-') and token != '-'


def _change(options: 'Sequence[Option]', token: int, name: str, id: str, key: str, value: str) -> Option:
    """`-set`: an option given before, as far as the domain gave it, with one more setting."""
    settings: 'Settings' = []
    for option in options:
        if option.name == name and dict(option.settings).get('id') == id:
            settings = option.settings
    return Option(name, [setting for setting in settings if setting[0] != key] + [(key, value)], token)


def _read_value(name: str, value: str) -> 'Iterator[Settings]':
    """The settings of one option's value, in each way that it can be read."""
    parts = _GLOBAL_SHORT_FORM.match(value) if name == 'global' else None
    if parts:
        yield list(zip(('driver', 'property', 'value'), parts.groups()))
        return
    as_json = _read_json('', value) if value.startswith('{') else []
    if as_json:
        yield as_json
    # Which options take JSON differs by version; all others read the same text as settings.
    if not as_json or _HAS_SETTING.search(value):
        yield list(_read_pairs(name, value))
    if name in _OLD_CHARACTER_DEVICES and '=' in value.partition(',')[0]:
        yield [('value', value)]
    if _PSEUDO_FILE.search(value) and not value.startswith('{'):
        yield list(_expand('file', value))


def _read_pairs(name: str, value: str) -> 'Iterator[Tuple[str, str]]':
    # A doubled comma stands for a comma inside a value; XML has no NUL, so NUL can stand for it.
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
    """The setting itself, and what the `json:` pseudo file names in it say."""
    yield key, value
    for number, found in enumerate(_PSEUDO_FILE.finditer(value)):
        if number == _MAX_PSEUDO_FILES:
            raise DomainXMLError('an argument of <qemu:commandline> has too many json: file names')
        yield from _read_json(key + '.', value[found.end() - 1 :])


def _read_json(prefix: str, text: str) -> 'Settings':
    """What the JSON at the beginning of a text says; nothing where there is none."""
    try:
        document = _load_json(text)
        return [] if document is None else list(_flatten(prefix, document))
    except RecursionError:
        raise DomainXMLError('a JSON argument of <qemu:commandline> is nested too deep') from None


def _load_json(text: str) -> object:
    """The value at the beginning of a text; None where there is none (QEMU does not start with such an argument)."""
    import json  # never needed for a domain without such an argument

    try:
        return json.JSONDecoder(strict=False).raw_decode(_STRING.sub(_double_quoted, text))[0]
    except ValueError:
        return None


def _double_quoted(match: 're.Match[str]') -> str:
    """Standard JSON for a string of QEMU's JSON, which may be in single quotes and may escape both kinds."""
    text = match.group()
    closed = len(text) > 1 and text.endswith(text[0])
    return '"%s%s' % (_ESCAPE_OR_QUOTE.sub(_escape, text[1:-1] if closed else text[1:]), '"' if closed else '')


def _escape(match: 're.Match[str]') -> str:
    return {"\\'": "'", '"': '\\"'}.get(match.group(), match.group())


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
