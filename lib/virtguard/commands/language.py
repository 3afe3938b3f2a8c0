# SPDX-License-Identifier: Apache-2.0
"""The language in which the command tells people what it has found: that of the locale, or the one that is asked for.

What other programs read is in English, whatever the locale is, so that the same check says the same everywhere; JSON
is in the language that is asked for, as a page asks that shows it.
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
    from typing import Dict, List

_asked: 'List[str]' = []


def ask_for(name: str) -> None:
    """Take this language, and not that of the locale."""
    _asked.append(name)


def language() -> str:
    """The language for people; English, too, where standard output cannot show the texts, or they cannot be read."""
    return _wanted() if texts() else ENGLISH


def _wanted() -> str:
    return _asked[-1] if _asked else chosen_language(os.environ)


@functools.lru_cache(maxsize=None)
def texts() -> 'Dict[str, str]':
    """What the command tells people in another language, by its English text."""
    known = _texts(_wanted())
    if sys.stdout is not None:
        try:
            ''.join(known.values()).encode(encoding_of(sys.stdout))
        except UnicodeEncodeError:
            return {}
    return known


def texts_asked_for() -> 'Dict[str, str]':
    """The same for programs: only if somebody has asked for a language."""
    return _texts(_asked[-1]) if _asked else {}


@functools.lru_cache(maxsize=None)
def _texts(name: str) -> 'Dict[str, str]':
    try:
        return texts_of(name)
    except GuardError as error:
        complain('%s: warning: told in English: %s' % (wording.PROGRAM, error))
        return {}


def translated(text: str) -> str:
    """A text in the user's language; a model.Phrase knows its parts."""
    return wording.translated(texts(), text)


def filled(phrase: str, *values: object) -> str:
    """A phrase in the user's language, with what is filled in."""
    return wording.fill(texts(), phrase, *values)
