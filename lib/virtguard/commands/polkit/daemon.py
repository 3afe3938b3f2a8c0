# SPDX-License-Identifier: Apache-2.0
"""The libvirt daemon that runs the domains, as far as its configuration decides who may use it."""

import grp
import os
import re
import stat

from ...guarding.host_files import FileTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

# What is not within quotes, from # on, is a comment.
_COMMENT = re.compile(r'("""[\s\S]*?"""|"[^"\n]*"|\'[^\'\n]*\')|#[^\n]*')
_SETTING = re.compile(r'^[ \t]*(\w+)[ \t]*=[ \t]*(\[[^\]]*\]|"""[\s\S]*?"""|"[^"\n]*"|\'[^\'\n]*\'|\d+)', re.MULTILINE)
_VALUE = re.compile(r'"([^"\n]*)"|\'([^\'\n]*)\'|(\d+)')
_GROUP = 'libvirt'  # of which libvirt's own rules for polkit speak


def parse_settings(text: str) -> 'Dict[str, List[str]]':
    """The settings in the text of libvirtd.conf or virtqemud.conf, each a list of its values."""
    text = _COMMENT.sub(lambda found: found.group(1) or '', text)
    return {
        found.group(1): [''.join(parts) for parts in _VALUE.findall(found.group(2))]
        for found in _SETTING.finditer(text)
    }


class Daemon:
    """`name` is virtqemud or libvirtd, `conf` the path of its configuration, `socket` where its clients connect to read
    and write, `running` whether it runs. `asks_polkit` about each call; `login` is how a client is let in: `polkit` or
    `none`, or another method. `restarted`: whether it has started since its configuration was changed."""

    def __init__(self) -> None:
        tree = FileTree()
        runs = {
            daemon: [pid for pid in tree.processes(daemon) if os.path.basename(tree.program(pid)) == daemon]
            for daemon in ('virtqemud', 'libvirtd')
        }
        sockets = {'virtqemud': 'virtqemud-sock', 'libvirtd': 'libvirt-sock'}
        self.name = next((name for name, processes in runs.items() if processes), '')
        if not self.name:
            self.name = 'virtqemud' if os.path.exists('/run/libvirt/virtqemud-sock') else 'libvirtd'
        self.running = bool(runs[self.name])
        self.conf = '/etc/libvirt/%s.conf' % self.name
        settings = parse_settings(tree.read(self.conf) or '')
        directory = settings.get('unix_sock_dir', ['/run/libvirt'])[0]
        self.socket = '%s/%s' % (directory, sockets[self.name])
        self.asks_polkit = 'polkit' in settings.get('access_drivers', ())
        self.login = settings.get('auth_unix_rw', ['polkit'])[0]
        self._named_group = settings.get('unix_sock_group', [''])[0]
        self.restarted = True
        if self.running:
            started = max((tree.started(process) or 0.0) for process in runs[self.name])
            self.restarted = _changed(self.conf) <= started

    def is_for_all(self) -> bool:
        """Whether every user of this host is let in."""
        try:
            return self.login == 'none' and bool(os.stat(self.socket).st_mode & stat.S_IWOTH)
        except OSError:
            return False

    def group(self) -> str:
        """The group whose users may use it."""
        try:
            status = os.stat(self.socket)
            if status.st_gid and not status.st_mode & stat.S_IWOTH:
                return grp.getgrgid(status.st_gid).gr_name
        except (OSError, KeyError):
            pass
        return self._named_group or _GROUP


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def is_group(name: str) -> bool:
    """Whether this host has a group of that name."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
