# SPDX-License-Identifier: Apache-2.0
"""The formats of the command's output, by the names that --format knows. A new one is a class, a line here, and a name
in format_names.

FORMATS are those that every command offers. Those in _OF_VERDICTS can only tell verdicts; they are loaded when one is
asked for.
"""

import importlib

from .json_lines import JsonLines
from .text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Type

    from .output_format import OutputFormat
    from .verdict_format import VerdictFormat

FORMATS: 'Dict[str, Type[OutputFormat]]' = {'text': Text, 'jsonl': JsonLines}
_OF_VERDICTS = {
    'json': ('json_document', 'JsonDocument'),
    'sarif': ('sarif', 'Sarif'),
    'junit': ('junit', 'Junit'),
    'gitlab': ('gitlab', 'Gitlab'),
    'github': ('github', 'Github'),
    'markdown': ('markdown', 'Markdown'),
    'xccdf': ('xccdf', 'Xccdf'),
}


def verdict_format(name: str) -> 'Type[VerdictFormat]':
    """The class of one of VERDICT_FORMATS."""
    if name in FORMATS:
        return FORMATS[name]
    module, of_module = _OF_VERDICTS[name]
    found: 'Type[VerdictFormat]' = getattr(importlib.import_module('.' + module, __package__), of_module)
    return found
