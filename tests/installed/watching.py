# SPDX-License-Identifier: Apache-2.0
"""A running `virt-guard watch`, and state files as libvirt writes them: helpers of the watch's tests."""

import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from installation import Journal, policy_text

# The name of a QEMU of these tests. Other tests, of other interpreters at the same time, have theirs, and real ones.
QEMU_NAME = 'virt-guard-test-%d' % os.getpid()

# What a state of each kind looks like to a rule: a change, a state, a device, a process.
RULES = (
    """
  - id: test-fewer-vcpus
    title: fewer vCPUs
    action: deny
    at: runtime
    match: >-
      /transition/after/domstatus/domain/vcpu/@current[number(.) <
      number(/transition/before/domstatus/domain/vcpu/@current)]
    why: A test.
    remedy: none
  - id: test-job
    title: asynchronous job
    action: deny
    at: runtime
    match: /transition/after/domstatus/job[@async='snapshot' or @async='backup']
    why: A test.
    remedy: none
  - id: test-snapshot
    title: live snapshot
    action: deny
    at: runtime
    match: /transition/after/domainsnapshot[state='running']
    why: A test.
    remedy: none
  - id: test-unplugged
    title: device unplugged
    action: warn
    at: runtime
    match: >-
      /transition/before/domstatus/domain/devices/memory[not(alias/@name =
      /transition/after/domstatus/domain/devices/memory/alias/@name)][/transition/after/domstatus]
    why: A test.
    remedy: none
  - id: test-process
    title: QEMU without libvirt
    action: deny
    at: runtime
    match: /transition/after/process[@name='%s']
    why: A test.
    remedy: none
"""
    % QEMU_NAME
)

IOTUNE = '        <iotune>\n          <total_iops_sec>100</total_iops_sec>\n        </iotune>\n'
MEMORY = "      <memory model='dimm'>\n        <alias name='%s'/>\n      </memory>\n"
DISK = """\
      <disk type='file' device='disk'>
        <source file='/var/lib/libvirt/images/%(dev)s.img' index='1'>
          <privateData>
            <nodenames>
              <nodename type='storage' name='libvirt-1-storage'/>
            </nodenames>
          </privateData>
        </source>
        <target dev='%(dev)s' bus='virtio'/>
%(iotune)s        <alias name='virtio-%(dev)s'/>
      </disk>
"""
_STATUS = """\
<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh edit %(name)s
or other application using the libvirt API.
-->

<domstatus state='running' reason='booted' pid='%(pid)d'>
%(taint)s  <monitor path='/var/lib/libvirt/qemu/domain-1-%(name)s/monitor.sock' type='unix'/>
  <qemuCaps>
%(flags)s  </qemuCaps>
%(job)s  <domain type='kvm' id='%(id)d'>
    <name>%(name)s</name>
    <uuid>%(uuid)s</uuid>
    <metadata>
      <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
        <libosinfo:os id="http://redhat.com/rhel/8.10"/>
      </libosinfo:libosinfo>
    </metadata>
    <memory unit='KiB'>65536</memory>
    <vcpu placement='static' current='%(vcpus)d'>8</vcpu>
    <os>
      <type arch='x86_64' machine='pc-q35-rhel8.6.0'>hvm</type>
    </os>
    <pm>
      <suspend-to-mem enabled='no'/>
      <suspend-to-disk enabled='no'/>
    </pm>
    <devices>
      <emulator>/usr/libexec/qemu-kvm</emulator>
%(devices)s    </devices>
  </domain>
</domstatus>
"""
_SNAPSHOT = """\
<!--
WARNING: THIS IS AN AUTO-GENERATED FILE.
-->

<domainsnapshot>
  <name>%(snapshot)s</name>
  <state>%(state)s</state>
  <domain type='kvm'>
    <name>vm</name>
    <uuid>%(uuid)s</uuid>
    <devices>
      <disk><iotune><total_iops_sec>1</total_iops_sec></iotune></disk>
    </devices>
  </domain>
</domainsnapshot>
"""
UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10'
OTHER_UUID = '5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a11'
# Records of the guard itself; those of running domains are read without them.
OWN = ('watch-started', 'watch-stopped', 'unwatched', 'policy-changed')
_MARK = 'mark'  # a domain whose record says that all that was written before has been judged
_FLAGS = ''.join("    <flag name='flag-%d'/>\n" % number for number in range(200))


def disk(dev='vda', iotune=''):
    return DISK % {'dev': dev, 'iotune': iotune}


def job(kind, started=1, phase='', flags='0x10'):
    text = "  <job type='none' async='%s'%s flags='%s' asyncStarted='%d'/>\n"
    return text % (kind, " phase='%s'" % phase if phase else '', flags, started)


def status(name='vm', id=1, pid=4242, vcpus=2, devices='', taint='', job='', uuid=UUID):
    """The status of a domain that runs, as libvirt writes it."""
    fields = {'name': name, 'id': id, 'pid': pid, 'vcpus': vcpus, 'devices': devices or disk(), 'taint': taint}
    return (_STATUS % dict(fields, job=job, uuid=uuid, flags=_FLAGS)).encode()


def snapshot(name='s1', state='running', uuid=UUID):
    return (_SNAPSHOT % {'snapshot': name, 'state': state, 'uuid': uuid}).encode()


def rules_text(**actions):
    """The shipped policy, with the rules of these tests in place of its own of run time."""
    shipped = policy_text({name.replace('_', '-'): action for name, action in actions.items()})
    of_admission, heading, _ = shipped.partition('\n  # --- at run time ---')
    assert heading
    return of_admission + RULES


class Watching:
    """One `virt-guard watch` in a /run of its own, whose records arrive here as they would in the journal."""

    def __init__(self, installed, prefix=()):
        self.root = installed.root
        self.run = self.root / 'run/libvirt/qemu'
        self.lib = self.root / 'var/lib/libvirt/qemu'
        self.state = self.root / 'var/lib/virt-guard'
        self._command = [str(installed.cli), 'watch']
        self._prefix = list(prefix)
        # Not pytest's own directory: the path of a socket must be short.
        self._sockets = pathlib.Path(tempfile.mkdtemp(prefix='vg-'))
        self._journal, self._notified = self._listen('socket'), self._listen('notify')
        self._records, self._own = queue.Queue(), queue.Queue()
        self._collector = threading.Thread(target=self._collect)
        self._collector.start()
        self._marks = 0
        self.process = None
        self.notifications = []

    def _listen(self, name):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(self._sockets / name))
        return listener

    def start(self, *arguments, wait=True, environment=(), **options):
        """Start it; with `wait`, return when it follows."""
        private = (
            'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/sockets && '
            'mount --bind "$0" /run/sockets && ln -s ../../sockets/socket /run/systemd/journal/socket && '
            # What the host has recorded must not tell of these domains, whose processes it may happen to have.
            '{ [ ! -d /var/log/journal ] || mount -t tmpfs tmpfs /var/log/journal; } && exec "$@"'
        )
        command = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', private, str(self._sockets)]
        env = dict(os.environ, NOTIFY_SOCKET='/run/sockets/notify')
        env.update(environment)
        options.setdefault('stderr', subprocess.PIPE)
        self.process = subprocess.Popen(
            command + self._prefix + self._command + list(arguments), stdin=subprocess.DEVNULL, env=env, **options
        )
        if wait:
            self.wait_notified('READY=1')

    def wait_notified(self, text, timeout=90):
        """Wait until it tells the service manager this."""
        self._notified.settimeout(timeout)
        while True:
            self.notifications.append(self._notified.recv(4096).decode())
            if text in self.notifications[-1]:
                return

    def stop_listening(self):
        """From now on nobody takes what it tells the service manager."""
        self._notified.close()

    def stop(self, number=signal.SIGTERM, timeout=90):
        """End it; return its exit status, and what it wrote to standard error."""
        self.process.send_signal(number)
        return self.end(timeout)

    def end(self, timeout=90):
        """Wait for its end; return as stop does."""
        _, errors = self.process.communicate(timeout=timeout)
        code, self.process = self.process.returncode, None
        return code, errors.decode()

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b'', str(self._sockets / 'socket'))
        self._collector.join()
        for listener in (self._journal, self._notified):
            listener.close()
        shutil.rmtree(str(self._sockets))

    def records(self):
        """The records that have come since the last call, of all that was written until now."""
        # Twice: where everything is read anew, the first mark may be found before what was written before it.
        return self._until_mark() + self._until_mark()

    def _until_mark(self):
        self._marks += 1
        self.put(_MARK, job=job('backup', self._marks), uuid='5dd0a2f7-6f3c-4b5e-9c43-%012x' % self._marks)
        found = []
        while True:
            record = self.receive(timeout=60)
            if record.get('VIRT_GUARD_DOMAIN') != _MARK:
                found.append(record)
            elif 'asyncStarted="%d"' % self._marks in record['VIRT_GUARD_AFTER']:
                return found

    def told(self):
        """The same, as (domain, rule) pairs."""
        return [(r.get('VIRT_GUARD_DOMAIN', ''), r.get('VIRT_GUARD_RULE', '')) for r in self.records()]

    def receive(self, timeout=90):
        """The next record that is not of the guard itself."""
        return self._records.get(timeout=timeout)

    def receive_own(self, decision, timeout=60):
        """The next record of the guard itself, which is of this kind."""
        record = self._own.get(timeout=timeout)
        assert record['VIRT_GUARD_DECISION'] == decision, record
        return record

    def has_own(self):
        """Whether there are more records of the guard itself, of those that have come by now."""
        return not self._own.empty()

    def _collect(self):
        # At once: the kernel holds a few datagrams only.
        while True:
            data = self._journal.recv(1 << 20)
            if not data:
                return
            record = Journal.decode(data)
            record = {name: values[0] if len(values) == 1 else values for name, values in record.items()}
            (self._own if record['VIRT_GUARD_DECISION'] in OWN else self._records).put(record)

    # What libvirt does

    def write(self, path, data):
        """As libvirt does: a new file, then a rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + '.new')
        new.write_bytes(data)
        new.chmod(0o600)
        new.rename(path)

    def put(self, name='vm', **fields):
        self.write(self.run / (name + '.xml'), status(name, **fields))

    def put_snapshot(self, domain='vm', name='s1', **fields):
        self.write(self.lib / 'snapshot' / domain / (name + '.xml'), snapshot(name, **fields))

    def remove(self, name='vm'):
        (self.run / (name + '.xml')).unlink()
