# SPDX-License-Identifier: Apache-2.0
"""A host of the scenario: what an administrator does to it, and what can be read from it then."""

import contextlib
import pathlib
import re
import subprocess
from typing import Dict, Iterator, List, Optional, Set, Tuple

from support.domain import clean_domain
from vm import VM, Entry, Result, VMError

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
# The last version whose program was where libvirtd's AppArmor profile lets it run nothing.
OLD_VERSION = '125d54415140cf9690b83b529c6ae38a05824d81'
OLD_PROGRAM, PROGRAM = '/usr/libexec/virt-guard/qemu', '/usr/sbin/virt-guard-hook'
MAIN_HOOK, SECOND_HOOK = '/etc/libvirt/hooks/qemu', '/etc/libvirt/hooks/qemu.d/00-virt-guard'
WATCH = 'virt-guard-watch.service'
INSTALL = 'cd /root/virt-guard && ./install.sh'
INSTALL_TIMEOUT = 900

# An emulated host: its domains are emulated, too, and a start takes longer than on silicon.
DROP_IN = '/etc/virt-guard/policy.d/50-emulated.yaml'
DROP_IN_TEXT = """\
deadline: 60
rules:
  - id: tcg
    action: "off"
    reason: this host is emulated
"""

_OS = """
    <type arch='x86_64' machine='pc'>hvm</type>
    <loader readonly='yes' type='rom'>/var/lib/libvirt/images/halt.rom</loader>
  """
_DEVICES = """\
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/%s.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <memballoon model='none'/>
"""


def domain_xml(name: str, suspend: str = 'no') -> str:
    """The clean domain, emulated; the rule guest-suspend denies it where `suspend` is yes."""
    memory, emulator = "  <memory unit='MiB'>64</memory>\n", '/usr/bin/qemu-system-x86_64'
    xml = clean_domain(name, 'qemu', memory=memory, os=_OS, emulator=emulator, devices=_DEVICES % name)
    return xml.replace("<suspend-to-mem enabled='no'/>", "<suspend-to-mem enabled='%s'/>" % suspend)


# The firmware of these domains does nothing: cli; hlt; and back. Any other, emulated by what is emulated itself, would
# use up the host's processors for ever.
FIRMWARE = b'\0' * 65520 + b'\xfa\xf4\xeb\xfd'.ljust(16, b'\0')

# Every place that an installation may touch.
PLACES = (
    '/etc/libvirt /etc/virt-guard /usr/bin /usr/sbin /usr/lib/virt-guard /usr/libexec /usr/lib/systemd/system '
    '/etc/systemd/system /usr/share/man/man5 /usr/share/man/man8 /usr/share/man/ja /usr/share/virt-guard '
    '/usr/share/cockpit '
    '/usr/share/bash-completion /usr/share/fish /usr/share/zsh '
    '/var/lib/virt-guard'
)
# What tells that one was changed; of a directory its times do not, because a file may come and go in it.
FORMATS = r"\( -type d -printf '%p\t%m %U\n' \) -o -printf '%p\t%y %m %U %i %s %T@ %l\n'"


class DebianHost(VM):
    _provoked: List[Tuple[int, int]]

    def prepare(self) -> None:
        """What is there before any guard: domains, the checkout, and a policy for so slow a host."""
        self._provoked = []
        self.run('cat >/var/lib/libvirt/images/halt.rom', FIRMWARE)
        for name, suspend in (('running', 'no'), ('clean', 'no'), ('bad', 'yes')):
            self.run('truncate -s 1M /var/lib/libvirt/images/%s.img' % name)
            self.virsh('define /dev/stdin', input=domain_xml(name, suspend))
        self.write(DROP_IN, DROP_IN_TEXT)
        self.put(CHECKOUT, '/root/virt-guard', exclude=('./.git', './tests', '__pycache__', './build'))
        self.virsh('start running')

    # Domains

    def virsh(self, command: str, input: Optional[str] = None, check: bool = True) -> 'Result[str]':
        return self.run('virsh -q -c qemu:///system ' + command, input=input, check=check)

    def try_start(self, name: str) -> 'Result[str]':
        return self.virsh('start ' + name, check=False)

    def running(self) -> Set[str]:
        return set(self.virsh('list --state-running --name').stdout.split())

    def destroy(self, *names: str) -> None:
        for name in names:
            self.virsh('destroy ' + name, check=False)

    def processes(self) -> Dict[str, str]:
        """The QEMU processes: name of the domain -> process id."""
        said = self.run('pgrep -a qemu-system || :').stdout
        return {name: pid for pid, name in re.findall(r'^(\d+) .*? -name guest=([^, ]+)', said, re.MULTILINE)}

    # virt-guard

    def install(self, options: str = '') -> 'Result[str]':
        """What README says, by root; its output and errors are one text, in stdout."""
        return self.run('%s %s 2>&1' % (INSTALL, options), check=False, timeout=INSTALL_TIMEOUT)

    def install_old(self) -> 'Optional[Result[str]]':
        """Install the version of old; None where the history of the checkout does not have it."""
        archive = subprocess.run(
            ['git', '-c', 'safe.directory=*', '-C', str(CHECKOUT), 'archive', OLD_VERSION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if archive.returncode:
            return None
        self.unpack(archive.stdout, '/root/old')
        return self.run('cd /root/old && ./install.sh 2>&1', check=False, timeout=INSTALL_TIMEOUT)

    def last_journal(self) -> str:
        try:
            command = 'journalctl -q -b -n 30 --no-pager -t virt-guard -t libvirtd -t systemd'
            return self.run(command, check=False, timeout=60).stdout
        except VMError as error:
            return str(error)

    def records(self, *matches: str) -> List[Entry]:
        """Our records of this boot, apart from those of the installer's own check."""
        found = self.journal('-b', *matches)
        return [entry for entry in found if entry.get('VIRT_GUARD_DOMAIN') not in (None, 'virt-guard-install-check')]

    def links(self) -> Dict[str, str]:
        """Every link in libvirt's directory of hooks that leads to a program of ours, working or not."""
        said = self.run("find /etc/libvirt/hooks -type l -printf '%p %l\\n'").stdout
        return {path: target for path, target in map(str.split, said.splitlines()) if 'virt-guard' in path + target}

    def listing(self) -> Dict[str, str]:
        """All files where an installation may touch them; a file that was written anew differs."""
        said = self.run('find %s %s 2>/dev/null || :' % (PLACES, FORMATS)).stdout
        return {path: rest for path, rest in (line.split('\t') for line in said.splitlines())}

    # AppArmor

    def forbid(self) -> None:
        """An administrator's own addition to the profile: libvirtd may not run our program."""
        self._set_profile('deny %s x,\n' % PROGRAM)

    def allow(self) -> None:
        self._set_profile('')

    def _set_profile(self, text: str) -> None:
        self.write('/etc/apparmor.d/local/usr.sbin.libvirtd', text)
        self.run('apparmor_parser -r /etc/apparmor.d/usr.sbin.libvirtd')

    def now(self) -> int:
        """The time there, in microseconds, as the journal counts."""
        return int(self.run('date +%s%6N').stdout)

    @contextlib.contextmanager
    def provoking(self) -> Iterator[None]:
        """What AppArmor refuses in here, a test wants it to refuse."""
        start = self.now()
        yield
        self._provoked.append((start, self.now()))

    def refusals(self, since: int = 0, provoked: bool = True) -> List[str]:
        """What AppArmor refused, in all boots, or without what tests provoked."""
        return [
            entry['MESSAGE']
            for entry in self.journal('--grep \'apparmor="DENIED"\'')
            if int(entry['__REALTIME_TIMESTAMP']) >= since
            and (provoked or not any(a <= int(entry['__REALTIME_TIMESTAMP']) <= b for a, b in self._provoked))
        ]
