# SPDX-License-Identifier: Apache-2.0
"""One document, written in the many ways that XML has for it."""

import random
from xml.sax.saxutils import escape

from lxml import etree


class Style:
    """How to write a tag, a value, a text. Every way reads the same."""

    def __init__(
        self, quotes='\'"', equals=('=',), gaps=(' ',), ends=('',), empty=True, references=0.0, cdata=0.0, aside=''
    ):
        self.quotes = quotes
        self.equals = equals
        self.gaps = gaps
        self.ends = ends
        self.empty = empty
        self.references = references
        self.cdata = cdata
        self.aside = aside


BLANKS = (' ', '\n', '\t', ' \r\n ')
STYLES = {
    "as libvirt's": Style(quotes="'"),
    'double quotes': Style(quotes='"'),
    'blank before =': Style(equals=(' =', '\n=')),
    'blank behind =': Style(equals=('= ', '=\t')),
    'blanks around =': Style(equals=(' = ', '\r\n=\n')),
    'blanks in tags': Style(gaps=BLANKS, ends=BLANKS),
    'no empty tags': Style(empty=False),
    'references': Style(references=0.3),
    'nothing but references': Style(references=1.0),
    'CDATA': Style(cdata=1.0),
    'comments': Style(aside="<!-- </domain><name/> type='none' -->"),
    'instructions': Style(aside="<?x </domain> type='none'?>"),
    'all at once': Style(
        equals=('=', ' = '), gaps=BLANKS, ends=('', '\n'), references=0.1, cdata=0.2, aside='<!-- &amp; -->'
    ),
}
ENCODINGS = {
    'a comment first': lambda text: ("<!-- <domain type='none'> > -->\n" + text).encode(),
    'BOM': lambda text: text.encode('utf-8-sig'),
    'UTF-16': lambda text: text.encode('utf-16'),
    'declared UTF-8': lambda text: ("<?xml version='1.0' encoding='UTF-8'?>" + text).encode(),
    'declared Latin-1': lambda text: ("<?xml version='1.0' encoding='iso-8859-1'?>" + text).encode(
        'latin-1', 'xmlcharrefreplace'
    ),
}


class Writer:
    """Writes elements, in another prefix than they had; what is left to chance is so in the same way each time."""

    def __init__(self, style, seed=0):
        self._style = style
        self._random = random.Random(seed)
        self._prefixes = {'http://www.w3.org/XML/1998/namespace': 'xml'}

    def write(self, element):
        style, choose = self._style, self._random.choice
        name, declared = self._name(element.tag)
        attributes = list(declared)
        for key, value in element.attrib.items():
            attribute, more = self._name(key)
            attributes = attributes + [pair for pair in more if pair not in attributes] + [(attribute, value)]
        tag = (
            '<'
            + name
            + ''.join(choose(style.gaps) + key + choose(style.equals) + self._value(value) for key, value in attributes)
        )
        end = choose(style.ends)
        if style.empty and not len(element) and not element.text:
            return '%s%s/>' % (tag, end)
        inside = self._text(element.text) + ''.join(
            style.aside + self.write(child) + self._text(child.tail) for child in element if isinstance(child.tag, str)
        )
        return '%s%s>%s</%s%s>' % (tag, end, inside, name, end)

    def _name(self, tag):
        """A name as it is written, and the declarations that it takes."""
        qualified = etree.QName(tag)
        if not qualified.namespace:
            return qualified.localname, []
        prefix = self._prefixes.setdefault(qualified.namespace, 'p%d' % len(self._prefixes))
        declared = [] if prefix == 'xml' else [('xmlns:' + prefix, qualified.namespace)]
        return '%s:%s' % (prefix, qualified.localname), declared

    def _value(self, value):
        quote = self._random.choice(self._style.quotes)
        escaped = ''.join(self._character(character, quote) for character in value)
        return quote + escaped + quote

    def _character(self, character, quote):
        if character in '\t\n\r' or self._random.random() < self._style.references:
            return '&#%s;' % self._random.choice((str(ord(character)), 'x%x' % ord(character)))
        return {'&': '&amp;', '<': '&lt;', quote: '&#%d;' % ord(quote)}.get(character, character)

    def _text(self, text):
        if not text:
            return ''
        if self._random.random() < self._style.cdata and ']]>' not in text:
            return '<![CDATA[%s]]>' % text
        if self._random.random() < self._style.references:
            return ''.join('&#%d;' % ord(character) for character in text)
        return escape(text)


def spellings(xml):
    """(name, the document in that spelling), all of them."""
    root = etree.fromstring(xml, etree.XMLParser(remove_comments=True, remove_pis=True))
    for seed, name in enumerate(sorted(STYLES)):
        yield name, Writer(STYLES[name], seed).write(root).encode()
    text = Writer(STYLES["as libvirt's"]).write(root)
    for name in sorted(ENCODINGS):
        yield name, ENCODINGS[name](text)
