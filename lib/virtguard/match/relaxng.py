# SPDX-License-Identifier: Apache-2.0
"""RELAX NG (XML syntax) -> what may stand where: children, attributes and values of each element. Pure: no I/O.

What one branch of a pattern allows is allowed here together with all other branches. So what this model does not know
is never valid; things that it knows may still not be valid together.
"""

from lxml import etree

from ..errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

    Name = Tuple[str, str]  # namespace ('': none), local name
    Pattern = Union['Element', 'Value']
    Patterns = List[Pattern]

_RNG = 'http://relaxng.org/ns/structure/1.0'
_LIBRARIES = ('', 'http://www.w3.org/2001/XMLSchema-datatypes')
_NAME_CLASSES = frozenset(('name', 'anyName', 'nsName'))
_START = ''  # the key of a grammar's start among its definitions
_EMPTY_TEXT = frozenset(('',))


class SchemaError(GuardError):
    """A schema cannot be read, or is not RELAX NG."""


class Names:
    """A name class: the names in `known`, and for each wildcard (namespace or None for all, exceptions) all others."""

    __slots__ = ('known', 'wildcards')

    def __init__(
        self, known: 'Iterable[Name]' = (), wildcards: 'Sequence[Tuple[Optional[str], Optional[Names]]]' = ()
    ) -> None:
        self.known = frozenset(known)
        self.wildcards = tuple(wildcards)

    def allow(self, name: 'Name') -> bool:
        return name in self.known or any(
            namespace in (None, name[0]) and not (exceptions and exceptions.allow(name))
            for namespace, exceptions in self.wildcards
        )

    def allow_some_of(self, namespace: str) -> bool:
        return any(name[0] == namespace for name in self.known) or any(
            wild in (None, namespace) for wild, _ in self.wildcards
        )


class Value:
    """An attribute, or an element's text (`names` is None). `values` are all it can be, None: anything."""

    __slots__ = ('names', 'values')

    def __init__(self, names: 'Optional[Names]', values: 'Optional[FrozenSet[str]]') -> None:
        self.names = names
        self.values = values


class Content:
    """What an element may have. `text` are all its own texts, None: anything."""

    __slots__ = ('elements', 'attributes', 'text')

    def __init__(
        self, elements: 'Sequence[Element]', attributes: 'Sequence[Value]', text: 'Optional[FrozenSet[str]]'
    ) -> None:
        self.elements = tuple(elements)
        self.attributes = tuple(attributes)
        self.text = text


class Element:
    """A pattern of elements: their names, and what they may have, which is read when it is first needed."""

    __slots__ = ('names', '_find', '_content')

    def __init__(self, names: Names, find_content: 'Callable[[], Optional[Content]]') -> None:
        self.names = names
        self._find = find_content
        self._content: 'Optional[Content]' = None

    def content(self) -> 'Optional[Content]':
        """None if the schema does not allow the element after all."""
        if self._content is None:
            self._content = self._find()
        return self._content

    def children(self) -> 'List[Element]':
        content = self.content()
        return [element for element in content.elements if element.content()] if content else []

    def attributes(self) -> 'Sequence[Value]':
        content = self.content()
        return content.attributes if content else ()

    def values(self) -> 'Optional[FrozenSet[str]]':
        """All that the element's string value can be; None: anything."""
        content = self.content()
        if content is None or content.text is None or content.elements:
            return None
        return content.text or _EMPTY_TEXT


class Schema:
    """A whole schema. `roots` are the patterns of the document element."""

    def __init__(self, roots: 'Sequence[Element]') -> None:
        self.roots = tuple(roots)
        self._parents: 'Dict[Pattern, List[Element]]' = {}

    def parents(self) -> 'Dict[Pattern, List[Element]]':
        """Every element and attribute, and the elements that may have it."""
        if not self._parents:
            self._parents = {root: [] for root in self.roots}
            todo = list(self.roots)
            while todo:
                element = todo.pop()
                patterns: 'Patterns' = [*element.attributes(), *element.children()]
                for pattern in patterns:
                    if pattern not in self._parents and isinstance(pattern, Element):
                        todo.append(pattern)
                    self._parents.setdefault(pattern, []).append(element)
        return self._parents


def load_schema(name: str, read: 'Callable[[str], bytes]') -> Schema:
    """Load a schema and all that it includes.

    :param name: of the schema's own file; `read` takes it, and what `href` says in files
    :raises SchemaError: it is not RELAX NG
    """
    return Schema(_Grammars().start(_load(name, read, ())))


def _load(name: str, read: 'Callable[[str], bytes]', including: 'Tuple[str, ...]') -> 'etree._Element':
    """The pattern in a file, with what it includes in the place of each include (RELAX NG, sections 4.6 and 4.7)."""
    if name in including:
        raise SchemaError('%s includes itself' % name)
    root = _parse(name, read)
    root.set('datatypeLibrary', root.get('datatypeLibrary', ''))  # an included file does not inherit this setting
    for node in list(root.iter(_rng('include'), _rng('externalRef'))):
        found = _load(node.get('href', ''), read, including + (name,))
        if node.tag == _rng('include'):
            if found.tag != _rng('grammar'):
                raise SchemaError('%s is included by %s and is not a grammar' % (node.get('href'), name))
            _include(node, found)
            continue
        if node.get('ns') is not None and found.get('ns') is None:
            found.set('ns', node.get('ns'))
        if node is root:
            return found
        node.getparent().replace(node, found)
    return root


def _parse(name: str, read: 'Callable[[str], bytes]') -> 'etree._Element':
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(read(name), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SchemaError('%s is not well-formed: %s' % (name, error)) from None
    if etree.QName(root).namespace != _RNG:
        raise SchemaError('%s is not RELAX NG' % name)
    return root


def _include(node: 'etree._Element', grammar: 'etree._Element') -> None:
    """Put into an include the grammar that it names, without the definitions that the include overrides."""
    overridden = {_definition_name(definition) for definition in _definitions(node)}
    for definition in list(_definitions(grammar)):
        if _definition_name(definition) in overridden:
            definition.getparent().remove(definition)
    grammar.tag = node.tag = _rng('div')
    node.insert(0, grammar)


def _definitions(parent: 'etree._Element') -> 'Iterator[etree._Element]':
    """The definitions of a grammar or an include."""
    for node in parent.iterchildren(_rng('start'), _rng('define'), _rng('div')):
        if node.tag == _rng('div'):
            yield from _definitions(node)
        else:
            yield node


def _definition_name(definition: 'etree._Element') -> str:
    return _START if definition.tag == _rng('start') else _name_of(definition)


def _name_of(node: 'etree._Element') -> str:
    return ' '.join(node.get('name', '').split())


class _Grammars:
    """Reads patterns into contents. None is the content of a pattern that nothing matches (`notAllowed`)."""

    def __init__(self) -> None:
        self._definitions: 'Dict[etree._Element, Dict[str, List[etree._Element]]]' = {}
        self._elements: 'Dict[etree._Element, Element]' = {}
        self._contents: 'Dict[Tuple[etree._Element, str], Optional[Content]]' = {}
        self._under_way: 'Set[Tuple[etree._Element, str]]' = set()

    def start(self, root: 'etree._Element') -> 'Sequence[Element]':
        content = self._read(root)
        if content is None or not content.elements:
            raise SchemaError('the schema allows no document')
        return content.elements

    def _read(self, node: 'etree._Element') -> 'Optional[Content]':
        kind = etree.QName(node).localname
        if kind == 'element':
            return Content([self._element(node)], [], frozenset())
        if kind == 'attribute':
            return self._read_attribute(node)
        if kind in ('group', 'interleave', 'oneOrMore', 'define', 'start'):
            return self._all(node)
        if kind == 'choice':
            return _either([self._read(child) for child in _patterns(node)])
        if kind in ('optional', 'zeroOrMore'):
            return _either([_NOTHING, self._all(node)])
        if kind == 'mixed':
            return _both([_ANY_TEXT, self._all(node)])
        if kind in ('data', 'text', 'list'):
            return _ANY_TEXT
        if kind == 'value':
            return _read_value(node)
        if kind == 'empty':
            return _NOTHING
        if kind == 'notAllowed':
            return None
        if kind == 'grammar':
            return self._refer(node, _START)
        if kind in ('ref', 'parentRef'):
            grammar = _grammar_around(node)
            return self._refer(_grammar_around(grammar) if kind == 'parentRef' else grammar, _name_of(node))
        raise SchemaError('<%s> is not a pattern of RELAX NG' % kind)

    def _all(self, node: 'etree._Element') -> 'Optional[Content]':
        return _both([self._read(child) for child in _patterns(node)])

    def _element(self, node: 'etree._Element') -> Element:
        if node not in self._elements:
            self._elements[node] = Element(_read_names(node), lambda: self._all(node))
        return self._elements[node]

    def _read_attribute(self, node: 'etree._Element') -> 'Optional[Content]':
        content = self._all(node) if _patterns(node) else _ANY_TEXT
        if content is None:
            return None
        values = None if content.text is None else content.text or _EMPTY_TEXT
        return Content([], [Value(_read_names(node), values)], frozenset())

    def _refer(self, grammar: 'etree._Element', name: str) -> 'Optional[Content]':
        key = (grammar, name)
        if key not in self._contents:
            if key in self._under_way:
                raise SchemaError('the definition %r consists of itself' % name)
            self._under_way.add(key)
            self._contents[key] = self._define(grammar, name)
            self._under_way.remove(key)
        return self._contents[key]

    def _define(self, grammar: 'etree._Element', name: str) -> 'Optional[Content]':
        if grammar not in self._definitions:
            self._definitions[grammar] = {}
            for definition in _definitions(grammar):
                self._definitions[grammar].setdefault(_definition_name(definition), []).append(definition)
        parts = self._definitions[grammar].get(name)
        if not parts:
            raise SchemaError('there is no definition %r' % name if name else 'a grammar has no start')
        combine = _either if any(part.get('combine') == 'choice' for part in parts) else _both
        return combine([self._read(part) for part in parts])


_NOTHING = Content([], [], _EMPTY_TEXT)
_ANY_TEXT = Content([], [], None)


def _both(contents: 'Sequence[Optional[Content]]') -> 'Optional[Content]':
    return None if None in contents else _either(contents)


def _either(contents: 'Sequence[Optional[Content]]') -> 'Optional[Content]':
    possible = [content for content in contents if content is not None]
    if contents and not possible:
        return None
    texts: 'Optional[FrozenSet[str]]' = frozenset()
    for content in possible:
        texts = None if texts is None or content.text is None else texts | content.text
    elements = [element for content in possible for element in content.elements]
    attributes = [attribute for content in possible for attribute in content.attributes]
    return Content(list(dict.fromkeys(elements)), list(dict.fromkeys(attributes)), texts)


def _rng(kind: str) -> str:
    return '{%s}%s' % (_RNG, kind)


def _rng_children(node: 'etree._Element') -> 'List[etree._Element]':
    """The children that are not annotations."""
    return list(node.iterchildren('{%s}*' % _RNG))


def _patterns(node: 'etree._Element') -> 'List[etree._Element]':
    children = _rng_children(node)
    has_name_class = node.tag in (_rng('element'), _rng('attribute')) and node.get('name') is None
    return children[1:] if has_name_class else children


def _grammar_around(node: 'etree._Element') -> 'etree._Element':
    for grammar in node.iterancestors(_rng('grammar')):
        return grammar
    raise SchemaError('<%s> is not in a grammar' % etree.QName(node).localname)


def _inherited(node: 'etree._Element', setting: str) -> str:
    for element in [node, *node.iterancestors()]:
        value = element.get(setting)
        if value is not None:
            return str(value)
    return ''


def _read_value(node: 'etree._Element') -> Content:
    # A value of another type may be written in several ways (1, 01).
    is_text = node.get('type', 'token') in ('token', 'string') and _inherited(node, 'datatypeLibrary') in _LIBRARIES
    return Content([], [], frozenset([normalize(node.text or '')])) if is_text else _ANY_TEXT


def normalize(text: str) -> str:
    """A text in the form in which values are compared: how many blanks there are does not matter."""
    return ' '.join(text.split())


def _read_names(node: 'etree._Element') -> Names:
    """The name class of an element, of an attribute, or of a part of a name class."""
    kind = etree.QName(node).localname
    if kind in ('element', 'attribute') and node.get('name') is not None:
        # Unlike all others, an attribute with its name in `name` does not inherit a namespace.
        namespace = node.get('ns', '') if kind == 'attribute' else _inherited(node, 'ns')
        return _read_name(node, _name_of(node), namespace)
    children = _rng_children(node)
    if kind in ('element', 'attribute'):
        if not children:
            raise SchemaError('<%s> has no name' % kind)
        return _read_names(children[0])
    if kind == 'name':
        return _read_name(node, normalize(node.text or ''), _inherited(node, 'ns'))
    if kind == 'choice':
        return _join_names([_read_names(child) for child in children])
    if kind in _NAME_CLASSES:
        exceptions = [_read_names(name) for child in children for name in _rng_children(child)]
        namespace = None if kind == 'anyName' else _inherited(node, 'ns')
        return Names((), [(namespace, _join_names(exceptions))])
    raise SchemaError('<%s> is not a name class of RELAX NG' % kind)


def _read_name(node: 'etree._Element', name: str, namespace: str) -> Names:
    prefix, colon, local = name.partition(':')
    if not colon:
        return Names([(namespace, name)])
    if prefix not in node.nsmap:
        raise SchemaError('the prefix of the name %r is not declared' % name)
    return Names([(node.nsmap[prefix], local)])


def _join_names(parts: 'Sequence[Names]') -> Names:
    return Names(
        [name for part in parts for name in part.known], [wildcard for part in parts for wildcard in part.wildcards]
    )
