# SPDX-License-Identifier: Apache-2.0
"""A page in a real browser, where there is one: it is shown in light and in dark, and nothing of a record runs."""

import os
import shutil
import subprocess
import tempfile
import zlib

import pytest

from .entries import judged
from .test_formats import Told, hundred_domains

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'headless_shell')
BROWSER = os.environ.get('VIRT_GUARD_TEST_BROWSER') or next(filter(None, map(shutil.which, NAMES)), None)
# Also in CI: a browser is much to install for one page, whose HTML other tests read.
pytestmark = pytest.mark.skipif(BROWSER is None, reason='no Chromium here, and VIRT_GUARD_TEST_BROWSER names none')

QUIETLY = ('--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars')
DARK = '--blink-settings=preferredColorScheme=0'


def browse(page, *options):
    with tempfile.TemporaryDirectory() as home:
        options = ['--headless', '--user-data-dir=' + os.path.join(home, 'profile'), *QUIETLY, *options]
        result = subprocess.run(
            [BROWSER, *options, page.as_uri()],
            env=dict(os.environ, HOME=home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=300,
        )
    assert result.returncode == 0, result.stderr.decode('utf-8', 'replace')
    return result.stdout.decode('utf-8')


def first_pixel(image):
    """The colour in the corner of a PNG: whatever the filter of the first line is, its first pixel is not changed."""
    data = image.read_bytes()
    assert data.startswith(b'\x89PNG')
    pieces, at = b'', 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], 'big')
        if data[at + 4 : at + 8] == b'IDAT':
            pieces += data[at + 8 : at + 8 + length]
        at += length + 12
    return zlib.decompress(pieces)[1:4].hex()


@pytest.fixture
def page(tmp_path):
    path = tmp_path / 'report.html'
    hostile = '<script>document.title = "ran"</script><img src=x onerror="document.title = \'ran\'">'
    path.write_text(Told([*hundred_domains(), judged(9000, hostile)]).html, encoding='utf-8')
    return path


@pytest.mark.parametrize('options, colour', [((), 'ffffff'), ((DARK,), '15181b')], ids=['light', 'dark'])
@pytest.mark.parametrize('width', [1200, 500])
def test_it_is_shown(page, tmp_path, options, colour, width):
    image = tmp_path / 'image.png'
    browse(page, '--window-size=%d,900' % width, '--screenshot=%s' % image, *options)
    assert first_pixel(image) == colour


def test_nothing_runs(page):
    shown = browse(page, '--dump-dom')
    assert '<title>virt-guard report - kvm1' in shown and '<script' not in shown
    assert '&lt;script&gt;document.title' in shown


def test_it_can_be_printed(page, tmp_path):
    paper = tmp_path / 'report.pdf'
    browse(page, '--print-to-pdf=%s' % paper)
    assert paper.read_bytes().startswith(b'%PDF-')
