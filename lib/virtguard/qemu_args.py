# SPDX-License-Identifier: Apache-2.0
"""QEMU command line tokens -> options with named settings. Pure: no I/O, no XML; re and json only for JSON.

`<qemu:commandline>` passes raw tokens to QEMU, and QEMU reads one setting in many spellings: `-device X,id=a`,
`--device driver=X`, `-device {"driver": "X"}`, `-drive file=json:{...}`. A policy that compared the text would miss
most of them, so the tokens are read as QEMU reads them (util/qemu-option.c, util/keyval.c, qobject/json-lexer.c).
"""

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
_NAME_CHARACTERS = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-')
# More than any real argument has; reading more would take longer than the hook may take.
_MAX_SETTINGS = 1000
_MAX_SETTINGS_IN_ALL = 20000
_TOO_MANY = 'an argument of <qemu:commandline> has more than %d settings'
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
    change = _dotted(tokens[index], 3) if name == 'set' else []
    if change:
        return [_change(before, index, *change)], index + 1
    return [Option(name, settings, index) for settings in _read_value(name, tokens[index])], index + 1


def _check_number(option: Option, before: int) -> int:
    """How many settings an option makes, in each way that it can be read.

    :param before: how many those before it make
    :raises DomainXMLError: they are too many
    """
    if len(option.settings) > _MAX_SETTINGS:
        raise DomainXMLError(_TOO_MANY % _MAX_SETTINGS)
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
    parts = _dotted(value, 2) if name == 'global' else []
    if parts:
        yield list(zip(('driver', 'property', 'value'), parts))
        return
    as_json = _read_json('', value) if value.startswith('{') else []
    if as_json:
        yield as_json
    # Which options take JSON differs by version; all others read the same text as settings.
    if not as_json or any(_begins_with_setting(part) for part in value.split(',')):
        yield list(_read_pairs(name, value))
    if name in _OLD_CHARACTER_DEVICES and '=' in value.partition(',')[0]:
        yield [('value', value)]
    if not value.startswith('{') and any(_pseudo_files(value)):
        yield list(_expand('file', value))


def _dotted(text: str, number: int) -> 'List[str]':
    """The parts of `a.b=value` (two names) or `a.b.c=value` (three), of which only the last may have a point."""
    names, equals, value = text.partition('=')
    parts = names.split('.', number - 1)
    return [*parts, value] if equals and len(parts) == number and all(parts) else []


def _begins_with_setting(part: str) -> bool:
    key, equals, _ = part.partition('=')
    return equals != '' and key != '' and all(character.isalnum() or character in '_.-' for character in key)


def _read_pairs(name: str, value: str) -> 'Iterator[Tuple[str, str]]':
    # A doubled comma stands for a comma inside a value; XML has no NUL, so NUL can stand for it.
    value = value.replace(',,', '\0')
    if value.count(',') > 2 * _MAX_SETTINGS:
        raise DomainXMLError(_TOO_MANY % _MAX_SETTINGS)
    for number, part in enumerate(value.split(',')):
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
    for number, begin in enumerate(_pseudo_files(value)):
        if number == _MAX_PSEUDO_FILES:
            raise DomainXMLError('an argument of <qemu:commandline> has too many json: file names')
        yield from _read_json(key + '.', value[begin:])


def _pseudo_files(value: str) -> 'Iterator[int]':
    """Where in a value the JSON of file names in QEMU's `json:` form begins."""
    end = value.find('json:')
    while end >= 0:
        begin = end + len('json:')
        while value[begin : begin + 1].isspace():
            begin += 1
        if value[begin : begin + 1] == '{':
            yield begin
        end = value.find('json:', begin)


def _read_json(prefix: str, text: str) -> 'Settings':
    """What the JSON at the beginning of a text says; nothing where there is none."""
    from .qemu_json import read_json  # never needed for a domain without such an argument

    return read_json(prefix, text)


def read_arguments(values: 'Sequence[str]') -> 'Iterator[Tuple[int, str, Dict[str, str]]]':
    """The options among the values of `<qemu:arg>` elements, each in each way that it can be read: which of the values
    it is reported at, its name and its settings, all names as XML can have them.

    :raises DomainXMLError: see parse_tokens
    """
    for option in parse_tokens(values):
        for settings in option.readings():
            yield option.token, xml_name(option.name), {xml_name(key): value for key, value in settings.items()}


def xml_name(text: str) -> str:
    name = ''.join([character if character in _NAME_CHARACTERS else '_' for character in text])
    return name if name[:1].isalpha() else '_' + name
