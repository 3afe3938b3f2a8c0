# SPDX-License-Identifier: Apache-2.0
"""YAML text of one file -> a layer: the settings, rules and waivers that this file gives. Pure: no I/O.

A layer need not be a whole policy: see merge for how layers become one. Every value has its place with it, so that
a problem that only shows when the layers are put together is still reported where it was written.
"""

import re

import yaml

from .. import model
from ..digest import sha256_hex
from ..errors import nearest
from ..waivers import is_uuid
from .installation import LANGUAGES
from .probes import read_probe
from .yaml_reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    from .problems import Problem

    ValueReader = Callable[[Reader, yaml.Node], Any]

FACTS = ('arch', 'container', 'os')
ACTIONS = ('deny', 'warn', 'off')  # the strictest first
MODES = ('enforce', 'audit')
AUDIT_UNTIL = 'audit-until'  # the key of a mode that ends by itself
FAILURES = ('deny', 'admit')
TIMES = (model.ADMISSION, model.RUNTIME)
MAX_DEADLINE = 60  # seconds

_RULE_ID = re.compile(r'[a-z][a-z0-9]*(-[a-z0-9]+)*\Z')
# A release of a vendor, as a bound of a range.
_RELEASE = re.compile(r'([a-z][a-z_-]*)-([1-9][0-9]?)(?:\.(0|[1-9][0-9]{0,2}))?\Z')
_BOUNDS = ('from', 'before')
_EXAMPLES = 'write it like rhel-9.4 or sles-15.6'
_NAME_OR_VALUE = re.compile(r'[\w.-]+(:[\w.-]+)?\Z')
_VERSION = re.compile(r'(\d{1,4})\.(\d{1,3})(?:\.(\d{1,3}))?\Z')
# Most likely a mistyped UUID.
_LIKE_UUID = re.compile(r'[0-9a-f-]{30,40}\Z')
# Of a glob: the inside of [...], and the ranges there.
_SET = re.compile(r'\[!?(\]?[^]]*)\]')
_RANGE = re.compile(r'(.)-(.)')


class Given:
    """A value, and where it was given. None is a value with a problem, which has been reported."""

    __slots__ = ('value', 'node', '_reader')

    def __init__(self, value: 'Any', node: 'Optional[yaml.Node]' = None, reader: 'Optional[Reader]' = None) -> None:
        self.value = value
        self.node = node
        self._reader = reader

    def with_value(self, value: 'Any') -> 'Given':
        """Another value, given at the same place."""
        return Given(value, self.node, self._reader)

    def problem(self, message: str, hint: str = '', offset: 'Optional[int]' = None) -> None:
        """Report what is wrong with the value; `offset` says how many characters into the text, where that is known."""
        node = self.node
        assert self._reader is not None and node is not None
        columns = 0
        # In a scalar on one line, an offset in the text is an offset in the file.
        if offset is not None and node.start_mark.line == node.end_mark.line:
            columns = offset + (1 if getattr(node, 'style', None) else 0)
        self._reader.problem(node, message, hint, columns)

    @property
    def origin(self) -> 'model.Origin':
        """The file, and the line in it."""
        if self.node is None or self._reader is None:
            return '', 0
        return self._reader.source, self.node.start_mark.line + 1


class ReleasedBefore:
    """The named set of values `{os-released-before: date}`, `date` being YYYY-MM-DD."""

    __slots__ = ('date',)

    def __init__(self, date: str) -> None:
        self.date = date


class KnownSystems:
    """The named set of values `{os-known: false}`: all texts but osinfo-db's ids; if `known`, these ids."""

    __slots__ = ('known',)

    def __init__(self, known: bool) -> None:
        self.known = known


class AuditUntil:
    """The mode `{audit-until: day}`: audit up to and including that day (YYYY-MM-DD), and enforce from then on."""

    __slots__ = ('day',)

    def __init__(self, day: str) -> None:
        self.day = day


class Layer:
    """What one file gives.

    `settings` has the top-level keys with one value; that of `extends` is a tuple of what the file names, each a Given.
    Each of `rules` and `waivers` is a dict from its keys to what the file gives them; the list itself is None if the
    file has none. `root` is None where the text is not a mapping. `extended` are the policies that were found for
    `extends`, each with its entry there; who reads them from the disk adds them.
    """

    __slots__ = ('source', 'sha256', 'root', 'settings', 'rules', 'waivers', 'extended', '_reader')

    def __init__(self, source: str, sha256: str, reader: Reader) -> None:
        self.source = source
        self.sha256 = sha256
        self.root: 'Optional[Given]' = None
        self.settings: 'Dict[str, Given]' = {}
        self.rules: 'Optional[List[Given]]' = None
        self.waivers: 'Optional[List[Given]]' = None
        self.extended: 'List[Tuple[Given, Layer]]' = []
        self._reader = reader

    @property
    def problems(self) -> 'List[Problem]':
        """The problems of this file, in its order."""
        return sorted(self._reader.problems, key=lambda problem: (problem.line, problem.column))


def read_layer(data: bytes, source: str, is_drop_in: bool = False) -> Layer:
    """Read one file; its problems are noted in the layer.

    :param data: YAML, UTF-8
    :param source: the name for messages, usually the path
    :param is_drop_in: it belongs to a policy, so it may be empty
    """
    reader = Reader(source)
    layer = Layer(source, sha256_hex(data), reader)
    root = reader.compose(data, 'the policy', is_drop_in)
    if root is not None:
        layer.root = Given(None, root, reader) if isinstance(root, yaml.MappingNode) else None
        nodes = reader.mapping(root, 'the policy', tuple(_SETTINGS) + _LISTS, ())
        layer.settings = _read(reader, nodes, _SETTINGS)
        for setting in layer.settings.values():
            if setting.node in reader.repeated:
                setting.value = None  # nobody knows which of the two is meant
        layer.rules = _read_list(reader, nodes, 'rules', _read_rule, is_drop_in or 'extends' in nodes)
        layer.waivers = _read_list(reader, nodes, 'waivers', _read_waiver, True)
    return layer


def _read(reader: Reader, nodes: 'Dict[str, yaml.Node]', readers: 'Dict[str, ValueReader]') -> 'Dict[str, Given]':
    return {key: Given(readers[key](reader, nodes[key]), nodes[key], reader) for key in readers if key in nodes}


def _read_list(
    reader: Reader, nodes: 'Dict[str, yaml.Node]', key: str, read: 'ValueReader', may_be_empty: bool
) -> 'Optional[List[Given]]':
    if key not in nodes:
        return None
    items = [Given(read(reader, node), node, reader) for node in reader.sequence(nodes[key], key, may_be_empty)]
    return [item for item in items if item.value]


def _read_audit(reader: Reader, node: 'yaml.Node') -> 'Optional[bool]':
    return reader.boolean(reader.mapping(node, 'audit', ('required',), ('required',)).get('required'), 'audit.required')


def _read_extends(reader: Reader, node: 'yaml.Node') -> 'Optional[Tuple[Given, ...]]':
    """One policy, or a list of them."""
    if not isinstance(node, yaml.SequenceNode):
        name = reader.line_of_text(node, 'extends')
        return (Given(name, node, reader),) if name is not None else None
    found: 'Dict[str, Given]' = {}
    for item in reader.sequence(node, 'extends'):
        name = reader.line_of_text(item, 'extends')
        if name in found:
            reader.problem(item, 'extends %r twice' % name)
        elif name is not None:
            found[name] = Given(name, item, reader)
    return tuple(found.values()) or None


def _read_mode(reader: Reader, node: 'yaml.Node') -> 'Union[str, AuditUntil, None]':
    if not isinstance(node, yaml.MappingNode):
        return reader.choice(node, 'mode', MODES)
    day = reader.day(reader.mapping(node, 'mode', (AUDIT_UNTIL,), (AUDIT_UNTIL,)).get(AUDIT_UNTIL), AUDIT_UNTIL)
    return AuditUntil(day) if day else None


def _read_rule(reader: Reader, node: 'yaml.Node') -> 'Dict[str, Given]':
    return _read(reader, reader.mapping(node, 'the rule', _RULE, ()), _RULE)


def _read_id(reader: Reader, node: 'yaml.Node') -> 'Optional[str]':
    id = reader.line_of_text(node, 'id')
    if id is not None and not _RULE_ID.match(id):
        reader.problem(node, 'id %r is not in kebab-case' % id, 'lower-case words joined by hyphens')
    return id


def _read_values(reader: Reader, node: 'yaml.Node') -> 'Union[Tuple[str, ...], ReleasedBefore, KnownSystems, None]':
    if not isinstance(node, yaml.MappingNode):
        return reader.strings(node, 'values')
    nodes = reader.mapping(node, 'values', ('os-released-before', 'os-known'), ())
    if 'os-known' in nodes:
        known = reader.boolean(nodes['os-known'], 'os-known')
        if len(nodes) > 1:
            reader.problem(node, 'values names two sets', 'make it two rules')
        return None if known is None else KnownSystems(known)
    if 'os-released-before' not in nodes:
        if not node.value:
            reader.problem(node, "values has no 'os-released-before'")
        return None
    date = reader.day(nodes['os-released-before'], 'os-released-before')
    return ReleasedBefore(date) if date else None


def _read_host(reader: Reader, node: 'yaml.Node') -> 'Tuple[model.HostCondition, ...]':
    conditions = []
    nodes = reader.mapping(node, 'host', FACTS, ())
    if isinstance(node, yaml.MappingNode) and not node.value:
        reader.problem(node, 'host has no condition', 'known facts: %s' % ', '.join(FACTS))
    for fact, node in nodes.items():
        if fact == 'os' and isinstance(node, yaml.MappingNode) and not _has_key(node, 'not'):
            conditions += _read_span(reader, node)
            continue
        negated = isinstance(node, yaml.MappingNode)
        value = reader.mapping(node, 'host.%s' % fact, ('not',), ('not',)).get('not') if negated else node
        if isinstance(value, yaml.SequenceNode):
            values = reader.strings(value, 'host.%s' % fact)
        else:
            text = reader.line_of_text(value, 'host.%s' % fact)
            values = (text,) if text is not None else None
        if values:
            conditions.append(model.HostCondition(fact, values, negated))
    return tuple(conditions)


def _has_key(node: 'yaml.MappingNode', name: str) -> bool:
    return any(key.value == name for key, _ in node.value)


def _read_span(reader: Reader, node: 'yaml.Node') -> 'List[model.HostCondition]':
    """A range of releases, {from: rhel-9.0, before: rhel-9.4}."""
    nodes = reader.mapping(node, 'host.os', _BOUNDS + ('not',), ())
    if not node.value:
        reader.problem(node, 'host.os has no condition', 'known are: from, before, not')
    bounds = {key: _read_release(reader, nodes[key], 'host.os.' + key) for key in _BOUNDS if key in nodes}
    if not bounds or None in bounds.values():
        return []
    (vendor, first), (other, end) = (bounds.get(key) or ('', ()) for key in _BOUNDS)
    if vendor and other and vendor != other:
        message = 'host.os is a range from a release of %s to one of %s' % (vendor, other)
        reader.problem(nodes['before'], message, 'both are of one vendor; make it two rules')
    elif first and end and not _whole(first) < _whole(end):
        reader.problem(node, 'host.os is a range without any release', 'from must be older than before')
    return [model.HostCondition('os', (), False, (vendor or other, first, end))]


def _whole(release: 'Tuple[int, ...]') -> 'Tuple[int, ...]':
    return (release + (0,))[:2]


def _read_release(reader: Reader, node: 'yaml.Node', what: str) -> 'Optional[Tuple[str, Tuple[int, ...]]]':
    # A number alone, which YAML reads as a number, is not a release, and quoting it does not help.
    is_number = isinstance(node, yaml.ScalarNode) and node.tag.rpartition(':')[2] in ('int', 'float')
    text = str(node.value) if is_number else reader.line_of_text(node, what)
    if text is None:
        return None
    written = _RELEASE.match(text)
    name = written.group(1) if written else text
    for vendor, (ids, _, _) in model.VENDORS.items():
        if name in ids and name != vendor:
            hint = 'write %s, which speaks of %s, too' % (text.replace(name, vendor, 1), name)
            reader.problem(node, '%s is %r, not a release of %s' % (what, text, vendor), hint)
            return None
    if written is None or name not in model.VENDORS:
        near = nearest(name, list(model.VENDORS))
        hint = 'did you mean %r?' % (text.replace(name, near, 1)) if near and written else _EXAMPLES
        if is_number:
            hint = 'write it with its vendor: %s' % ' or '.join('%s-%s' % (vendor, text) for vendor in model.VENDORS)
        reader.problem(node, '%s is %r, which is not a release that virt-guard can compare' % (what, text), hint)
        return None
    return name, tuple(int(number) for number in written.groups()[1:] if number is not None)


def _read_since(reader: Reader, node: 'yaml.Node') -> 'Tuple[Tuple[str, model.Version], ...]':
    since = []
    names = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if isinstance(node, yaml.MappingNode) and not names:
        reader.problem(node, 'since names nothing')
    for name, value in reader.mapping(node, 'since', names, ()).items():
        # The text, because YAML takes 11.10 for the number 11.1.
        version = _VERSION.match(str(value.value)) if isinstance(value, yaml.ScalarNode) else None
        if not _NAME_OR_VALUE.match(name):
            reader.problem(value, 'since has %r, which is not a name' % name, 'of an element, an attribute or a value')
        elif version is None:
            reader.problem(value, 'since.%s is not a version of libvirt' % name, 'write it like 11.2.0')
        else:
            major, minor, micro = version.groups('0')
            since.append((name, (int(major), int(minor), int(micro))))
    return tuple(since)


def _read_waiver(reader: Reader, node: 'yaml.Node') -> 'Dict[str, Given]':
    return _read(reader, reader.mapping(node, 'the waiver', _WAIVER, _WAIVER_REQUIRED), _WAIVER)


def _read_domains(reader: Reader, node: 'yaml.Node') -> 'Tuple[model.DomainEntry, ...]':
    return tuple(_read_domain(reader, item) for item in reader.sequence(node, 'domains'))


def _read_domain(reader: Reader, node: 'yaml.Node') -> 'model.DomainEntry':
    """A UUID, a name, or {uuid: ..., name: ...}."""
    if isinstance(node, yaml.MappingNode):
        nodes = reader.mapping(node, 'the domain', ('uuid', 'name'), ('uuid', 'name'))
        uuid = (reader.line_of_text(nodes.get('uuid'), 'uuid') or '').lower()
        if uuid and not is_uuid(uuid):
            reader.problem(nodes['uuid'], 'uuid is %r, which is not a UUID' % uuid, 'virsh domuuid DOMAIN tells it')
        return uuid, _read_name(reader, nodes.get('name'), 'name')
    domain = _read_name(reader, node, 'domains')
    folded = domain.lower()
    if is_uuid(folded):
        return folded
    if _LIKE_UUID.match(folded):
        reader.problem(node, '%r is not a UUID, and hardly a name' % domain, 'virsh domuuid DOMAIN tells it')
    return domain


def _read_name(reader: Reader, node: 'Optional[yaml.Node]', what: str) -> str:
    name = reader.line_of_text(node, what) or ''
    # With a reversed range, some versions of Python raise an error when they compare a name.
    for first, last in (ends for inside in _SET.findall(name) for ends in _RANGE.findall(inside)):
        if first > last:
            reader.problem(node, '%r has a range that is empty' % name, 'write %s-%s' % (last, first))
    return name


def _line(key: str) -> 'ValueReader':
    return lambda reader, node: reader.line_of_text(node, key)


def _text(key: str) -> 'ValueReader':
    return lambda reader, node: reader.text(node, key)


def _choice(key: str, known: 'Tuple[str, ...]') -> 'ValueReader':
    return lambda reader, node: reader.choice(node, key, known)


def _strings(key: str) -> 'ValueReader':
    return lambda reader, node: reader.strings(node, key)


_SETTINGS: 'Dict[str, ValueReader]' = {
    'policy': _line('policy'),
    'extends': _read_extends,
    'mode': _read_mode,
    'failure': _choice('failure', FAILURES),
    'deadline': lambda reader, node: reader.seconds(node, 'deadline', MAX_DEADLINE),
    'audit': _read_audit,
    'language': _choice('language', LANGUAGES),
}
_LISTS = ('rules', 'waivers')
_RULE: 'Dict[str, ValueReader]' = {
    'id': _read_id,
    'title': _line('title'),
    'action': _choice('action', ACTIONS),
    'at': _choice('at', TIMES),
    'phase': _choice('phase', (model.START,)),
    'match': _text('match'),
    'values': _read_values,
    'probe': read_probe,
    'host': _read_host,
    'since': _read_since,
    'why': _text('why'),
    'remedy': _text('remedy'),
    'reference': _line('reference'),
    'known-from': _choice('known-from', model.KNOWN_FROM),
    'waivable': lambda reader, node: reader.boolean(node, 'waivable'),
    'reason': _text('reason'),
    'supported': _strings('supported'),
}
_WAIVER: 'Dict[str, ValueReader]' = {
    'rules': _strings('rules'),
    'domains': _read_domains,
    'reason': _text('reason'),
    'approved-by': _line('approved-by'),
    'expires': lambda reader, node: reader.day(node, 'expires'),
    'ticket': _line('ticket'),
}
_WAIVER_REQUIRED = ('rules', 'domains', 'reason', 'approved-by', 'expires')
