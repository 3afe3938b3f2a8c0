# SPDX-License-Identifier: Apache-2.0
"""The page for Cockpit: what it shows of this host, and that it changes waivers by `virt-guard waiver` alone."""

import datetime
import re

import cockpit_page
import pytest
from domains import VIRTIOFS, device, domain
from guarded import GuardedMachine

pytestmark = pytest.mark.live

# As a domain's owner may call it, who would like to run something in an administrator's browser or shell.
HOSTILE = '<img src=x onerror=document.title=1> $(touch x) --until=x'


@pytest.fixture(scope='module')
def machine(tmp_path_factory):
    with GuardedMachine(tmp_path_factory.mktemp('cockpit')) as machine:
        machine.install('--no-deps')
        for name in ('legacy', HOSTILE):
            machine.define(domain(name, device(VIRTIOFS)))
            assert machine.try_start(name).returncode == 1
        machine.define(domain('clean'))
        machine.virsh('autostart', 'legacy')
        machine.virsh('autostart', 'clean')
        yield machine


@pytest.fixture(scope='module')
def page(machine):
    """In a session of root."""
    with cockpit_page.opened(machine, '--local-session=/usr/bin/cockpit-bridge') as page:
        page.open()
        yield page


def test_status_is_shown_with_what_mends_it(page):
    assert page.text('#headline') == 'The guard is not in force as it should be.'
    shown = page.text('#status')
    assert re.search(r'watch: nobody watches running domains.*\nTo mend it: virt-guard watch', shown)
    assert re.search('What is fine: [1-9]', shown)
    assert page.evaluate("document.getElementById('limited').hidden")


def test_refused_starts_are_shown_with_their_remedies(page):
    assert page.evaluate("document.querySelectorAll('#refused tbody tr').length") == 2
    page.evaluate("document.querySelectorAll('#refused details').forEach(each => { each.open = true; })")
    shown = page.text('#refused')
    assert HOSTILE in shown and 'legacy' in shown
    assert 'virtiofs: virtiofs shared directory' in shown
    assert 'Remedy: ' in shown
    assert page.evaluate("document.querySelectorAll('img').length + document.title") == '0VM admission'


def test_what_the_next_boot_refuses_is_shown(page):
    assert page.evaluate("document.querySelectorAll('#next tbody tr').length") == 1
    page.evaluate("document.querySelector('#next details').open = true")
    assert re.search(
        r'legacy\s+virtiofs\s+virtiofs: virtiofs shared directory\s+<driver type="virtiofs">', page.text('#next')
    )


def grant(page, name, reason):
    script = "[...document.querySelectorAll('#refused tr')].find(row => row.innerText.includes(%r))" % name
    page.evaluate(script + ".querySelector('button').click()")
    assert page.evaluate("document.getElementById('dialog').open")
    assert page.evaluate("[...document.querySelectorAll('#rules :checked')].map(box => box.value).join()") == 'virtiofs'
    page.type('#reason', reason)


SUBMIT = "document.getElementById('form').requestSubmit()"


def of_row(text, button):
    row = "[...document.querySelectorAll('#waivers tr')].find(row => row.innerText.includes(%r))" % text
    return "[...%s.querySelectorAll('button')].find(each => each.textContent.startsWith(%r)).click()" % (row, button)


def test_a_waiver_is_granted_renewed_and_removed(page):
    for name in ('legacy', '<img src=x'):
        grant(page, name, 'moves to "NFS"; $(id)')
        page.do(SUBMIT)
        assert not page.evaluate("document.getElementById('dialog').open")
    said = page.host.run(['virt-guard', 'waiver', 'list']).stdout
    assert said.count('virtiofs for') == 2 and 'moves to "NFS"; $(id)' in said and HOSTILE in said
    assert 'days left: 30' in page.text('#waivers')
    assert page.text('#next') == 'Nothing. Domains judged, which run or start with the host: 2'

    page.evaluate(of_row('legacy', 'Renew'))
    day = (datetime.date.today() + datetime.timedelta(days=60)).isoformat()
    page.type('#until', day)
    page.do(SUBMIT)
    assert day in page.text('#waivers')
    assert 'until ' + day in page.host.run(['virt-guard', 'waiver', 'list']).stdout

    for name in ('legacy', '<img src=x'):
        page.evaluate(of_row(name, 'Remove'))
        page.do(SUBMIT)
    assert page.text('#waivers') == 'None.'
    assert page.host.run(['virt-guard', 'waiver', 'list']).stdout == '0 waivers\n'


def test_what_cannot_be_granted_is_said_in_the_dialog(page):
    grant(page, 'legacy', 'never')
    page.type('#until', '2001-01-01')
    page.evaluate(SUBMIT)
    page.until("!document.getElementById('said').hidden && document.getElementById('said').textContent")
    assert '2001-01-01' in page.text('#said')
    assert page.evaluate("document.getElementById('dialog').open")
    page.click('#cancel')


@pytest.mark.parametrize('width, height', [(1200, 900), (360, 700)], ids=['wide', 'narrow'])
def test_nothing_is_wider_than_the_window(page, tmp_path, width, height):
    page.screenshot(tmp_path / 'page.png', width, height)
    assert page.evaluate('document.documentElement.scrollWidth') <= width


def test_japanese(page):
    page.evaluate("document.cookie = 'CockpitLang=ja-jp; path=/'; localStorage.setItem('cockpit.lang', 'ja-jp')")
    page.open()
    try:
        assert page.text('h1') == 'VM の起動審査'
        assert '対処するには: virt-guard watch' in page.text('#status')
        assert 'The guard' not in page.text('header')
    finally:
        page.evaluate("document.cookie = 'CockpitLang=en-us; path=/'; localStorage.removeItem('cockpit.lang')")


def test_an_ordinary_user_reads_and_changes_nothing(machine, page):
    machine.run(['useradd', '-m', 'op'])
    machine.run(['chpasswd'], input='op:secret-of-op\n')
    # One cockpit-ws listens on the port; this one asks who comes.
    with cockpit_page.opened(machine, port=9998) as theirs:
        theirs.log_in('op', 'secret-of-op')
        theirs.open()
        assert not theirs.evaluate("document.getElementById('limited').hidden")
        assert theirs.evaluate("document.getElementById('grant').hidden")
        assert theirs.evaluate("document.querySelectorAll('main button:not([hidden])').length") == 0
        assert theirs.text('#status')
