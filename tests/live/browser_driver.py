# SPDX-License-Identifier: Apache-2.0
"""Runs inside a machine: a Chromium that a test outside drives by lines of JSON, [METHOD, PARAMETERS] and an answer.

METHOD is one of the DevTools protocol. It ends when there are no more lines.
"""

import json
import os
import subprocess
import sys

OPTIONS = (
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--mute-audio',
    '--disable-background-networking', '--disable-extensions', '--hide-scrollbars', '--remote-debugging-pipe',
)  # fmt: skip


class Browser:
    """One Chromium with one page, spoken to through the pipe of its DevTools."""

    def __init__(self, profile: str) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4.
        command = 'exec "$@" 3<&%d 4>&%d' % (theirs_in, theirs_out)
        self._process = subprocess.Popen(
            ['bash', '-c', command, 'bash', '/usr/bin/chromium', *OPTIONS, '--user-data-dir=' + profile, 'about:blank'],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._number, self._session = b'', 0, None
        targets = self.call('Target.getTargets', {})['targetInfos']
        page = next(target['targetId'] for target in targets if target['type'] == 'page')
        self._session = self.call('Target.attachToTarget', {'targetId': page, 'flatten': True})['sessionId']
        for domain in ('Page', 'Runtime', 'Log'):
            self.call(domain + '.enable', {})

    def call(self, method, parameters):
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._number:
                return answer.get('result', answer)

    def end(self):
        self._process.kill()
        self._process.wait()

    def _next(self):
        while b'\0' not in self._read:
            more = os.read(self._in, 1 << 20)
            if not more:
                raise SystemExit('the browser has ended')
            self._read += more
        message, self._read = self._read.split(b'\0', 1)
        return json.loads(message)


def main():
    browser = Browser(sys.argv[1])
    try:
        for line in sys.stdin:
            sys.stdout.write(json.dumps(browser.call(*json.loads(line))) + '\n')
            sys.stdout.flush()
    finally:
        browser.end()


main()
