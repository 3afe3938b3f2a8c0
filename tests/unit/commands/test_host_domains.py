# SPDX-License-Identifier: Apache-2.0
"""The domains of this host by name and UUID; and what a word of the command line stands for."""

import os

import pytest
from virtguard.commands.domains import host_domains
from virtguard.commands.domains.domain_files import DomainFile
from virtguard.commands.domains.host_domains import HostDomains, as_text
from virtguard.commands.domains.named import definitions, files_or_domains
from virtguard.errors import GuardError
from virtguard.policy.installation import Installation

WEB, DB = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10', 'AAAAAAAA-6f3c-4b5e-9c43-6a3f6e1b7a11'
ODD = [
    '7',
    'check',
    '-x',
    'a b',
    "it's",
    'x.xml',
    '..',
    '.',
    '[a]*',
    os.fsdecode('ü'.encode()),
    '\udcff',
    'a\tb',
    'WEB07',
    '-',
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An installation below a directory, with libvirt's directories; the working directory is another one, empty."""
    installation = Installation('', True, str(tmp_path))
    for path in (installation.domains + '/networks', installation.run, str(tmp_path / 'work')):
        os.makedirs(path)
    monkeypatch.chdir(tmp_path / 'work')
    return installation


def define(here, name, uuid='', before='', runs=False):
    path = os.path.join(here.run if runs else here.domains, name + '.xml')
    domain = '%s<domain><name>%s</name><uuid>%s</uuid><title/></domain>' % (before, 'inside', uuid)
    with open(path, 'w') as file:
        file.write('<domstatus><uuid>no</uuid>%s</domstatus>' % domain if runs else domain)
    return path


def test_by_name(here):
    definition, status = define(here, 'web07', WEB), define(here, 'web07', WEB, runs=True)
    transient = define(here, 'gone', DB, runs=True)
    web, gone = HostDomains(here).find('web07'), HostDomains(here).find('gone')
    assert (web.name, web.definition, web.status) == ('web07', definition, status)
    assert (gone.name, gone.definition, gone.status) == ('gone', '', transient)
    assert web.identity() == ('inside', WEB)
    assert gone.identity() == ('inside', DB.lower())
    assert HostDomains(here).names() == ['gone', 'web07']
    for word in ('web', 'networks', '', '../qemu/web07', 'web07.xml'):
        assert HostDomains(here).find(word) is None


@pytest.mark.parametrize('name', ODD)
def test_odd_names(here, name):
    for defined in ODD:
        define(here, defined)
    assert HostDomains(here).find(name).definition == '%s/%s.xml' % (here.domains, name)
    assert sorted(HostDomains(here).names()) == sorted(ODD)
    assert HostDomains(here).find('a' * 5000) is None


def test_by_uuid(here):
    define(here, 'other', DB)
    define(here, 'broken', before='<no ')
    os.mkfifo(here.domains + '/fifo.xml')
    # Whoever names a domain can have nearly anything in the comment that libvirt writes before it.
    define(here, 'bad', DB.replace('1', '2'), before='<!-- <domain ><uuid>%s</uuid> -->' % WEB)
    define(here, 'web07', WEB, runs=True)
    domains = HostDomains(here)
    assert [domains.find(word).name for word in (WEB, WEB.upper(), WEB.replace('-', ''))] == ['web07'] * 3
    assert domains.find(DB).name == 'other'
    assert domains.find(WEB.replace('5', '6')) is None
    define(here, DB, WEB)
    assert HostDomains(here).find(DB).name == 'other', 'a UUID is stronger than a name'
    define(here, WEB.replace('5', '6'))
    assert HostDomains(here).find(WEB.replace('5', '6')).name == WEB.replace('5', '6')


def test_what_a_waiver_is_written_for(here):
    """Name and UUID are those in the XML: what libvirt gives the hook."""
    decoy = '<!-- <domain ><name>decoy</name><uuid>%s</uuid> -->' % WEB
    define(here, 'file', DB, before=decoy)
    domain = HostDomains(here).find(DB)
    assert (domain.name, domain.identity()) == ('file', ('inside', DB.lower()))


@pytest.mark.parametrize(
    'word, hint',
    [
        ('web7', "did you mean 'web07'?"),
        ('Web07', "did you mean 'web07'?"),
        ('web07.xml', "did you mean 'web07'?"),
        ('db', "did you mean 'db1' or 'db2' or 'db3'?"),
        ('xyzzy', "'virsh list --all' names the domains of this host"),
        ('99', "'virsh list --all' names the domains of this host; a number is a name here, not an ID of virsh"),
    ],
)
def test_suggestions(here, word, hint):
    for name in ('web07', 'db1', 'db2', 'db3', 'db444444'):
        define(here, name)
    with pytest.raises(GuardError) as raised:
        HostDomains(here).require(word)
    assert raised.value.hint == hint


def test_many_wrong_words_among_many_names_end_soon(here, monkeypatch):
    monkeypatch.setattr(host_domains, '_COMPARISONS', 5)
    for name in ('web07', 'db1', 'db2'):
        define(here, name)
    domains = HostDomains(here)
    hints = [domains.suggest('wbe07') for _ in range(3)]
    assert hints == ["did you mean 'web07'?"] * 2 + ["'virsh list --all' names the domains of this host"]
    assert domains.suggest('web0') == "did you mean 'web07'?"


def test_suggestions_where_there_is_nothing(here):
    with pytest.raises(GuardError, match='no domain is defined here: there is no'):
        HostDomains(here).require('web07')


def test_a_name_is_text_in_every_locale():
    assert as_text(os.fsdecode('ü'.encode())) == 'ü'
    assert as_text(os.fsdecode(b'\xff')) == '\udcff'


# What a word stands for


def resolved(here, *words):
    notes = []
    found = files_or_domains(words, here, notes.append)
    return [item.skipped or item.name if isinstance(item, DomainFile) else 'path ' + item for item in found], notes


def test_a_domain_is_a_file_of_libvirt(here):
    definition = define(here, 'web07', WEB)
    assert resolved(here, 'web07', WEB) == ([definition] * 2, [])
    status = define(here, 'web07', WEB, runs=True)
    note = "'web07' is judged as it runs; 'virt-guard scan' judges its definition, which its next start takes"
    assert resolved(here, 'web07', WEB) == ([status] * 2, [note])
    assert [file.name for file in definitions(['web07', WEB], here)] == [definition] * 2
    transient = define(here, 'gone', runs=True)
    assert [file.name for file in definitions(['gone'], here)] == [transient]


def test_a_file_and_a_domain_of_the_same_name(here):
    for name in ('web07', 'x', 'x.xml'):
        define(here, name)
    for name in ('web07', 'x.xml', 'only'):
        with open(name, 'w'):
            pass
    words = ['./web07', 'only', '-', 'x.xml', os.path.abspath('web07'), '/nonexistent/web07']
    assert resolved(here, *words) == (['path ' + word for word in words], [])
    note = "'web07' is taken for the domain of this host; for the file, type ./web07"
    assert resolved(here, 'web07') == ([here.domains + '/web07.xml'], [note])
    os.unlink('x.xml')
    assert resolved(here, 'x.xml') == ([here.domains + '/x.xml.xml'], [])


def test_a_name_that_is_neither_a_file_nor_a_domain(here):
    define(here, 'web07')
    (told,), _ = resolved(here, 'web7')
    assert told == "there is neither a file nor a domain of this host with this name (did you mean 'web07'?)"
    (file,) = definitions(['web7'], here)
    assert file.skipped == "no domain of this host has the name or UUID 'web7' (did you mean 'web07'?)"
    with open('file', 'w'):
        pass
    (file,) = definitions(['file'], here)
    assert file.skipped == "it is a file, not a domain of this host; type 'virt-guard check' for a file"
