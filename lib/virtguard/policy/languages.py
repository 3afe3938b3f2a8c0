# SPDX-License-Identifier: Apache-2.0
"""Languages: the one that a user has chosen, and what is written in one, by its English text.

There is a catalog for each language but English. Texts that it does not have, as those that a site has written itself,
are told as they are.
"""

from ..errors import GuardError
from .catalog import folded, read_catalog
from .files import read_policy_file
from .installation import catalogs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Mapping, Tuple

    from ..model import Rule

ENGLISH = 'en'
_OF_REFUSALS = 'refusal'  # what a catalog says (#:) of an entry that refusals need beside the texts of rules
_NEUTRAL = ('C', 'POSIX')
_VARIABLES = ('LC_ALL', 'LC_MESSAGES', 'LANG')  # the first one that is set counts


def catalog_paths(language: str) -> 'List[str]':
    """The files that the texts of a language come from; none for English."""
    return [path for known, path in catalogs().items() if known == language]


def texts_of(language: str) -> 'Dict[str, str]':
    """All that is written in a language, by its English text; nothing for English.

    :raises GuardError: its catalog cannot be used
    """
    texts: 'Dict[str, str]' = {}
    for path in catalog_paths(language):
        entries = read_catalog(read_policy_file(path, 'the catalog'), path)
        texts.update((entry.text, entry.translation) for entry in entries if entry.translation and not entry.is_fuzzy)
    return texts


def texts_of_refusals(
    language: str, rules: 'Iterable[Rule]', read: 'Callable[[str], bytes]'
) -> 'Tuple[Dict[str, str], str]':
    """What a refusal by these rules needs of a language other than English, and ''; or nothing, and why: a start is
    not refused because a translation is missing.

    :param read: reads the catalog
    """
    paths = catalog_paths(language)
    if not paths:
        return {}, 'its catalog is missing'
    try:
        entries = [entry for path in paths for entry in read_catalog(read(path), path)]
    except GuardError as error:
        return {}, str(error)
    needed = {folded(text) for rule in rules for text in (rule.title, rule.remedy)}
    texts = {
        entry.text: entry.translation
        for entry in entries
        if entry.translation and not entry.is_fuzzy and (entry.text in needed or _OF_REFUSALS in entry.uses)
    }
    return texts, ''


def chosen_language(environment: 'Mapping[str, str]') -> str:
    """The language that the locale asks for, of those that there are; English where it asks for none of them.

    As gettext does it, LANGUAGE may list several, but only if a locale is set.
    """
    locale = next((environment[name] for name in _VARIABLES if environment.get(name)), '')
    if not locale or _language_in(locale) in _NEUTRAL:
        return ENGLISH
    known = {ENGLISH, *catalogs()}
    wanted = [name for name in environment.get('LANGUAGE', '').split(':') if name] or [locale]
    return next((language for language in map(_language_in, wanted) if language in known), ENGLISH)


def _language_in(locale: str) -> str:
    """`ja` in `ja_JP.UTF-8@modifier`."""
    for mark in '.@_':
        locale = locale.partition(mark)[0]
    return locale
