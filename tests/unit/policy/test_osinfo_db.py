# SPDX-License-Identifier: Apache-2.0
"""Release dates of operating systems: the reader of osinfo-db, the shipped table, and how they go together."""

import os

import osinfo_table  # the script, not the table
import pytest
from virtguard.policy import os_releases, osinfo_db
from virtguard.policy.osinfo_db import read_database
from virtguard.policy.osinfo_names import IDS
from virtguard.policy.osinfo_table import RELEASED, VERSION

YEAR_2009 = '2009-01-01'
SYSTEM, LOCAL = 'usr/share/osinfo', 'etc/osinfo'
HOST_VERSION = read_database('').version
needs_osinfo_db = pytest.mark.skipif(
    not HOST_VERSION and not os.environ.get('CI'), reason='there is no osinfo-db on this host'
)


def entry(id, date=None, more=''):
    dated = '<release-date>%s</release-date>' % date if date else ''
    return '<os id="%s"><short-id>x</short-id>%s%s</os>' % (id, dated, more)


@pytest.fixture
def root(tmp_path):
    """A function that writes one file of a database below `tmp_path`, which it returns."""

    def write(path, *entries, xml='<libosinfo version="0.0.1">%s</libosinfo>'):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(xml if isinstance(xml, bytes) else xml.replace('%s', ''.join(entries)).encode('utf-8'))
        return str(tmp_path)

    return write


# --- reading


def test_entries_of_a_database(root):
    root(SYSTEM + '/VERSION', xml='20221203\n')
    root(SYSTEM + '/os/a.org/a-1.xml', entry('http://a.org/a/1', '2001-02-03'))
    path = root(SYSTEM + '/os/b.org/b.xml', entry('http://b.org/b/1', '2010-01-01'), entry('http://b.org/b/2'))
    database = read_database(path)
    assert database.released == {'http://a.org/a/1': '2001-02-03', 'http://b.org/b/1': '2010-01-01'}
    assert (database.version, database.problems) == ('20221203', [])


def test_an_entry_that_is_split(root):
    """As Windows 7 is: its drivers are in files of their own, under the same id and without a date."""
    root(SYSTEM + '/os/m.com/win-7.xml', entry('http://m.com/win/7', '2009-10-22'))
    path = root(SYSTEM + '/os/m.com/win-7.d/drivers.xml', entry('http://m.com/win/7', more='<driver/>'))
    assert read_database(path).released == {'http://m.com/win/7': '2009-10-22'}


def test_the_earlier_of_two_dates_counts(root):
    root(SYSTEM + '/os/a.org/a.xml', entry('http://a.org/a', '2008-12-31'))
    for name in ('0.xml', 'z.xml'):
        path = root(LOCAL + '/os/a.org/' + name, entry('http://a.org/a', '2012-01-01'))
        assert read_database(path).released == {'http://a.org/a': '2008-12-31'}


def test_the_administrators_file_replaces_that_of_the_same_name(root):
    root(SYSTEM + '/os/a.org/a.xml', entry('http://a.org/a', '2008-12-31'))
    path = root(LOCAL + '/os/a.org/a.xml', entry('http://a.org/a', '2012-01-01'))
    assert read_database(path).released == {'http://a.org/a': '2012-01-01'}
    path = root(LOCAL + '/os/own.xml', entry('http://example.com/appliance', '1999-01-01'))
    assert read_database(path).released['http://example.com/appliance'] == '1999-01-01'


def test_other_files_and_elements_mean_nothing(root):
    root(SYSTEM + '/os/a.org/a.xml~', entry('http://a.org/a', '2001-01-01'))
    root(SYSTEM + '/device/a.org/a.xml', entry('http://a.org/a', '2001-01-01'))
    nested = '<variant><release-date>2001-01-01</release-date></variant>'
    root(
        SYSTEM + '/os/a.org/b.xml', entry('http://a.org/b', more=nested), '<!--%s-->' % entry('http://c', '2001-01-01')
    )
    path = root(SYSTEM + '/os/a.org/c.xml', '<os xmlns="urn:x" id="http://d"/>', '<device id="http://e"/>')
    assert (read_database(path).released, read_database(path).problems) == ({}, [])


def test_no_database(tmp_path):
    database = read_database(str(tmp_path))
    assert (database.version, database.released, database.problems) == ('', {}, [])


BROKEN = {
    'not XML': b'<libosinfo><os>',
    'is not XML': b'\xff\xfe',  # the mark of UTF-16, and nothing behind it
    "'sometime' of http://a is not a date": entry('http://a', 'sometime').join(['<l>', '</l>']).encode(),
    'larger than': b'<l>' + b' ' * 1100000 + b'</l>',
}


@pytest.mark.parametrize('complaint', sorted(BROKEN))
def test_a_broken_file_is_named_and_the_others_are_read(root, complaint):
    root(SYSTEM + '/os/a.org/a.xml', entry('http://a.org/a', '2001-01-01'))
    path = root(SYSTEM + '/os/broken.xml', xml=BROKEN[complaint])
    for before in ('', YEAR_2009):
        database = read_database(path, before)
        assert database.released == {'http://a.org/a': '2001-01-01'}
        (problem,) = database.problems
        assert complaint in problem and 'os/broken.xml' in problem


def test_files_that_must_not_be_followed(root, tmp_path):
    """A pipe must not hang the reader, nor entities make it read or grow."""
    path = root(SYSTEM + '/os/a.org/a.xml', entry('http://a.org/a', '2001-01-01'))
    os.mkfifo(str(tmp_path / SYSTEM / 'os/pipe.xml'))
    (tmp_path / SYSTEM / 'os/loop').symlink_to('.')
    (tmp_path / 'date').write_text('2001-01-01')
    doctype = '<!DOCTYPE l [<!ENTITY d SYSTEM "file://%s/date">]>' % tmp_path
    root(SYSTEM + '/os/entity.xml', xml=doctype + '<l><os id="http://e"><release-date>&d;</release-date></os></l>')
    database = read_database(path)
    assert database.released == {'http://a.org/a': '2001-01-01'}
    assert [problem for problem in database.problems if 'pipe.xml is not a regular file' in problem]


@pytest.mark.parametrize('writable', [SYSTEM + '/os/a.org/a.xml', SYSTEM + '/os/a.org'])
def test_release_dates_in_files_that_others_can_write_are_not_used(root, tmp_path, writable):
    path = root(SYSTEM + '/os/a.org/a.xml', entry('http://a.org/a', '2001-01-01'))
    (tmp_path / writable).chmod(0o777)
    database = read_database(path)
    assert database.released == {}
    assert 'can be written by others' in database.problems[0]


# --- what need not be parsed

WRITTEN = {
    'plainly': entry('http://a', '%s'),
    'with blanks': entry('http://a', ' %s\n'),
    'by references': '<os id="http://a"><release-date>&#50;%s</release-date></os>',
    'beside a later one': entry('http://b', '2011-11-11') + entry('http://a', '%s'),
    'as text without markup': '<os id="http://a"><release-date><![CDATA[%s]]></release-date></os>',
    'with an attribute': '<os id="http://a"><release-date xml:lang="en">%s</release-date></os>',
}


@pytest.mark.parametrize('form', sorted(WRITTEN))
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'iso-8859-1'])
def test_a_date_is_found_however_it_is_written(root, form, encoding):
    for date, found in (('2008-12-31', True), (YEAR_2009, False)):
        written = WRITTEN[form] % (date[1:] if form == 'by references' else date)
        text = '<?xml version="1.0" encoding="%s"?><l>%s</l>' % (encoding, written)
        path = root(SYSTEM + '/os/a.xml', xml=text.encode(encoding))
        database = read_database(path, YEAR_2009)
        assert database.problems == []
        assert (database.released.get('http://a', YEAR_2009) < YEAR_2009) == found


@needs_osinfo_db
@pytest.mark.parametrize('date', ['1990-01-01', YEAR_2009, '2100-01-01'])
def test_leaving_out_new_files_loses_no_old_system(date):
    everything = read_database('').released
    assert len(everything) > 600
    selected = read_database('', date).released
    assert {id for id in selected if selected[id] < date} == {id for id in everything if everything[id] < date}


# --- the answer


def test_table_and_database_complete_each_other(root):
    debian, fedora = 'http://debian.org/debian/4', 'http://fedoraproject.org/fedora/40'
    root(SYSTEM + '/VERSION', xml='20991231\n')
    root(SYSTEM + '/os/a.xml', entry('http://a', '1999-01-01'), entry(debian, '2020-01-01'))
    path = root(SYSTEM + '/os/broken.xml', xml='<l>')
    answer = osinfo_db.known_released_before(YEAR_2009, path)
    assert set(answer.values) == set(os_releases.released_before(YEAR_2009).values) | {'http://a'}
    assert debian in answer.values and fedora not in answer.values
    assert answer.values == tuple(sorted(answer.values))
    assert '20991231' in answer.source and VERSION in answer.source
    assert len(answer.problems) == 1


def test_without_a_database_the_table_answers(tmp_path):
    answer = osinfo_db.known_released_before(YEAR_2009, str(tmp_path))
    assert answer.values == os_releases.released_before(YEAR_2009).values
    assert 'this host' not in answer.source and VERSION in answer.source
    assert {'http://slackware.com/slackware/12.2', 'http://redhat.com/rhel/5.2'} <= set(answer.values)


def test_systems_without_a_release_date_are_known_too(root):
    root(SYSTEM + '/VERSION', xml='20991231\n')
    root(SYSTEM + '/os/a.xml', entry('http://a/1', '1999-01-01'), entry('http://a/2'), entry('http://a/unknown'))
    root(
        SYSTEM + '/os/b.xml', xml='<l><os\n id=\'http://b/1\'/><os id="http://b/&#50;"><short-id>b</short-id></os></l>'
    )
    root(
        SYSTEM + '/os/c.xml',
        xml=('<?xml version="1.0" encoding="utf-16"?><l>%s</l>' % entry('http://c')).encode('utf-16'),
    )
    path = root(SYSTEM + '/os/broken.xml', xml='<l><os>')
    root(LOCAL + '/os/own.xml', entry('http://own'))
    answer = osinfo_db.known_systems(path)
    table = set(os_releases.known_systems().values)
    assert set(answer.values) - table == {
        'http://a/1',
        'http://a/2',
        'http://b/1',
        'http://b/2',
        'http://c',
        'http://own',
    }
    assert table <= set(answer.values) and answer.values == tuple(sorted(answer.values))
    assert '20991231' in answer.source and VERSION in answer.source
    assert {'http://microsoft.com/win/11', 'http://debian.org/debian/testing', *RELEASED} <= table
    assert not [id for id in answer.values if 'unknown' in id]


@pytest.mark.parametrize('writable', [SYSTEM + '/os/a.xml', SYSTEM + '/os'])
def test_systems_in_files_that_others_can_write_stay_unknown(root, tmp_path, writable):
    path = root(SYSTEM + '/os/a.xml', entry('http://a'))
    assert 'http://a' in osinfo_db.known_systems(path).values
    (tmp_path / writable).chmod(0o777)
    assert osinfo_db.known_systems(path).values == os_releases.known_systems().values


def test_the_day_itself_is_not_before():
    date = RELEASED['http://redhat.com/rhel/5.2']
    assert 'http://redhat.com/rhel/5.2' not in os_releases.released_before(date).values
    assert 'http://redhat.com/rhel/5.2' in os_releases.released_before(date[:-1] + '9').values


# --- what makes it stale


def snapshot(root):
    def state(path):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    return {path: state(path) for path in osinfo_db.sources(root)}


def replace(path, text):
    new = path.with_name(path.name + '.dpkg-new')
    new.write_text(text)
    new.rename(path)


CHANGES = {
    'update of the package': lambda root: replace(root / SYSTEM / 'VERSION', '20250619'),
    'removal of the package': lambda root: (root / SYSTEM / 'VERSION').unlink(),
    'another vendor': lambda root: (root / SYSTEM / 'os/new.org').mkdir(),
    'addition': lambda root: (root / LOCAL / 'os/own.xml').write_text('x'),
    'edit': lambda root: (root / LOCAL / 'os/a.org/a.xml').write_text('longer than before'),
    'deletion': lambda root: (root / LOCAL / 'os/a.org/a.xml').unlink(),
}


@pytest.mark.parametrize('change', sorted(CHANGES))
def test_a_change_shows(root, tmp_path, change):
    root(SYSTEM + '/VERSION', xml='20221203')
    root(LOCAL + '/os/a.org/a.xml', entry('http://a'))
    path = root(SYSTEM + '/os/b.xml', entry('http://b'))
    before = snapshot(path)
    assert before == snapshot(path)
    CHANGES[change](tmp_path)
    assert before != {path: snapshot(str(tmp_path)).get(path) for path in before}


def test_a_first_database_shows(root, tmp_path):
    before = snapshot(str(tmp_path))
    assert set(before.values()) == {None}
    for path in (LOCAL + '/os/a.xml', SYSTEM + '/VERSION'):
        state = snapshot(str(tmp_path))
        root(path, entry('http://a'))
        assert state != {path: snapshot(str(tmp_path))[path] for path in state}


# --- the shipped table


def test_table_is_what_its_script_makes(root):
    root(SYSTEM + '/VERSION', xml=VERSION + '\n')
    path = root(SYSTEM + '/os/all.xml', *[entry(id, date) for id, date in RELEASED.items()])
    assert osinfo_table.TABLE.read_text(encoding='utf-8') == osinfo_table.render(path)


def test_table_of_names_is_what_its_script_makes(root):
    systems = {}
    for short, id in IDS.items():
        systems.setdefault(id, []).append('<short-id>%s</short-id>' % short)
    entries = ['<os id="%s">%s</os>' % (id, ''.join(shorts)) for id, shorts in systems.items()]
    path = root(SYSTEM + '/os/all.xml', *entries)
    assert osinfo_table.NAMES.read_text(encoding='utf-8') == osinfo_table.render_names(path)


def test_a_broken_database_is_not_made_into_a_table(root):
    with pytest.raises(SystemExit, match='there is no osinfo-db'):
        osinfo_table.render(root('etc/x', xml=''))
    with pytest.raises(SystemExit, match='is not XML'):
        osinfo_table.render(root(SYSTEM + '/os/a.xml', xml='<l>'))


@needs_osinfo_db
def test_table_agrees_with_the_hosts_osinfo_db():
    """The whole table, where it was made of this version; else that no older one knows more of what is old."""
    if HOST_VERSION == VERSION:
        assert osinfo_table.TABLE.read_text(encoding='utf-8') == osinfo_table.render('')
    database = read_database('')
    assert database.problems == []
    if HOST_VERSION <= VERSION:
        assert osinfo_db.known_released_before(YEAR_2009).values == os_releases.released_before(YEAR_2009).values
