# SPDX-License-Identifier: Apache-2.0
"""The elements of a JSON array, each on a line of its own, as they come."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable


class JsonArray:
    def __init__(self) -> None:
        self.is_empty = True

    def add(self, elements: 'Iterable[str]') -> str:
        """The text of further elements, with the commas."""
        told = []
        for element in elements:
            told.append(('\n' if self.is_empty else ',\n') + element)
            self.is_empty = False
        return ''.join(told)
