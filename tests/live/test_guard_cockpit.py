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
        machine.run(['useradd', '-m', 'op'])
        machine.run(['useradd', '-m', '-G', 'sudo', 'boss'])
        machine.run(['chpasswd'], input='op:secret-of-op\nboss:secret-of-boss\n')
        yield machine


@pytest.fixture(scope='module')
def page(machine):
    """In a session of root."""
    with cockpit_page.opened(machine, '--local-session=/usr/bin/cockpit-bridge') as page:
        page.open()
        yield page


def unfold(page, section):
    page.evaluate("document.querySelectorAll('%s details').forEach(each => { each.open = true; })" % section)
    page.until("[...document.querySelectorAll('%s details ul')].every(each => each.firstChild)" % section)


def test_status_is_shown_with_what_mends_it(page):
    assert page.text('#headline') == 'The guard is not in force as it should be.'
    shown = page.text('#status')
    assert re.search(r'watch: nobody watches running domains.*\nTo mend it: virt-guard watch', shown)
    assert re.search('What is fine: [1-9]', shown)
    assert page.evaluate("document.getElementById('limited').hidden")


def test_refused_starts_are_shown_with_their_remedies(page):
    assert page.evaluate("document.querySelectorAll('#refused tbody tr').length") == 2
    unfold(page, '#refused')
    shown = page.text('#refused')
    assert HOSTILE in shown and 'legacy' in shown
    assert 'virtiofs: virtiofs shared directory' in shown
    assert 'Remedy: ' in shown
    assert page.evaluate("document.querySelectorAll('img').length + document.title") == '0VM admission'


def test_who_asks_again_and_again_starts_few_commands(page):
    """As who keeps a key pressed: they run as root."""
    count = 'const spawn = cockpit.spawn; cockpit.spawn = (...all) => { started += 1; return spawn(...all); }; '
    page.evaluate('var started = 0; ' + count)
    page.do("for (let i = 0; i < 30; i += 1) document.getElementById('reload').click();")
    assert page.evaluate('started') == 10  # those of the first time, and once more


def test_what_the_next_boot_refuses_is_shown(page):
    assert page.evaluate("document.querySelectorAll('#next tbody tr').length") == 1
    unfold(page, '#next')
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
        assert name in page.text('#done')
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


@pytest.mark.parametrize('style', ['light', 'dark'])
@pytest.mark.parametrize('width, height', [(1200, 900), (320, 700)], ids=['wide', 'narrow'])
def test_everything_can_be_read(page, tmp_path, width, height, style):
    page.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': style}])
    page.window(width, height)
    for section in ('#status', '#refused', '#next'):
        unfold(page, section)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.evaluate('document.body.scrollWidth') <= width
    ground = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert ground == ('rgb(21, 21, 21)' if style == 'dark' else 'rgb(242, 242, 242)')
    assert page.evaluate(cockpit_page.PALE) == []
    page.evaluate("document.querySelector('#refused td button').click()")
    assert page.evaluate(cockpit_page.PALE) == []
    box = page.evaluate("(b => [b.left, b.right])(document.getElementById('dialog').getBoundingClientRect())")
    assert box[0] >= 0 and box[1] <= width
    page.click('#cancel')


def test_cockpits_own_switch_between_light_and_dark_is_followed(page):
    page.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'light'}])
    page.evaluate("localStorage.setItem('shell:style', 'dark')")
    page.open()
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(21, 21, 21)'
    page.evaluate("localStorage.removeItem('shell:style')")
    page.open()
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') == 'rgb(242, 242, 242)'


def test_keys_reach_everything(page):
    page.call('Emulation.setFocusEmulationEnabled', enabled=True)
    usable = "[...document.querySelectorAll('button, summary, input')].filter(each => each.checkVisibility())"
    page.evaluate(
        "document.activeElement.blur(); document.querySelectorAll('details').forEach(each => { each.open = false; })"
    )
    for i in range(page.evaluate(usable + '.length')):
        page.press('Tab')
        assert page.evaluate('%s[%d] === document.activeElement' % (usable, i)), i
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle === 'solid'")
    assert page.nameless() == []


def test_keys_stay_in_the_dialog_until_it_is_closed(page):
    page.evaluate("document.querySelector('#refused td button').focus()")
    page.press('Enter')
    assert page.evaluate('document.activeElement.id') == 'reason'
    assert page.nameless() == []
    inside = "document.getElementById('dialog').contains(document.activeElement)"
    seen = set()
    for shift in (False, True):
        page.evaluate("document.getElementById('cancel').focus()")
        for _ in range(page.evaluate("document.querySelectorAll('#form input, #form button').length") + 4):
            page.press('Tab', shift)
            assert page.evaluate(inside)
            seen.add(page.evaluate('document.activeElement.id || document.activeElement.name'))
    assert seen == {'domain', 'rule', 'until', 'reason', 'ticket', 'apply', 'cancel'}
    page.press('Escape')
    assert not page.evaluate("document.getElementById('dialog').open")
    assert page.evaluate("document.activeElement === document.querySelector('#refused td button')")


def test_japanese(page):
    page.evaluate("document.cookie = 'CockpitLang=ja-jp; path=/'; localStorage.setItem('cockpit.lang', 'ja-jp')")
    page.open()
    try:
        assert page.text('h1') == 'VM の起動審査'
        assert '対処するには: virt-guard watch' in page.text('#status')
        assert 'The guard' not in page.text('header')
        for section in ('#refused', '#next'):
            unfold(page, section)
            assert 'virtiofs: virtiofs による共有ディレクトリー' in page.text(section)
    finally:
        page.evaluate("document.cookie = 'CockpitLang=en-us; path=/'; localStorage.removeItem('cockpit.lang')")


def test_an_ordinary_user_reads_and_changes_nothing(machine, page):
    # One cockpit-ws listens on the port; this one asks who comes.
    with cockpit_page.opened(machine, port=9998) as theirs:
        theirs.log_in('op', 'secret-of-op')
        theirs.open()
        assert not theirs.evaluate("document.getElementById('limited').hidden")
        assert theirs.evaluate("document.getElementById('grant').hidden")
        assert theirs.evaluate("document.querySelectorAll('main button:not([hidden])').length") == 0
        assert theirs.text('#status')


def test_administrative_access_comes_and_goes_in_the_shell(machine):
    with cockpit_page.opened(machine, port=9997) as theirs:
        theirs.log_in('boss', 'secret-of-boss')
        theirs.go('/virt-guard')
        with theirs.inside():
            theirs.settle()
            assert theirs.evaluate("document.getElementById('grant').hidden")
        theirs.press_button('Limited access')
        theirs.until("document.querySelector('[role=dialog] input[type=password]') !== null")
        theirs.evaluate("document.querySelector('[role=dialog] input[type=password]').focus()")
        theirs.call('Input.insertText', text='secret-of-boss')
        theirs.press_button('Authenticate')
        with theirs.inside():
            theirs.until("!document.getElementById('grant').hidden")
            theirs.settle()
            assert theirs.evaluate("document.getElementById('limited').hidden")
            grant(theirs, 'legacy', 'by boss')
            theirs.evaluate('delete document.body.dataset.shown; ' + SUBMIT)
            theirs.settle()
            assert 'days left: 30' in theirs.text('#waivers')
        assert 'approved by boss' in machine.run(['virt-guard', 'waiver', 'list']).stdout
        machine.run(['virt-guard', 'waiver', 'remove', 'legacy'])
        theirs.press_button('Administrative access')
        theirs.press_button('Limit access')
        with theirs.inside():
            theirs.until("document.getElementById('grant').hidden && !document.getElementById('limited').hidden")
            theirs.settle()
            assert theirs.evaluate("document.querySelectorAll('main td button').length") == 0


# Domains that the host starts and that the guard refused, as libvirt and the journal have them.
MANY = """
import os, pathlib, socket, sys, uuid
qemu, record = pathlib.Path('/etc/libvirt/qemu'), sys.stdin.read()
xml = (qemu / 'legacy.xml').read_text()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
    journal.connect('/run/systemd/journal/socket')
    for i in range(1000):
        name, own = 'many-%04d' % i, str(uuid.uuid4())
        def its(text):
            return text.replace('legacy', name).replace(sys.argv[1], own)
        (qemu / (name + '.xml')).write_text(its(xml))
        os.symlink(qemu / (name + '.xml'), qemu / 'autostart' / (name + '.xml'))
        journal.send(its(record).encode())
"""
ROWS = "document.querySelectorAll('#%s tbody tr').length"
LONG_TASKS = """new Promise(resolve => {
    const tell = list => resolve(list.getEntries().map(each => each.duration));
    new PerformanceObserver(tell).observe({type: 'longtask', buffered: true});
    setTimeout(resolve, 1000, []);
})"""
# How many rows a table gets at once.
AT_ONCE = """window.atOnce = 0; new MutationObserver(changes => {
    const added = changes.map(each => [...each.addedNodes].filter(node => node.tagName === 'TR').length);
    window.atOnce = Math.max(window.atOnce, added.reduce((sum, each) => sum + each, 0));
}).observe(document.body, {childList: true, subtree: true}); undefined"""


def test_a_thousand_domains_freeze_nothing(machine):
    record = machine.journal('VIRT_GUARD_DOMAIN=legacy', 'VIRT_GUARD_DECISION=deny')[0]
    fields = [
        '%s=%s\n' % (name, value)
        for name, values in record.items()
        if not name.startswith('_')
        for value in (values if isinstance(values, list) else [values])
    ]
    machine.run(['/usr/bin/python3', '-c', MANY, record['VIRT_GUARD_UUID']], input=''.join(fields))
    with cockpit_page.opened(machine, '--local-session=/usr/bin/cockpit-bridge', port=9995) as page:
        page.open()
        loaded = page.evaluate('performance.now()')
        page.evaluate(AT_ONCE)
        for section in ('refused', 'next'):
            assert page.evaluate(ROWS % section) == 100
            page.evaluate("[...document.querySelectorAll('#%s > button')].pop().click()" % section)
            page.until(ROWS % section + ' >= 1001')
        tasks = page.evaluate(LONG_TASKS)
        print('shown after %.0f ms, longest task %.0f ms' % (loaded, max(tasks, default=0)))
        assert 0 < page.evaluate('window.atOnce') <= 50

        page.evaluate("document.querySelector('#next input').value = 'VIRTIOFS many-0777'")
        page.evaluate("document.querySelector('#next input').dispatchEvent(new Event('input'))")
        assert page.evaluate(ROWS % 'next') == 1 and 'many-0777' in page.text('#next table')
        page.click('#next td button')
        assert page.evaluate("document.getElementById('domain').value") == 'many-0777'
        page.click('#cancel')


def test_a_newer_cockpit_shows_the_same(machine):
    cockpit_page.unpack_newer(machine)
    with cockpit_page.opened(machine, port=9994) as theirs:
        theirs.log_in('op', 'secret-of-op')
        theirs.go('/virt-guard')
        with theirs.inside():
            theirs.settle()
            assert not theirs.evaluate("document.getElementById('limited').hidden")
            assert theirs.evaluate("document.querySelectorAll('main td button').length") == 0
    with cockpit_page.opened(machine, '--local-session=/usr/bin/cockpit-bridge', port=9993) as page:
        page.open()
        assert page.text('#headline') == 'The guard is not in force as it should be.'
        page.click('#grant')
        page.type('#domain', 'legacy')
        page.click('#rules [value=virtiofs]')
        page.type('#reason', 'by a newer Cockpit')
        page.do(SUBMIT)
        assert 'by a newer Cockpit' in page.text('#waivers')
