# SPDX-License-Identifier: Apache-2.0
"""Cuts off what a domain's owner may write at any length and no rule asks for. It works on bytes, so that nothing is
ever built from that. Pure: no I/O.

libvirt copies `<metadata>` as it is, and checks only that it is well-formed: it may be as large as the limits of a call
allow, and have in it what parsers choke on (undeclared prefixes, namespaces that are not URIs). Everything else that
libvirt writes is its own: indented, and with < escaped in what it was given.

Outside of comments, CDATA sections and processing instructions, every < begins markup, in values, too. So to find where
an element ends, it is enough to recognise these and the tags of one name.
"""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

    Scope = Dict[bytes, bytes]  # prefix -> URI

_LIBOSINFO = b'http://libosinfo.org/xmlns/libvirt/domain/1.0'
_LONG_TEXT = 1024  # bytes of a title or description
_MOST_LINES = 3000  # that are kept, so that all that follows has the line it had

# What is not markup, even if it looks like it, and how it ends. How a document type ends is not known.
_ENDS = {b'!--': b'-->', b'![CDATA[': b']]>', b'?': b'?>'}
_NO_MARKUP = rb'<(?P<other>!--|!\[CDATA\[|[?!])'
_TO_END_OF_TAG = rb'[^<>"\']*(?:(?:"[^"<]*"|\'[^\'<]*\')[^<>"\']*)*'
_OUTER = re.compile(
    _NO_MARKUP
    + rb'|<(?P<end>/?)metadata(?=[\s/>])(?P<rest>%s>)?' % _TO_END_OF_TAG
    + rb'|<(?P<text>title|description)>(?P<long>[^<]{%d,})</' % (_LONG_TEXT + 1)
)
_INNER = re.compile(
    _NO_MARKUP + rb'|<(?P<end>/?)(?P<name>[^\s<>/"\'=!?]+)(?P<rest>%s>)|<(?P<broken>)' % _TO_END_OF_TAG,
)
# Up to 100 elements with only text in them, which one step passes over; not those that may be kept.
_LEAVES = re.compile(
    rb'(?:<(?![^\s<>/"\'=]*libosinfo)[^\s<>/"\'=!?]+%s(?:(?<=/)>|(?<!/)>[^<]*</[^<>]*>)[^<]*){1,100}' % _TO_END_OF_TAG
)
_ATTRIBUTE = re.compile(rb'([^\s<>/"\'=]+)\s*=\s*("[^"<]*"|\'[^\'<]*\')')
_PLAIN_NAME = re.compile(rb'[A-Za-z_][\w.-]*$')
_REFERENCE = re.compile(rb'&(?:#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))|(amp|lt|gt|quot|apos));')
_ENTITIES = {b'amp': b'&', b'lt': b'<', b'gt': b'>', b'quot': b'"', b'apos': b"'"}
# A namespace that is not written as it is read.
_HIDDEN_NAMESPACE = re.compile(rb'xmlns[^\s<>="\']*\s*=\s*(?:"[^"<&]*&|\'[^\'<&]*&)')
_DECLARATION = re.compile(rb'xmlns[^\s<>="\']*\s*=\s*["\']' + re.escape(_LIBOSINFO))
_ENCODING = re.compile(rb'(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*["\']([^"\'>]*)')
_PLAIN_ENCODINGS = (b'utf-8', b'us-ascii', b'ascii', b'iso-8859-1')
# Nearly all metadata is like this.
_ONLY_LIBOSINFO = re.compile(
    rb'\s*<libosinfo:libosinfo xmlns:libosinfo=(["\'])%s\1>\s*(?:<libosinfo:os id=(?:"[^"<>&]*"|\'[^\'<>&]*\')/>\s*)*'
    rb'</libosinfo:libosinfo>\s*$' % re.escape(_LIBOSINFO)
)


_SLASH = ord('/')


class _Uncertain(Exception):
    pass


def cut_metadata(data: bytes) -> bytes:
    """A file of libvirt's (the status of a domain, a snapshot, a checkpoint, a domain) without foreign metadata.

    In each outermost element `metadata`, this is kept, in the same order and lines: its children `libosinfo` of
    libosinfo's namespace, within these the elements of that namespace whose names are ASCII, and in each of them the
    attributes without a prefix, the text, and CDATA sections. The prefix is always `libosinfo`. Everything else in it
    is cut off: elements, text, comments, processing instructions, the attributes of `metadata` itself. A `title` or
    `description` of more than 1,024 bytes without markup loses its text.

    Everything after that keeps its line, unless more than some 3,000 lines are cut off. A well-formed document stays
    well-formed, and nothing else in it changes. If the bytes do not tell for certain, the document is returned as it
    is: with a DOCTYPE, in an encoding other than UTF-8, ASCII and ISO 8859-1, with a comment or the like that does not
    end, with `metadata` that does not end, or with libosinfo's namespace declared outside of `metadata`.

    This takes time in proportion to the length, and memory only for the result and for libosinfo's part.
    """
    encoding = _ENCODING.match(data)
    if encoding and encoding.group(1).lower() not in _PLAIN_ENCODINGS:
        return data
    try:
        spans = _find_spans(data)
        if not spans:
            return data
        outside = b''.join(data[end:start] for (_, _, _, end), (start, _, _, _) in zip([(0,) * 4] + spans, spans))
        outside += data[spans[-1][3] :]
        if _DECLARATION.search(outside) or _HIDDEN_NAMESPACE.search(outside):
            return data
        parts: 'List[bytes]' = []
        position = 0
        for start, inner_start, inner_end, end in spans:
            parts += [data[position:start], _shorten(data, start, inner_start, inner_end, end)]
            position = end
    except _Uncertain:
        return data
    return b''.join(parts + [data[position:]])


def _find_spans(data: bytes) -> 'List[Tuple[int, int, int, int]]':
    """The spans that can be cut: where each begins, where its content begins, where that ends, where it ends itself.

    :raises _Uncertain: that cannot be told
    """
    spans = []
    depth = start = inner_start = 0
    found = _OUTER.search(data)
    while found is not None:
        position = found.end()
        kind = found.lastgroup
        if kind == 'other':
            position = _pass_by(data, found)
        elif kind == 'long':
            if not depth:
                spans.append((found.start('long'), position - 2, position - 2, position - 2))
        elif kind == 'end':  # the tag is not whole
            raise _Uncertain
        elif found.group('end'):
            depth -= 1
            if depth < 0:
                raise _Uncertain
            if not depth:
                spans.append((start, inner_start, found.start(), position))
        elif data[position - 2 : position] == b'/>':
            if not depth:
                spans.append((found.start(), position, position, position))
        else:
            if not depth:
                start, inner_start = found.start(), position
            depth += 1
        found = _OUTER.search(data, position)
    if depth:
        raise _Uncertain
    return spans


def _pass_by(data: bytes, found: 're.Match[bytes]') -> int:
    """Where something that is not markup ends.

    :raises _Uncertain: it does not end
    """
    end_mark = _ENDS.get(found.group('other'))
    if end_mark is None:
        raise _Uncertain
    end = data.find(end_mark, found.end())
    if end < 0:
        raise _Uncertain
    return end + len(end_mark)


def _shorten(data: bytes, start: int, inner_start: int, inner_end: int, end: int) -> bytes:
    if data[start : start + 1] != b'<':  # a long text
        return _lines(data.count(b'\n', start, end))
    head = data[start:inner_start]
    if head == b'<metadata>' and _ONLY_LIBOSINFO.match(data, inner_start, inner_end):
        return data[start:end]
    inner = data[inner_start:inner_end]
    namespaced = _LIBOSINFO in inner or _LIBOSINFO in head
    if not namespaced and not _HIDDEN_NAMESPACE.search(head) and not _HIDDEN_NAMESPACE.search(inner):
        return b'<metadata>%s</metadata>' % _lines(data.count(b'\n', start, end))
    kept = _Extraction(inner, _declared(head, {}), head.count(b'\n')).result()
    return b'<metadata>%s%s</metadata>' % (kept, _lines(data.count(b'\n', inner_end, end)))


def _lines(number: int) -> bytes:
    return b'\n' * number if number <= _MOST_LINES else b''


class _Extraction:
    """Takes what is libosinfo's from the content of a `metadata`, with newlines in the place of the rest."""

    def __init__(self, inner: bytes, scope: 'Scope', lines: int) -> None:
        self._inner = inner
        self._scopes = [scope]  # of what is kept and still open
        self._parts: 'List[bytes]' = [_lines(lines)]
        self._position = 0  # up to which all has been kept or left out

    def result(self) -> bytes:
        """:raises _Uncertain: it is not well-formed"""
        inner = self._inner
        skipped = 0  # elements that are open, and are left out
        found = _INNER.search(inner)
        while found is not None:
            position = found.end()
            kind = found.lastgroup
            if kind == 'rest':
                is_kept = len(self._scopes) > 1
                is_empty = inner[position - 2] == _SLASH
                if skipped:
                    if found.group('end'):
                        skipped -= 1
                    elif not is_empty:
                        skipped += 1
                    if not skipped and is_kept:
                        self._leave_out(position)
                elif found.group('end'):
                    self._close(found)
                elif not is_kept and not found.group('name').endswith(b'libosinfo') or not self._open(found):
                    if not is_empty:
                        skipped = 1
                    elif is_kept:
                        self._leave_out(position)
            elif kind == 'broken':
                raise _Uncertain
            else:
                position = _pass_by(inner, found)
                # A CDATA section is text; a comment or a processing instruction is nothing.
                if not skipped and found.group('other') != b'![CDATA[':
                    self._text(found.start())
                    self._leave_out(position)
            if skipped or len(self._scopes) == 1:
                leaves = _LEAVES.match(inner, max(position, inner.find(b'<', position)))
                position = position if leaves is None else leaves.end()
            found = _INNER.search(inner, position)
        if skipped or len(self._scopes) != 1:
            raise _Uncertain
        self._leave_out(len(inner))
        return b''.join(self._parts)

    def _open(self, found: 're.Match[bytes]') -> bool:
        """Take the text before a start tag, and keep the tag if it is libosinfo's; return whether it was kept."""
        self._text(found.start())
        rest = found.group('rest')
        name = found.group('name')
        prefix, _, local = name.rpartition(b':')
        is_top = len(self._scopes) == 1
        scope = _declared(rest, self._scopes[-1])
        if (
            scope.get(prefix) != _LIBOSINFO
            or name[:1] == b':'
            or not _PLAIN_NAME.match(local)
            or is_top
            and local != b'libosinfo'
        ):
            return False
        kept = [b'<libosinfo:' + local]
        if is_top:
            kept.append(b' xmlns:libosinfo="%s"' % _LIBOSINFO)
        for attribute, value in _ATTRIBUTE.findall(rest):
            if _PLAIN_NAME.match(attribute) and attribute != b'xmlns':
                kept.append(b' %s=%s' % (attribute, value))
        lines = found.group().count(b'\n') - b''.join(kept).count(b'\n')
        is_empty = rest.endswith(b'/>')
        self._parts += kept + [_lines(lines), b'/>' if is_empty else b'>']
        self._position = found.end()
        if not is_empty:
            self._scopes.append(scope)
        return True

    def _close(self, found: 're.Match[bytes]') -> None:
        self._text(found.start())
        if len(self._scopes) == 1:
            raise _Uncertain
        self._scopes.pop()
        local = found.group('name').rpartition(b':')[2]
        self._parts.append(b'</libosinfo:%s%s>' % (local, _lines(found.group().count(b'\n'))))
        self._position = found.end()

    def _text(self, end: int) -> None:
        """Take the text since the last markup: it is kept if the element around it is kept."""
        if len(self._scopes) == 1:
            self._leave_out(end)
        else:
            self._parts.append(self._inner[self._position : end])
            self._position = end

    def _leave_out(self, end: int) -> None:
        number = self._inner.count(b'\n', self._position, end)
        if number:
            self._parts.append(_lines(number))
        self._position = end


def _declared(tag: bytes, scope: 'Scope') -> 'Scope':
    """The namespaces within an element: those around it, and what its tag declares."""
    if b'xmlns' not in tag:
        return scope
    scope = dict(scope)
    for name, value in _ATTRIBUTE.findall(tag):
        prefix, colon, local = name.partition(b':')
        if prefix == b'xmlns' and bool(colon) == bool(local):
            scope[local] = _REFERENCE.sub(_resolved, value[1:-1])
    return scope


def _resolved(found: 're.Match[bytes]') -> bytes:
    hexadecimal, decimal, name = found.groups()
    if name:
        return _ENTITIES[name]
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return bytes((number,)) if number < 128 else b'?'
