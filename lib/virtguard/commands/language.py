# SPDX-License-Identifier: Apache-2.0
"""The language in which the command tells people what it has found: that of the locale.

What other programs read is in English, whatever the locale is, so that the same check says the same everywhere.
"""

import functools
import os
import sys

from .. import wording
from ..errors import GuardError
from ..policy.languages import ENGLISH, chosen_language, texts_of
from .terminal import complain, encoding_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict


@functools.lru_cache(maxsize=None)
def language() -> str:
    """The language of the locale; English, too, where standard output cannot show the texts, or where they cannot be
    read."""
    return chosen_language(os.environ) if _texts() else ENGLISH


@functools.lru_cache(maxsize=None)
def _texts() -> 'Dict[str, str]':
    try:
        texts = texts_of(chosen_language(os.environ))
    except GuardError as error:
        complain('%s: warning: told in English: %s' % (wording.PROGRAM, error))
        return {}
    if sys.stdout is not None:
        try:
            ''.join(texts.values()).encode(encoding_of(sys.stdout))
        except UnicodeEncodeError:
            return {}
    return texts


def texts() -> 'Dict[str, str]':
    """What the command tells in another language, by its English text."""
    return _texts()


def translated(text: str) -> str:
    """A text in the user's language; a model.Phrase knows its parts."""
    return wording.translated(_texts(), text)


def filled(phrase: str, *values: object) -> str:
    """A phrase in the user's language, with what is filled in."""
    return wording.fill(_texts(), phrase, *values)
