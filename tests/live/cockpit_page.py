# SPDX-License-Identifier: Apache-2.0
"""The page for Cockpit as people see it: a real cockpit-ws and cockpit-bridge on a machine, and a real Chromium."""

import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional

from guarded import GuardedMachine
from support.capabilities import missing

NEEDS = {
    '/usr/lib/cockpit/cockpit-ws': 'cockpit-ws',
    '/usr/bin/cockpit-bridge': 'cockpit-bridge',
    '/usr/share/cockpit/shell/index.html': 'cockpit-system',
    '/usr/bin/sudo': 'sudo',
    '/usr/bin/chromium': 'chromium',
    '/usr/bin/dbus-daemon': 'dbus-daemon',
}
DRIVER = pathlib.Path(__file__).resolve().with_name('browser_driver.py')
# Where tests/run puts archives of a newer Cockpit.
NEWER = pathlib.Path(os.environ.get('VIRT_GUARD_COCKPIT') or '/var/cache/virt-guard-tests/cockpit')
TIMEOUT = 120  # seconds; a busy machine needs twenty for a page
FRAME = 'cockpit1:localhost/virt-guard'  # the page in Cockpit's shell
KEYS = {'Tab': 9, 'Enter': 13, 'Escape': 27, ' ': 32}

# Texts that stand out too little from what is behind them, by the formula of WCAG 2 (4.5 is its level AA).
PALE = r"""(() => {
  const part = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(each => part(each / 255))
    .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = each => {
    const colour = each ? getComputedStyle(each).backgroundColor : 'rgb(255, 255, 255)';
    return / 0\)$/.test(colour) ? behind(each.parentElement) : colour;
  };
  const texts = [...document.querySelectorAll('body *')].filter(each => each.checkVisibility() &&
    [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  const all = texts.map(each => [getComputedStyle(each).color, behind(each), each.textContent]);
  return all.filter(([colour, ground]) => {
    const [dark, bright] = [light(colour), light(ground)].sort((one, other) => one - other);
    return (bright + 0.05) / (dark + 0.05) < 4.5;
  }).map(each => each.join(' '));
})()"""


class Page:
    """The page in a browser, driven by what a person sees: texts and elements."""

    def __init__(self, host: GuardedMachine, browser: 'subprocess.Popen[str]', address: str) -> None:
        self.host = host
        self._address = address
        self._browser = browser
        self.frame: Optional[str] = None  # the name of that whose document is meant

    def call(self, method: str, **parameters: Any) -> Any:
        """Say something to the browser's DevTools, and return the answer."""
        assert self._browser.stdin and self._browser.stdout
        self._browser.stdin.write(json.dumps([method, parameters]) + '\n')
        self._browser.stdin.flush()
        line = self._browser.stdout.readline()
        assert line, 'the browser has ended'
        return json.loads(line)

    def evaluate(self, script: str) -> Any:
        answer = self.call(
            'Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True, **self._context()
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def _context(self) -> Dict[str, int]:
        if self.frame is None:
            return {}
        frames = self.call('Page.getFrameTree')['frameTree'].get('childFrames', ())
        found = [child['frame']['id'] for child in frames if child['frame'].get('name') == self.frame]
        assert found, 'there is no frame ' + self.frame
        return {'contextId': self.call('Page.createIsolatedWorld', frameId=found[0])['executionContextId']}

    @contextlib.contextmanager
    def inside(self, frame: str = FRAME) -> Iterator[None]:
        """What follows is meant of the document in a frame."""
        self.until('document.querySelector(\'iframe[name="%s"]\') !== null' % frame)
        self.frame = frame
        try:
            yield
        finally:
            self.frame = None

    def until(self, script: str) -> None:
        """Wait until an expression is true. A document that is being loaded may have nothing that it asks for yet."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                if self.evaluate(script):
                    return
            except (AssertionError, KeyError):
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline, (script, self.evaluate('document.documentElement.innerText'))
            time.sleep(0.2)

    def go(self, path: str) -> None:
        self.go_to(self._address + path)

    def go_to(self, url: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.call('Page.navigate', url=url).get('errorText'):  # cockpit-ws is about to listen
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def open(self) -> None:
        self.go('/cockpit/@localhost/virt-guard/index.html')
        self.settle()

    def settle(self) -> None:
        """Wait until everything is shown."""
        self.until("document.body !== null && document.body.dataset.shown === 'yes'")

    def do(self, script: str) -> None:
        """What makes the page ask everything again; until it has."""
        self.evaluate('delete document.body.dataset.shown; ' + script)
        self.settle()

    def text(self, selector: str) -> str:
        return str(self.evaluate('document.querySelector(%s).innerText' % json.dumps(selector)))

    def click(self, selector: str) -> None:
        self.evaluate('document.querySelector(%s).click()' % json.dumps(selector))

    def type(self, selector: str, value: str) -> None:
        self.evaluate('document.querySelector(%s).value = %s' % (json.dumps(selector), json.dumps(value)))

    def press_button(self, text: str) -> None:
        """A button of Cockpit's own, once it is there."""
        button = "[...document.querySelectorAll('button')].find(each => each.innerText.trim() === %s)" % json.dumps(
            text
        )
        self.until(button + ' !== undefined && !%s.disabled' % button)
        self.evaluate(button + '.click()')

    def press(self, key: str, shift: bool = False) -> None:
        event = {'key': key, 'code': key, 'windowsVirtualKeyCode': KEYS[key], 'modifiers': 8 if shift else 0}
        text = {'Enter': '\r', ' ': ' '}.get(key)
        self.call(
            'Input.dispatchKeyEvent',
            type='keyDown' if text else 'rawKeyDown',
            **event,
            **({'text': text} if text else {}),
        )
        self.call('Input.dispatchKeyEvent', type='keyUp', **event)

    def nameless(self) -> List[str]:
        """What one can use or read on the page, and a reader of the screen has no name for."""
        used = (
            'button',
            'textbox',
            'searchbox',
            'combobox',
            'checkbox',
            'Date',
            'DisclosureTriangle',
            'dialog',
            'table',
        )
        nodes = self.call('Accessibility.getFullAXTree')['nodes']
        seen = [(node['role']['value'], node.get('name', {}).get('value')) for node in nodes if not node.get('ignored')]
        assert 'button' in {role for role, _ in seen}
        return [role for role, name in seen if role in used and not name]

    def log_in(self, user: str, password: str) -> None:
        self.go('/')
        self.until(
            "document.readyState === 'complete' && document.getElementById('login-user-input').checkVisibility()"
        )
        self.type('#login-user-input', user)
        self.type('#login-password-input', password)
        self.click('#login-button')
        self.until("document.cookie.length > 0 || document.querySelector('iframe') !== null || window.cockpit")

    def window(self, width: int, height: int) -> None:
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: pathlib.Path) -> None:
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot')['data']))


def unpack_newer(host: GuardedMachine) -> None:
    """Put a newer Cockpit in the place of the machine's."""
    archives = sorted(NEWER.glob('cockpit-*.deb'))
    if len(archives) != 3 or not NEWER.joinpath('made').exists():
        missing('there is no newer Cockpit in %s' % NEWER)
    if not re.search('^VERSION_CODENAME=bookworm$', pathlib.Path('/etc/os-release').read_text(), re.MULTILINE):
        missing('the newer Cockpit is one for Debian 12')
    host.run(['rm', '-r', '/usr/share/cockpit/base1', '/usr/share/cockpit/shell'])
    for archive in archives:
        host.run(['dpkg-deb', '--extract', archive, '/tmp/newer'])
    host.run(['cp', '-a', '--remove-destination', '/tmp/newer/usr', '/'])
    session = ['--accept', '--inetd', '--listen=/run/cockpit/session', '/usr/lib/cockpit/cockpit-session']
    host.run(['mkdir', '-p', '/run/cockpit'])
    host.spawn(['systemd-socket-activate', *session])  # as cockpit-session.socket does


@contextlib.contextmanager
def opened(host: GuardedMachine, *options: str, port: int = 9999) -> Iterator[Page]:
    """The page in a browser of its own; `options` are those of cockpit-ws."""
    absent = [package for path, package in NEEDS.items() if not os.path.exists(path)]
    if absent:
        missing('the page needs ' + ' '.join(absent))
    host.run(['mkdir', '-p', '/run/dbus'])
    server = ['/usr/lib/cockpit/cockpit-ws', '--address=127.0.0.1', '--port=%d' % port, '--no-tls', *options]
    with contextlib.ExitStack() as stack:
        commands = [server]
        if not host.path('/run/dbus/system_bus_socket').exists():
            commands.insert(0, ['/usr/bin/dbus-daemon', '--system', '--nofork', '--nopidfile'])
        for command in commands:
            stack.callback(host.kill, host.spawn(command, env={'XDG_RUNTIME_DIR': '/run'}), wait=10)
        browser = host.popen(
            [sys.executable, DRIVER, '/tmp/browser-%d' % port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        stack.callback(browser.wait)
        assert browser.stdin
        stack.callback(browser.stdin.close)  # which ends it
        yield Page(host, browser, 'http://127.0.0.1:%d' % port)
