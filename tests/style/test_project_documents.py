# SPDX-License-Identifier: Apache-2.0
"""README and its like say what is so: links lead somewhere, tables are those of the code, quoted texts are in it."""

import ast
import re

import pytest
from support.paths import CHECKOUT
from test_imports import MAY_IMPORT, ON_THE_WAY, PACKAGE
from virtguard import __version__

CONTRIBUTING = CHECKOUT / 'CONTRIBUTING.md'
DOCUMENTS = sorted([*CHECKOUT.glob('*.md'), *(CHECKOUT / 'doc').rglob('*.md'), *(CHECKOUT / 'packaging').rglob('*.md')])
FENCED = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')


def text_of(path):
    return path.read_text(encoding='utf-8')


def section(path, title):
    found = re.search(r'^## %s\n(.*?)(?=^## |\Z)' % re.escape(title), text_of(path), re.MULTILINE | re.DOTALL)
    assert found, title
    return found.group(1)


def rows(text):
    """The cells of a table, without its head."""
    lines = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def anchors(path):
    """What a link may have behind #, as GitHub makes it of headings."""
    titles = re.findall(r'^#+ (.*)$', FENCED.sub('', text_of(path)), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path):
    for link in LINK.findall(FENCED.sub('', text_of(path))):
        if link.startswith('https://'):
            continue
        name, _, anchor = link.partition('#')
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_can_be_reached_from_readme():
    reached, left = set(), [CHECKOUT / 'README.md']
    while left:
        path = left.pop()
        if path.is_dir():
            path = path / 'README.md'
        if path in reached or path.suffix != '.md':
            continue
        reached.add(path)
        links = LINK.findall(FENCED.sub('', text_of(path)))
        left += [(path.parent / link.partition('#')[0]).resolve() for link in links if '://' not in link]
    assert reached == set(DOCUMENTS)


def test_readme_is_short_and_has_every_section_of_the_list():
    readme = CHECKOUT / 'README.md'
    assert len(text_of(readme).splitlines()) <= 150
    table = rows(section(readme, 'What is caught, and where'))
    assert len(table) == 20
    shipped = set(re.findall(r'^  - id: (\S+)$', text_of(CHECKOUT / 'data/profiles/rhel-8.yaml'), re.MULTILINE))
    assert {rule for _, rules, _ in table for rule in re.findall(r'`([\w-]+)`', rules)} == shipped


def test_the_table_of_imports_is_that_of_the_test():
    told = {name: set(allowed.split(', ')) for name, allowed in rows(section(CONTRIBUTING, 'Who may import whom'))}
    for allowed in told.values():
        for below in ('reporting', 'health'):
            if 'those of ' + below in allowed:
                allowed.remove('those of ' + below)
                allowed |= told[below]
    assert told == {name or 'ground': {other or 'ground' for other in allowed} for name, allowed in MAY_IMPORT.items()}
    named = re.search(r'`([\w\s]+)`\. Every start pays', section(CONTRIBUTING, 'Who may import whom')).group(1)
    assert set(named.split()) == ON_THE_WAY


def test_the_layout_has_every_directory():
    told = ' '.join(row[0] for row in rows(section(CONTRIBUTING, 'Layout')))
    directories = [str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.glob('**/__init__.py')]
    assert sorted(re.findall(r'`lib/virtguard/([\w/]+)/`', told)) == sorted(directories)[1:]
    for name in re.findall(r'`([\w./-]+)`', told):
        assert (CHECKOUT / name).exists(), name


def test_the_architecture_names_modules_that_are_there():
    text = FENCED.sub('', text_of(CHECKOUT / 'doc' / 'architecture.md'))
    directories = '|'.join(path.name for path in PACKAGE.iterdir() if (path / '__init__.py').exists())
    named = set(re.findall(r'`((?:%s)/[\w/]+)`' % directories, text))
    assert len(named) >= 30
    modules = {name for name in named if not (PACKAGE / name).is_dir()}
    assert [name for name in sorted(modules) if not (PACKAGE / (name + '.py')).exists()] == []


def texts_of_the_code():
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_bytes())):
            value = getattr(node, 'value', None) if isinstance(node, ast.Constant) else getattr(node, 's', None)
            if isinstance(value, str):
                yield value


def test_the_examples_of_style_are_texts_of_the_code():
    table = rows(section(CONTRIBUTING, 'Style: plain English'))
    texts = set(texts_of_the_code())
    assert len(table) == 10
    assert [good for _, good in table if good not in texts] == []
    assert [bad for bad, _ in table if bad in texts] == []


def test_the_changelog_goes_with_the_version():
    """The newest heading is the version of the package, or says that it is still to come."""
    newest, remark = re.search(
        r'^## (\d+\.\d+\.\d+) \((.*)\)$', text_of(CHECKOUT / 'CHANGELOG.md'), re.MULTILINE
    ).groups()

    def numbers(version):
        return tuple(map(int, version.split('.')))

    if remark == 'unreleased':
        assert numbers(newest) > numbers(__version__)
    else:
        assert newest == __version__ and re.match(r'\d{4}-\d\d-\d\d$', remark)
