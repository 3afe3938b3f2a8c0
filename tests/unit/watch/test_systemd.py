# SPDX-License-Identifier: Apache-2.0
"""What a watch tells the service manager."""

import os
import socket
import time

import pytest
from virtguard.watch.systemd import Notifier


@pytest.mark.parametrize('abstract', [False, True])
def test_notifications(tmp_path, abstract):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = '@virt-guard-test-%d' % os.getpid() if abstract else str(tmp_path / 's')
        manager.bind('\0' + address[1:] if abstract else address)
        manager.settimeout(5)
        notifier = Notifier({'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': '60000000', 'WATCHDOG_PID': str(os.getpid())})
        notifier.ready('well')
        assert notifier.due() <= time.monotonic()
        notifier.alive()
        assert 29 < notifier.due() - time.monotonic() <= 30
        notifier.alive()  # too soon to say it again
        notifier.reloading()
        notifier.stopping()
        heard = [manager.recv(1000).decode() for _ in range(4)]
    assert heard[0] == 'READY=1\nSTATUS=well' and heard[1] == 'WATCHDOG=1' and heard[3] == 'STOPPING=1'
    assert heard[2].startswith('RELOADING=1\nMONOTONIC_USEC=') and heard[2].rpartition('=')[2].isdigit()


@pytest.mark.parametrize('environment', [{}, {'NOTIFY_SOCKET': ''}])
def test_without_a_manager_nothing_is_sent(environment):
    notifier = Notifier(environment)
    assert not notifier.listens
    assert notifier.due() == float('inf')
    notifier.ready('well')
    notifier.alive()


@pytest.mark.parametrize('environment', [{'WATCHDOG_PID': '1'}, {'WATCHDOG_USEC': '0'}, {'WATCHDOG_USEC': 'x'}])
def test_a_watchdog_of_somebody_else(tmp_path, environment):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / 's'))
        manager.setblocking(False)
        Notifier(dict({'WATCHDOG_USEC': '1000', 'NOTIFY_SOCKET': str(tmp_path / 's')}, **environment)).alive()
        with pytest.raises(BlockingIOError):
            manager.recv(100)
