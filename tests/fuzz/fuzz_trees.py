# SPDX-License-Identifier: Apache-2.0
"""Domains at random: trees made of those that the tests have, by small changes; everything comes from one generator of
random numbers, so that a seed names a document."""

import pathlib

from lxml import etree
from virtguard.match.syntax import QEMU_NS
from virtguard.tree import LIBOSINFO_NS

CASES = pathlib.Path(__file__).resolve().parents[1] / 'cases'
_KNOWN = ('', QEMU_NS, LIBOSINFO_NS)
_MOST_NODES = 400


class Node:
    """An element: `uri` and `name`, `attributes` without namespaces, `children` (nodes and texts)."""

    __slots__ = ('uri', 'name', 'attributes', 'children')

    def __init__(self, uri, name, attributes=(), children=()):
        self.uri = uri
        self.name = name
        self.attributes = dict(attributes)
        self.children = list(children)

    def copy(self):
        children = [child if isinstance(child, str) else child.copy() for child in self.children]
        return Node(self.uri, self.name, self.attributes, children)

    def elements(self):
        return [child for child in self.children if not isinstance(child, str)]

    def walk(self, path=()):
        """Every element with the names on the way to it; parents first."""
        path = (*path, self.name)
        yield path, self
        for child in self.elements():
            yield from child.walk(path)

    def text(self):
        return ''.join(child for child in self.children if isinstance(child, str))


def _read(element):
    name = etree.QName(element)
    node = Node(name.namespace or '', name.localname, {str(k): str(v) for k, v in element.items()})
    if element.text and element.text.strip():
        node.children.append(str(element.text))
    for child in element:
        node.children.append(_read(child))
    return node


class Corpus:
    """The domains of the tests, and what they say where: subtrees by the path of their parent, values by name."""

    def __init__(self):
        parser = etree.XMLParser(remove_comments=True, remove_pis=True)
        self.domains = []
        for path in sorted(CASES.glob('**/*.xml')):
            root = etree.parse(str(path), parser).getroot()
            if root.tag == 'domain':
                self.domains.append(_read(root))
        assert len(self.domains) > 200
        self.below = {}
        self.values = {}
        self.texts = {}
        for domain in self.domains:
            for path, node in domain.walk():
                for child in node.elements():
                    self._note(self.below, path, child, len(child.elements()) < 20)
                for name, value in node.attributes.items():
                    self._note(self.values, name, value, value not in self.values.get(name, ()))
                text = node.text()
                self._note(self.texts, node.name, text, bool(text) and text not in self.texts.get(node.name, ()))
        self.names = sorted(self.values)

    @staticmethod
    def _note(notes, key, what, wanted):
        if wanted:
            notes.setdefault(key, []).append(what)

    def domain(self, random):
        """A domain of the tests with up to eight changes."""
        return self.changed(random.choice(self.domains).copy(), random)

    def changed(self, root, random):
        """A domain after up to eight changes."""
        for _ in range(random.randrange(9)):
            _CHANGES[random.randrange(len(_CHANGES))](self, root, random)
        return root


def _graft(corpus, root, random):
    """What another domain has below an element of this path."""
    nodes = list(root.walk())
    if len(nodes) > _MOST_NODES:
        return
    path, node = random.choice([(path, node) for path, node in nodes if path in corpus.below])
    grafted = random.choice(corpus.below[path]).copy()
    same = [place for place, child in enumerate(node.children) if getattr(child, 'name', '') == grafted.name]
    if same and random.random() < 0.5:
        node.children[random.choice(same)] = grafted
    else:
        node.children.insert(random.randrange(len(node.children) + 1), grafted)


def _inner(root, random):
    parents = [node for _, node in root.walk() if node.elements()]
    parent = random.choice(parents)
    return parent, random.choice(parent.elements())


def _remove(corpus, root, random):
    parent, child = _inner(root, random)
    if child.name not in ('name', 'uuid'):
        parent.children.remove(child)


def _repeat(corpus, root, random):
    parent, child = _inner(root, random)
    if parent is not root or child.name not in ('name', 'uuid', 'devices', 'metadata'):
        parent.children.insert(random.randrange(len(parent.children) + 1), child.copy())


def _move(corpus, root, random):
    parent, child = _inner(root, random)
    below = {id(node) for _, node in child.walk()}
    others = [node for _, node in root.walk() if id(node) not in below]
    if child.name not in ('name', 'uuid'):
        parent.children.remove(child)
        random.choice(others).children.append(child)


def _set(corpus, root, random):
    nodes = [node for _, node in root.walk()]
    node = random.choice([node for node in nodes if node.attributes] or nodes)
    names = sorted(node.attributes)
    name = random.choice(names) if names and random.random() < 0.8 else random.choice(corpus.names)
    node.attributes[name] = random.choice(corpus.values[name]) if random.random() < 0.9 else ''


def _unset(corpus, root, random):
    nodes = [node for _, node in root.walk() if node.attributes]
    if nodes:
        node = random.choice(nodes)
        del node.attributes[random.choice(sorted(node.attributes))]


def _say(corpus, root, random):
    nodes = [node for _, node in root.walk() if node.name in corpus.texts and not node.elements()]
    if nodes:
        node = random.choice(nodes)
        node.children = [random.choice(corpus.texts[node.name])]


def _rename(corpus, root, random):
    _, child = _inner(root, random)
    if child.name not in ('name', 'uuid'):
        child.name = random.choice(['source', 'driver', 'backend', 'model', 'address', 'emulator', 'interface'])


_CHANGES = (_graft, _graft, _graft, _remove, _repeat, _move, _set, _set, _set, _unset, _say, _rename)
