#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes doc/images/*.png, the pictures of README, of what a machine really says. It needs root and pngquant."""

import html
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.dont_write_bytecode = True
CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / directory) for directory in ('tests/live', 'tests', 'lib')]

import cockpit_page  # noqa: E402
from domains import TCG, VIRTIOFS, device, domain  # noqa: E402
from guarded import GuardedMachine  # noqa: E402

IMAGES = CHECKOUT / 'doc/images'
TERMINAL = """<meta charset=utf-8><style>body { margin: 0; background: #171421; color: #d0cfcc; }
pre { margin: 0; padding: 14px; font: 14px/1.45 DejaVu Sans Mono; white-space: pre-wrap; overflow-wrap: anywhere; }
b { color: #33d17a; }</style><pre>%s</pre>"""
WAIVER = ('--until', '+21d', '--reason', 'moves to NFS', '--ticket', 'OPS-1423', '--approved-by', 'jo')


def prepare(machine: GuardedMachine) -> str:
    """Let happen what the pictures show; return a terminal's text, prompts and all."""
    machine.install('--no-deps')
    machine.spawn(['/usr/bin/virt-guard', 'watch'])
    while not machine.journal('VIRT_GUARD_DECISION=watch-started'):
        time.sleep(0.2)
    machine.define(domain('build-7', TCG))
    machine.define(domain('shop-db', device(VIRTIOFS)))
    machine.run(['virt-guard', 'waiver', 'add', *WAIVER, 'shop-db', 'virtiofs'])
    machine.define(domain('legacy', TCG, device(VIRTIOFS)))
    machine.try_start('build-7')
    return machine.try_start('legacy').stderr.strip()


def keep(page: cockpit_page.Page, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(IMAGES / name)
    subprocess.run(['pngquant', '--force', '--ext=.png', '--strip', '32', str(IMAGES / name)], check=True)
    print(IMAGES / name, (IMAGES / name).stat().st_size)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, GuardedMachine(directory, hostname='kvm1') as machine:
        said = prepare(machine)
        with cockpit_page.opened(machine, '--local-session=/usr/bin/cockpit-bridge') as page:
            page.go('/virt-guard')
            page.window(1200, 760)
            with page.inside():
                page.settle()
                page.evaluate("document.querySelector('#refused details').open = true")
                page.until("document.querySelector('#refused details li') !== null")
            keep(page, 'cockpit.png')
            shown = '<b>kvm1:~#</b> virsh start legacy\n' + html.escape(said) + '\n\n<b>kvm1:~#</b> \u2588'
            page.go_to('data:text/html;charset=utf-8,' + urllib.parse.quote(TERMINAL % shown))
            page.window(900, 10)
            page.window(900, page.evaluate('document.querySelector("pre").offsetHeight'))
            keep(page, 'refusal.png')


main()
