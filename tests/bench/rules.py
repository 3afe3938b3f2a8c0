# SPDX-License-Identifier: Apache-2.0
"""Rules by the hundred, made from libvirt's own schema of the domain XML, for policies of any size.

What a rule speaks of (an element, its attributes, their values) is taken from domain.rng, which every libvirt brings,
so that each is one that a domain may have. How it speaks is taken from the shipped policy:

    10 in 20   an element whose attribute has a value            /domain/devices/tpm/backend[@type = 'passthrough']
     3 in 20   the same, or an argument for QEMU that says so    ... | /domain/qemu:commandline/qemu:arg[contains(...)]
     2 in 20   an attribute that is there at all                 /domain/devices/disk/source/@startupPolicy
     2 in 20   one of two values, in the expression              [@cache = 'unsafe' or @cache = 'directsync']
     2 in 20   one of several values, listed in `values`         /domain/devices/video/model/@type
     1 in 20   a value, unless another attribute has a value     [@type = 'hostdev'][not(@managed = 'yes')]

Every second rule is about an element that the documents have, as long as the schema knows such rules; the others are
about what they lack. No rule finds anything in the documents as they are. The same count, documents and libvirt make
the same rules.
"""

import pathlib
import random
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set, Tuple

import yaml
from lxml import etree

SCHEMAS = pathlib.Path('/usr/share/libvirt/schemas')
QEMU = 'http://libvirt.org/schemas/domain/qemu/1.0'
_RNG = '{http://relaxng.org/ns/structure/1.0}'
_MAX_DEPTH = 6
_FORMS = ('value',) * 10 + ('argument',) * 3 + ('presence',) * 2 + ('two',) * 2 + ('values',) * 2 + ('unless',)
_SHORT = 4  # an argument that contains no more than this says too little

ElementPath = Tuple[str, ...]
Feature = Tuple[ElementPath, str, int]  # an attribute, and which of its values
Schema = Dict[Tuple[ElementPath, str], List[str]]


class Test(NamedTuple):
    """Whether an attribute of an element has one of these values (none: whether it is there), or has not."""

    attribute: str
    values: Tuple[str, ...] = ()
    negated: bool = False

    def xpath(self) -> str:
        name = '@' + self.attribute
        text = ' or '.join("%s = '%s'" % (name, value) for value in self.values) or name
        return 'not(%s)' % text if self.negated else text

    def holds(self, element: 'etree._Element') -> bool:
        value = element.get(self.attribute)
        return (value is not None and (not self.values or value in self.values)) != self.negated


class Rule(NamedTuple):
    """A rule before it is written in a language. It finds elements at `path`, from the document, that pass all `tests`.

    `selects` is what it selects of them: 'element', 'attribute' (of the first test), or 'values' (likewise, with the
    test's values listed apart). With `argument`, it also finds QEMU arguments that contain that text.
    """

    id: str
    path: ElementPath
    tests: Tuple[Test, ...]
    selects: str = 'element'
    argument: str = ''

    @property
    def match(self) -> str:
        path = '/' + '/'.join(self.path)
        if self.selects != 'element':
            return '%s/@%s' % (path, self.tests[0].attribute)
        match = path + ''.join('[%s]' % test.xpath() for test in self.tests)
        if self.argument:
            match += " | /domain/qemu:commandline/qemu:arg[contains(@value, '%s')]" % self.argument
        return match

    @property
    def values(self) -> Tuple[str, ...]:
        return self.tests[0].values if self.selects == 'values' else ()

    def as_yaml(self) -> Dict[str, object]:
        """The rule as policy.yaml has it, with texts as long as those of the shipped policy."""
        shown = '%s of <%s>' % (self.tests[0].attribute, '/'.join(self.path[1:]))
        rule: Dict[str, object] = {'id': self.id, 'title': shown, 'action': 'deny', 'match': self.match}
        if self.values:
            rule['values'] = list(self.values)
        rule['why'] = 'The vendor neither tests nor supports domains that set %s to what this rule names.' % shown
        rule['remedy'] = 'remove it with virsh edit, or let libvirt choose the value'
        rule['reference'] = 'https://example.com/documentation/unsupported-features#' + self.id
        return rule


def policy_yaml(rules: Iterable[Rule], shipped: str = '') -> str:
    """A policy of these rules, after those of the shipped one where its text is given."""
    head = shipped or 'policy: bench\nmode: enforce\nfailure: deny\ndeadline: 5\naudit: {required: false}\nrules:\n'
    items = yaml.safe_dump([rule.as_yaml() for rule in rules], sort_keys=False, width=1000, default_flow_style=False)
    return head + ''.join('  %s\n' % line for line in items.splitlines())


def make_rules(count: int, documents: Sequence[bytes]) -> List[Rule]:
    """Rules, none of which finds anything in the documents.

    :raises ValueError: the schema does not yield so many
    """
    roots = [etree.fromstring(document) for document in documents]
    schema = read_schema()
    chooser = random.Random(20090101)
    pools = _make_pools(schema, {path for root in roots for path in _element_paths(root)})
    for _, pool in sorted(pools.items()):
        chooser.shuffle(pool)
    rules: List[Rule] = []
    seen: Set[str] = set()
    while len(rules) < count:
        form, known = chooser.choice(_FORMS), len(rules) % 2 == 0
        kind = 'presence' if form == 'presence' else 'value'
        pool = pools[kind, known] or pools[kind, not known]
        if not pool:
            raise ValueError('the schema yields %d rules, not %d' % (len(rules), count))
        rule = _make_rule('bench-%04d' % len(rules), form, pool.pop(), schema)
        if rule.match in seen or any(_finds(rule, root) for root in roots):
            continue
        seen.add(rule.match)
        rules.append(rule)
    return rules


def _make_pools(schema: Schema, present: Set[ElementPath]) -> Dict[Tuple[str, bool], List[Feature]]:
    """What rules can be made of, by what the rule asks for and whether documents have the element."""
    pools: Dict[Tuple[str, bool], List[Feature]] = {(k, p): [] for k in ('value', 'presence') for p in (False, True)}
    for (path, attribute), values in sorted(schema.items()):
        known = path in present
        pools['presence', known].append((path, attribute, 0))
        pools['value', known] += [(path, attribute, place) for place in range(len(values))]
    return pools


def _make_rule(id: str, form: str, feature: Feature, schema: Schema) -> Rule:
    path, attribute, place = feature
    values = schema[path, attribute]
    wanted = values[place : place + {'two': 2, 'values': 4}.get(form, 1)]
    if form == 'presence':
        return Rule(id, path, (Test(attribute),), 'attribute')
    if form == 'values':
        return Rule(id, path, (Test(attribute, tuple(wanted)),), 'values')
    tests = [Test(attribute, tuple(wanted))]
    if form == 'unless':
        others = [key for key in sorted(schema) if key[0] == path and key[1] != attribute and schema[key]]
        tests += [Test(other, (schema[path, other][-1],), negated=True) for _, other in others[:1]]
    argument = wanted[0] if form == 'argument' and len(wanted[0]) > _SHORT else ''
    return Rule(id, path, tuple(tests), 'element', argument)


def plant(document: bytes, rules: Iterable[Rule]) -> bytes:
    """The document with something for each of these rules to find."""
    root = etree.fromstring(document)
    for rule in rules:
        element = _find_or_make(root, rule.path)
        for test in rule.tests:
            if not test.holds(element):
                element.set(test.attribute, 'other' if test.negated else (*test.values, 'some')[0])
    return bytes(etree.tostring(root))


def hits(rules: Iterable[Rule], document: bytes) -> 'frozenset[str]':
    """The ids of the rules that find something, the plain way: what every engine must agree with."""
    root = etree.fromstring(document)
    return frozenset(rule.id for rule in rules if _finds(rule, root))


def _finds(rule: Rule, root: 'etree._Element') -> bool:
    nodes = root.xpath(rule.match, namespaces={'qemu': QEMU})
    return any(not rule.values or str(node) in rule.values for node in nodes)


def _find_or_make(root: 'etree._Element', path: ElementPath) -> 'etree._Element':
    element = root
    for name in path[1:]:
        below = element.find(name)
        element = etree.SubElement(element, name) if below is None else below
    return element


def _element_paths(root: 'etree._Element') -> Iterator[ElementPath]:
    for element in root.iter(etree.Element):
        yield tuple([ancestor.tag for ancestor in element.iterancestors()][::-1] + [element.tag])


def read_schema() -> Schema:
    """For each attribute that a domain may have, with the path of its element: the values that are spelt out."""
    defines: Dict[str, List['etree._Element']] = {}
    _collect_defines('domain.rng', defines)
    schema: Schema = {}
    for define in defines['domain']:
        _read_pattern(define, (), '', ('domain',), defines, schema)
    return schema


def _collect_defines(name: str, defines: Dict[str, List['etree._Element']]) -> None:
    root = etree.parse(str(SCHEMAS / name)).getroot()
    for include in root.iter(_RNG + 'include'):
        _collect_defines(include.get('href', ''), defines)
    for define in root.iter(_RNG + 'define'):
        defines.setdefault(define.get('name', ''), []).append(define)


def _read_pattern(
    pattern: 'etree._Element',
    path: ElementPath,
    attribute: str,
    references: Tuple[str, ...],
    defines: Dict[str, List['etree._Element']],
    schema: Schema,
) -> None:
    """Walk one pattern of the schema; `references` are those on the way, for a definition may contain itself."""
    for child in pattern.iterchildren(etree.Element):
        kind, name = child.tag.replace(_RNG, ''), child.get('name', '')
        if kind == 'ref':
            if name not in references:
                for define in defines.get(name, ()):
                    _read_pattern(define, path, attribute, (*references, name), defines, schema)
        elif kind == 'element':
            if name and not child.get('ns') and len(path) < _MAX_DEPTH:
                _read_pattern(child, (*path, name), '', references, defines, schema)
        elif kind == 'attribute':
            if name and len(path) > 1:
                schema.setdefault((path, name), [])
                _read_pattern(child, path, name, references, defines, schema)
        elif kind == 'value':
            text = (child.text or '').strip()
            known = schema.get((path, attribute))
            if known is not None and text not in known and not set(text) & set('\'"<>&'):
                known.append(text)
        else:
            _read_pattern(child, path, attribute, references, defines, schema)
