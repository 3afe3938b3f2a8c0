# SPDX-License-Identifier: Apache-2.0
"""What libvirt asks QEMU with is what the watch takes for that, by the libvirt that is installed."""

import os
import threading
import time

import pytest
from machine import Machine
from virtguard.watch.qemu_processes import is_probe

pytestmark = pytest.mark.live


class Lookout:
    """Collects the arguments of every QEMU on the host, and when each was seen first and last."""

    def __init__(self):
        self.seen = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(0.01):
            for pid in filter(str.isdigit, os.listdir('/proc')):
                try:
                    with open('/proc/%s/cmdline' % pid, 'rb') as file:
                        arguments = os.fsdecode(file.read()).split('\0')
                    namespace = os.readlink('/proc/%s/ns/pid' % pid)
                except OSError:
                    continue
                if os.path.basename(arguments[0]).startswith(('qemu-system-', 'qemu-kvm')):
                    times = self.seen.setdefault((namespace, pid, tuple(arguments)), [time.monotonic()] * 2)
                    times[1] = time.monotonic()


def test_libvirts_own_questions(tmp_path):
    with Machine(tmp_path) as machine:
        namespace = os.readlink('/proc/%d/ns/pid' % machine.pid)
        machine.run(['sh', '-c', 'rm -f /var/cache/libvirt/qemu/capabilities/*'])
        with Lookout() as lookout:
            machine.restart_libvirtd()
            machine.virsh('capabilities')
    asking = {key: times for key, times in lookout.seen.items() if key[0] == namespace and '-machine' in key[2]}
    assert asking
    for (_, _, arguments), (first, last) in asking.items():
        assert is_probe(list(arguments)), arguments
        assert last - first < 20
