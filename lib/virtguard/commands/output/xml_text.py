# SPDX-License-Identifier: Apache-2.0
"""Any text in an XML document: in ASCII, so that no encoding matters, and without characters that XML does not have."""

from ...wording import escape

_MARKUP = (('&', '&amp;'), ('<', '&lt;'), ('>', '&gt;'), ('"', '&quot;'))


def xml_text(text: str) -> str:
    """`text` as content of an element, of which lines stay lines, or as the value of an attribute in double quotes."""
    for character, written in _MARKUP:
        text = text.replace(character, written)
    lines = [escape(line) for line in text.split('\n')]
    return '\n'.join(lines).encode('ascii', 'xmlcharrefreplace').decode('ascii')
