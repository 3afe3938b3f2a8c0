# SPDX-License-Identifier: Apache-2.0
"""What libvirt's logs of domains tell of starts, however they are rotated, and whatever QEMU writes into them."""

import bz2
import gzip
import lzma
import os

import pytest
from virtguard.health.domain_logs import read_domain_logs

UUID = '672cd8ad-50e2-4b25-a8e2-c656df025a1f'
BEGIN = (
    '2026-11-28 13:47:%s+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian), '
    'qemu version: 7.2.22Debian 1:7.2+dfsg-7, kernel: 6.1, hostname: host\n'
    'LC_ALL=C \\\n'
    'PATH=/usr/sbin:/usr/bin \\\n'
    '/usr/bin/qemu-system-x86_64 \\\n'
    '-name %s,debug-threads=on \\\n'
    '-uuid ' + UUID + ' \\\n'
    '-msg timestamp=on\n'
)
END = '2026-11-28 13:47:%s+0000: shutting down, reason=destroyed\n'
NOON = 1795873620.0  # 13:47:00


def starts(directory, since=0.0):
    logs = read_domain_logs(str(directory), since)
    assert logs.unread == []
    return [(name, round(time - NOON, 3)) for name, time in sorted(logs.starts)]


def begin(second, name='web'):
    return BEGIN % (second, 'guest=' + name)


def test_starts_and_ends(tmp_path):
    (tmp_path / 'web.log').write_text(begin('01.500') + END % '02.000' + begin('03.250'))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert logs.starts == {('web', NOON + 1.5): UUID, ('web', NOON + 3.25): UUID}
    assert logs.ends == {'web': NOON + 2}


def test_rotated_logs(tmp_path):
    for second, name, write in (
        (1, 'web.log', lambda path, data: path.write_bytes(data)),
        (2, 'web.log.0', lambda path, data: path.write_bytes(data)),
        (3, 'web.log.2.gz', lambda path, data: path.write_bytes(gzip.compress(data))),
        (4, 'web.log-20261128', lambda path, data: path.write_bytes(data)),
        (5, 'web.log-20261121.xz', lambda path, data: path.write_bytes(lzma.compress(data))),
        (6, 'web.log.3.bz2', lambda path, data: path.write_bytes(bz2.compress(data))),
        (7, 'web.log.log.1', lambda path, data: path.write_bytes(data)),
        (8, 'notes.txt', lambda path, data: path.write_bytes(data)),
    ):
        write(tmp_path / name, begin('%02d.000' % second).encode())
    assert starts(tmp_path) == [('web', float(second)) for second in range(1, 7)] + [('web.log', 7.0)]


def test_the_same_line_in_two_files_is_one_start(tmp_path):
    for name in ('web.log', 'web.log.1'):
        (tmp_path / name).write_text(begin('01.000'))
    assert starts(tmp_path) == [('web', 1.0)]


def test_what_was_written_before_is_not_opened(tmp_path):
    old = tmp_path / 'old.log'
    old.write_text(begin('01.000'))
    os.utime(str(old), (NOON, NOON))
    (tmp_path / 'web.log').write_text(begin('01.000') + begin('09.000'))
    assert starts(tmp_path, NOON + 5) == [('web', 9.0)]


def test_the_last_words_of_qemu_lack_the_end_of_their_line(tmp_path):
    (tmp_path / 'web.log').write_text('qemu: terminating' + begin('01.000') + begin('02.000'))
    assert starts(tmp_path) == [('web', 1.0), ('web', 2.0)]


@pytest.mark.parametrize(
    'name', ['2026-11-28 13:47:59.000+0000: starting up', 'x 2026-11-28 13:47:59.000+0000: starting up libvirt version']
)
def test_the_name_of_a_domain_is_no_start(tmp_path, name):
    (tmp_path / (name + '.log')).write_text(begin('01.000', name))
    assert starts(tmp_path) == [(name, 1.0)]


@pytest.mark.parametrize(
    'time', ['2026-13-01 00:00:00.000', '0000-01-01 00:00:00.000', '2026-00-01 00:00:00.000', '0001-01-01 00:00:00.000']
)
def test_a_time_of_no_calendar_is_no_start(tmp_path, time):
    for what in ('starting up', 'shutting down, reason=crashed'):
        (tmp_path / 'web.log').write_text('%s+0000: %s\n' % (time, what) + begin('01.000'))
        assert starts(tmp_path) == [('web', 1.0)]


def test_what_is_yet_to_come_was_not_logged(tmp_path):
    (tmp_path / 'web.log').write_text(begin('01.000') + END % '02.000' + begin('30.000') + END % '40.000')
    logs = read_domain_logs(str(tmp_path), 0.0, NOON + 10)
    assert list(logs.starts) == [('web', NOON + 1)]
    assert logs.ends == {'web': NOON + 2}


def test_a_start_whose_arguments_are_cut_off_has_no_uuid_of_another(tmp_path):
    first = begin('01.000').splitlines(True)
    (tmp_path / 'web.log').write_text(''.join(first[:3]) + begin('02.000'))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert logs.starts == {('web', NOON + 1): '', ('web', NOON + 2): UUID}


def test_what_cannot_be_read_is_said(tmp_path):
    assert read_domain_logs(str(tmp_path / 'none'), 0.0).unread == ['%s/none: No such file or directory' % tmp_path]
    (tmp_path / 'web.log.1.gz').write_bytes(b'no such thing')
    (tmp_path / 'web.log.1.zst').write_bytes(b'x')
    (tmp_path / 'link.log').symlink_to('web.log.1.gz')
    (tmp_path / 'directory.log').mkdir()
    os.mkfifo(str(tmp_path / 'pipe.log'))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert logs.starts == {}
    assert sorted(line.partition(': ')[0] for line in logs.unread) == [
        str(tmp_path / name) for name in ('link.log', 'web.log.1.gz', 'web.log.1.zst')
    ]


def test_of_a_long_log_the_end_is_read(tmp_path):
    with (tmp_path / 'web.log').open('w') as file:
        file.write(begin('01.000'))
        file.write('x\n' * (5 << 20))
        file.write(begin('02.000'))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert list(logs.starts) == [('web', NOON + 2)]
    assert logs.unread == ['%s/web.log: only its last 8 MiB are read' % tmp_path]


def test_of_very_many_lines_the_last_are_read(tmp_path):
    line = '2026-11-28 13:46:%02d.%03d+0000: starting up\n'
    forged = ''.join(line % divmod(number, 1000) for number in range(20000))
    (tmp_path / 'web.log').write_text(forged + begin('01.000'))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert len(logs.starts) == 10000
    assert logs.starts['web', NOON + 1] == UUID
    assert min(time for _, time in logs.starts) == NOON - 60 + 10.001
    assert logs.unread == ['%s/web.log: only its last 10000 starts and ends are read' % tmp_path]


@pytest.mark.parametrize(
    'forged', ['x%s+0000: starting up', '\n%s+0000: starting up', '%s+0000: starting up\n' + 'x' * 3000 + '\n']
)
def test_what_is_read_of_a_line_is_bounded(tmp_path, forged):
    """Each of these took minutes while what follows a line was looked for up to the end of the file."""
    line = forged % '2026-11-28 13:46:00.000'
    (tmp_path / 'web.log').write_text(line * ((8 << 20) // len(line) - 100))
    logs = read_domain_logs(str(tmp_path), 0.0)
    assert logs.starts == ({} if forged.startswith('x') else {('web', NOON - 60): ''})
