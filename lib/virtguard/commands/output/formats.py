# SPDX-License-Identifier: Apache-2.0
"""The formats of the command's output, by the names that --format knows. A new one is a class and a line here."""

from .json_lines import JsonLines
from .text import Text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Type

    from .output_format import OutputFormat

FORMATS: 'Dict[str, Type[OutputFormat]]' = {'text': Text, 'jsonl': JsonLines}
