# SPDX-License-Identifier: Apache-2.0
"""An installation of its own below a temporary directory, driven as libvirt drives it: helpers of its tests."""

import contextlib
import marshal
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Union

import pytest
import yaml
from support import policies, records
from support.capabilities import missing
from support.domain import clean_domain
from support.paths import CHECKOUT
from virtguard.compiled import take_stamp
from virtguard.packed import marshalled
from virtguard.policy.compiler import let_clock_advance, write_compiled
from virtguard.source_contents import is_same

# That of a hook.
ENVIRONMENT = {'LC_ALL': 'C', 'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/'}

_UUID = '  <uuid>5dd0a2f7-6f3c-4b5e-9c43-6a3f6e1b7a10</uuid>\n'
_MEMORY = "  <memory unit='KiB'>1048576</memory>\n  <vcpu placement='static'>1</vcpu>\n"
_TPM = "    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n"


def domain_xml(name: str = 'guest', devices: str = '') -> bytes:
    """The clean domain: no finding at all, by the policy of policy_text(). `devices` are whole lines."""
    return clean_domain(name, uuid=_UUID, memory=_MEMORY, devices=devices).encode('utf-8')


CLEAN = domain_xml()
DENIED = domain_xml(devices=_TPM)  # by tpm-passthrough alone


def policy_text(
    actions: Optional[Mapping[str, str]] = None, rules: Optional[Sequence[str]] = None, **settings: str
) -> str:
    """The shipped policy, changed.

    `container-host` is "off" unless `actions` says otherwise: tests run in containers, too.

    :param actions: rule id -> action
    :param rules: ids of those that are left of it (default: all), where the others do not matter: to read them takes
        most of the time of a command
    :param settings: top-level key -> value as YAML, such as mode='audit'
    """
    text = (CHECKOUT / 'data/profiles/rhel-8.yaml').read_bytes().decode('utf-8')
    for rule, value in dict({'container-host': 'off'}, **(actions or {})).items():
        text = policies.action(rule, '"%s"' % value)(text)
    for key, value in settings.items():
        text = policies.setting(key, value)(text)
    if rules is None:
        return text
    policy = yaml.safe_load(text)  # not a part of the text, because rules have anchors in others
    policy['rules'] = [rule for rule in policy['rules'] if rule['id'] in ('container-host', *rules)]
    assert len(policy['rules']) == len(rules) + 1
    return str(yaml.safe_dump(policy, default_flow_style=False))


def copy_checkout(path: pathlib.Path) -> pathlib.Path:
    """A checkout to change: another version to install."""
    for directory in ('data', 'doc', 'hooks', 'lib/virtguard', 'packaging/cockpit'):
        shutil.copytree(str(CHECKOUT / directory), str(path / directory), ignore=shutil.ignore_patterns('__pycache__'))
    for file in ('install.sh', 'policy.yaml'):
        shutil.copy(str(CHECKOUT / file), str(path / file))
    return path


def run_installer(
    root: Union[str, pathlib.Path],
    *options: str,
    checkout: pathlib.Path = CHECKOUT,
    prefix: Sequence[str] = (),
    **kw: Any,
) -> 'subprocess.CompletedProcess[str]':
    """Run `install.sh --root ROOT OPTIONS` with the interpreter under test; `prefix` is a command to run it with."""
    command = [*prefix, str(checkout / 'install.sh'), '--root', str(root), *options]
    if '--uninstall' not in options and not any(option.startswith('--python') for option in options):
        command += ['--no-deps', '--python', sys.executable]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
        errors='surrogateescape',
        timeout=300,
        **kw,
    )


def newly_installed(root: pathlib.Path) -> 'Installed':
    result = run_installer(root)
    assert result.returncode == 0, result.stdout + result.stderr
    return Installed(root)


def stamped_anew(compiled: bytes) -> Optional[bytes]:
    """What `policy compile` would make again of the same policy, written anew; None where it is another one."""
    head, numbers, payload = compiled.split(b'\n', 2)
    size, checksum = numbers.split()
    stamp, contents, policy = marshal.loads(payload[: int(size)])
    sources = [entry[:2] for entry in stamp]
    if not is_same(sources, contents):
        return None
    let_clock_advance(sources)
    copy, details = marshalled((take_stamp(sources), contents, policy)), payload[int(size) : -int(size)]
    return b'%s\n%d %s\n%s%s%s' % (head, len(copy), checksum, copy, details, copy)


class Installed:
    """What install.sh made below `root`."""

    clean, denied = CLEAN, DENIED

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.compiles = False  # whether a policy that a test writes is compiled, too
        self._compiled: Dict[str, bytes] = {}  # text of a policy -> what it was compiled to
        self.hook = root / 'etc/libvirt/hooks/qemu'
        self.program = root / 'usr/sbin/virt-guard-hook'
        self.cli = root / 'usr/bin/virt-guard'
        self.policy = root / 'etc/virt-guard/policy.yaml'
        self.library = root / 'usr/lib/virt-guard'
        self.log = root / 'var/log/libvirt/virt-guard.log'

    @property
    def tree(self) -> pathlib.Path:
        """The version that is in force: the directory that the program takes its package from."""
        line = re.search(r"^lib='(.*)'$", self.program.read_text(), re.MULTILINE)
        assert line
        return pathlib.Path(line.group(1))

    def run_hook(
        self,
        name: Union[str, bytes],
        operation: str,
        xml: bytes,
        args: Optional[Sequence[Union[str, bytes]]] = None,
        timeout: float = 30,
        **kw: Any,
    ) -> 'subprocess.CompletedProcess[bytes]':
        """Call the hook as libvirt does.

        :param args: all arguments, instead of those that libvirt gives for `name` and `operation`
        :param kw: for subprocess.run
        """
        if args is None:
            args = [name, operation, 'end' if operation in ('stopped', 'release') else 'begin', '-']
        options = {
            'env': {'LC_ALL': 'C', 'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/'},
            'cwd': '/',
            'stdout': subprocess.PIPE,
            'stderr': subprocess.PIPE,
        }
        if 'stdin' not in kw:
            options['input'] = xml
        options.update(kw)
        return subprocess.run([str(self.hook), *args], timeout=timeout, **options)

    def run_cli(self, *args: str, timeout: float = 30, **kw: Any) -> 'subprocess.CompletedProcess[bytes]':
        options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
        if 'input' not in kw:
            options['stdin'] = subprocess.DEVNULL
        options.update(kw)
        return subprocess.run([str(self.cli), *args], timeout=timeout, **options)

    def write_policy(
        self, actions: Optional[Mapping[str, str]] = None, rules: Optional[Sequence[str]] = None, **settings: str
    ) -> None:
        """Put a policy in force that derives from the shipped one, see policy_text()."""
        self._write(policy_text(actions, rules, **settings))

    def _write(self, text: str) -> None:
        self.policy.write_bytes(text.encode('utf-8'))
        if not self.compiles:
            return
        path = self.policy.with_suffix('.compiled')
        known = self._compiled.get(text)
        again = stamped_anew(known) if known else None  # to compile takes a hundred times as long
        if again:
            write_compiled(str(path), again)
        elif self.run_cli('policy', 'compile').returncode == 0:  # fails for a broken policy, as it should
            self._compiled[text] = path.read_bytes()

    @contextlib.contextmanager
    def with_policy(
        self, text: Optional[str] = None, actions: Optional[Mapping[str, str]] = None, **settings: str
    ) -> 'Iterator[None]':
        """Put `text` in force for a while, or a policy that derives from the shipped one, see policy_text().

        The one before is not compiled again.
        """
        before = self.policy.read_bytes()
        if text is None:
            text = policy_text(actions, **settings)
        self._write(text)
        try:
            yield
        finally:
            self.policy.write_bytes(before)


def call(hook, arguments, xml):
    return subprocess.run(
        [str(hook), *arguments],
        input=xml,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd='/',
        timeout=30,
    )


def hook_copy(installed, directory, **variables):
    """A copy of the hook with other variables, as a damaged installation has them."""
    text = installed.hook.read_text()
    for name, value in variables.items():
        text = re.sub(r'(?m)^%s=.*' % name, '%s=%s' % (name, value), text)
    path = directory / 'qemu'
    path.write_text(text)
    path.chmod(0o755)
    return path


class Journal:
    """A socket where journald's would be: what was sent, and nothing else, decoded as the protocol says."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._path = path

    def records(self):
        self._socket.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.decode(self._socket.recv(1 << 20)))
            except BlockingIOError:
                return found

    @staticmethod
    def decode(data):
        record = {}
        for name, value in records.decode(data):
            record.setdefault(name, []).append(value.decode('utf-8', 'surrogateescape'))
        return record

    def fill(self):
        """Let the queue be full, as that of a stopped journald is after a while."""
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError), sender:
            for _ in range(100000):
                sender.sendto(b'MESSAGE=filler\n', str(self._path))
            raise AssertionError('the queue takes everything')

    def close(self):
        self._socket.close()
        self._path.unlink()


def as_nobody() -> None:
    """Become an ordinary user, as a preexec_fn."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def need_an_ordinary_user() -> None:
    """For tests that become one, who must be able to read this checkout. The interpreter of another platform may be
    root's alone."""
    if os.geteuid() != 0:
        missing('needs root, to become somebody else')
    if subprocess.call(['test', '-x', sys.executable], preexec_fn=as_nobody) != 0:
        pytest.skip('an ordinary user cannot run %s' % sys.executable)
    if subprocess.call(['test', '-r', str(CHECKOUT / 'lib/virtguard/hook/call.py')], preexec_fn=as_nobody) != 0:
        missing('an ordinary user cannot read %s' % CHECKOUT)
