# SPDX-License-Identifier: Apache-2.0
"""The page for Cockpit as people see it: a real cockpit-ws and cockpit-bridge on a machine, and a real Chromium."""

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any, Iterator

from guarded import GuardedMachine
from support.capabilities import missing

NEEDS = {
    '/usr/lib/cockpit/cockpit-ws': 'cockpit-ws',
    '/usr/bin/cockpit-bridge': 'cockpit-bridge',
    '/usr/bin/chromium': 'chromium',
    '/usr/bin/dbus-daemon': 'dbus-daemon',
}
DRIVER = pathlib.Path(__file__).resolve().with_name('browser_driver.py')
TIMEOUT = 120  # seconds; a busy machine needs twenty for a page


class Page:
    """The page in a browser, driven by what a person sees: texts and elements."""

    def __init__(self, host: GuardedMachine, browser: 'subprocess.Popen[str]', address: str) -> None:
        self.host = host
        self._address = address
        self._browser = browser

    def call(self, method: str, **parameters: Any) -> Any:
        """Say something to the browser's DevTools, and return the answer."""
        assert self._browser.stdin and self._browser.stdout
        self._browser.stdin.write(json.dumps([method, parameters]) + '\n')
        self._browser.stdin.flush()
        line = self._browser.stdout.readline()
        assert line, 'the browser has ended'
        return json.loads(line)

    def evaluate(self, script: str) -> Any:
        answer = self.call('Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + TIMEOUT
        while not self.evaluate(script):
            assert time.monotonic() < deadline, (script, self.evaluate('document.documentElement.innerText'))
            time.sleep(0.2)

    def go(self, path: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.call('Page.navigate', url=self._address + path).get('errorText'):  # cockpit-ws is about to listen
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

    def log_in(self, user: str, password: str) -> None:
        self.go('/')
        self.until("document.getElementById('login-user-input') !== null")
        self.type('#login-user-input', user)
        self.type('#login-password-input', password)
        self.click('#login-button')
        self.until("document.cookie.length > 0 || document.querySelector('iframe') !== null || window.cockpit")

    def screenshot(self, path: pathlib.Path, width: int, height: int) -> None:
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot')['data']))


@contextlib.contextmanager
def opened(host: GuardedMachine, *options: str, port: int = 9999) -> Iterator[Page]:
    """The page in a browser of its own; `options` are those of cockpit-ws."""
    absent = [package for path, package in NEEDS.items() if not shutil.which(path)]
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
