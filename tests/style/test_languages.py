# SPDX-License-Identifier: Apache-2.0
"""The catalogs have the texts of all shipped rules, and nothing that nobody says; what they say fits the English."""

import ast
import re

import pytest
from support import made
from support.paths import CHECKOUT, LIB
from virtguard import model, wording
from virtguard.policy import layer, load
from virtguard.policy.catalog import folded, read_catalog
from virtguard.policy.files import read_policy_file
from virtguard.policy.installation import LANGUAGES, catalogs, profiles
from virtguard.policy.languages import ENGLISH, texts_of_refusals

CATALOGS = {path.stem: path for path in sorted((CHECKOUT / 'data/languages').glob('*.po'))}
ENTRIES = {language: read_catalog(path.read_bytes(), path.name) for language, path in CATALOGS.items()}
# What stays as it is in every language: XML, and what is typed or written in a policy.
KEPT = re.compile(r'<[^<>]+>|`[^`]+`|\bvirsh [a-z-]+|\bvirt-guard (?:(?:policy|waiver) )?[a-z]+|--[a-z][a-z-]+')


def rules_of(name):
    return load.as_if_in_force(profiles()[name]).rules


def texts_of_rules():
    """Each text of a shipped rule, and the rules that have it."""
    texts = {}
    for name in profiles():
        data = (CHECKOUT / 'data/profiles' / (name + '.yaml')).read_bytes()
        for given in layer.read_layer(data, name).rules or ():
            for key in ('title', 'why', 'remedy'):
                if key in given.value:
                    text = folded(given.value[key].value)
                    texts.setdefault(text, []).append('%s of %s in %s' % (key, given.value['id'].value, name))
    return texts


def said_by_the_program():
    """All texts in the code, with those that are put together from constants."""
    said = set()
    for path in LIB.glob('virtguard/**/*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            text = getattr(node, 'value', getattr(node, 's', None))
            if isinstance(text, str):
                said.add(folded(text))
    return said


def test_the_languages_are_those_with_a_catalog():
    assert set(LANGUAGES) == {ENGLISH, *CATALOGS} == {ENGLISH, *catalogs()}


@pytest.mark.parametrize('language', CATALOGS)
def test_every_text_of_a_rule_is_there(language):
    known = {entry.text for entry in ENTRIES[language] if entry.translation and not entry.is_fuzzy}
    missing = {text: places for text, places in texts_of_rules().items() if text not in known}
    assert not missing, '%d texts are missing, such as %r' % (len(missing), dict(list(missing.items())[:5]))


@pytest.mark.parametrize('language', CATALOGS)
def test_nobody_has_changed_the_english(language):
    """Entries for texts that no rule and no module has any more."""
    known = texts_of_rules()
    stale = [entry for entry in ENTRIES[language] if not entry.uses and entry.text not in known]
    assert [(entry.line, entry.text) for entry in stale] == []


@pytest.mark.parametrize('language', CATALOGS)
def test_what_stands_in_it_is_translated(language):
    assert [entry.line for entry in ENTRIES[language] if not entry.translation or entry.is_fuzzy] == []
    assert [entry.line for entry in ENTRIES[language] if not entry.translation.isprintable()] == []


@pytest.mark.parametrize('language', CATALOGS)
def test_xml_and_commands_stay_as_they_are(language):
    different = []
    for entry in ENTRIES[language]:
        lost = [kept for kept in KEPT.findall(entry.text) if kept.strip() not in entry.translation]
        different += [(entry.line, lost)] if lost else []
    assert different == []


@pytest.mark.parametrize('language', CATALOGS)
def test_a_refusal_is_told_as_a_whole(language):
    """Every phrase that a refusal is made of is marked, so that the compiled policy has it."""
    texts, problem = texts_of_refusals(language, rules_of('rhel-8'), read_policy_file)
    assert not problem
    asked = set()

    class Asked(dict):
        def get(self, text, default=None):
            asked.add(text)
            return dict.get(self, text, default)

    rule = made.rule('/domain/x', 'tcg', title='TCG software emulation', remedy='mend it')
    long = [made.finding(rule, evidence='漢' * 200) for _ in range(16)]
    waiver = made.waiver(expires='2020-01-01')
    expired = model.Phrase(
        '%s (%s)', model.Phrase(rule.title), model.Phrase('its waiver by %s expired on %s', 'a', 'b')
    )
    ahead = 'more than %d days ahead, so not in force: its waiver by %s until %s'
    by_name = 'by its name; the file is not here to be looked at'
    messages = [expired, model.Phrase(ahead, 400, waiver.approved_by, 'c'), model.Phrase(by_name)]
    error = model.Phrase('the rule could not be evaluated: %s', 'e')
    for findings in (
        [made.finding(rule, more=3)],
        [made.finding(rule, message=message) for message in messages],
        [made.finding(rule, model.ERROR, message=error)],
        long,
    ):
        verdict = made.verdict(*findings)
        verdict.policy.texts = Asked(texts)
        text = wording.refusal(verdict)
        assert text.startswith('virt-guard: ')
    asked -= {'mend it', rule.title, '%s (%s)'}
    assert {text for text in asked if text not in texts} == set()


@pytest.mark.parametrize('language', CATALOGS)
def test_the_program_says_what_is_translated(language):
    said = said_by_the_program()
    of_program = [entry.text for entry in ENTRIES[language] if entry.uses]
    # What is counted is a word of its own in the code.
    assert [text for text in of_program if said.isdisjoint((text, text[3:], text[3:-1]))] == []
