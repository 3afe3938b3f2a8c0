# SPDX-License-Identifier: Apache-2.0
"""Ansible's way into a machine of tests/live or a host of tests/systemd: nsenter instead of ssh."""

import subprocess

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: machine
short_description: Enter the namespaces of a process
description: Runs commands in the namespaces and in the root directory of a process.
options:
  pid:
    description: Its number, as this host knows it.
    vars: [{name: ansible_machine_pid}]
  environment:
    description: What a login on that machine would set.
    type: dict
    vars: [{name: ansible_machine_environment}]
"""

NAMESPACES = ('--mount', '--uts', '--ipc', '--pid', '--net', '--cgroup', '--root', '--wd')


class Connection(ConnectionBase):
    transport = 'machine'
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        enter = ['nsenter', '--target', str(self.get_option('pid')), *NAMESPACES, '--', '/bin/sh', '-c', cmd]
        result = subprocess.run(
            enter, input=in_data or b'', stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd='/', env=self.get_option('environment'),
        )  # fmt: skip
        return result.returncode, result.stdout, result.stderr

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        with open(in_path, 'rb') as file:
            self._copied('cat >%s' % self._shell.quote(out_path), file.read())

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        with open(out_path, 'wb') as file:
            file.write(self._copied('cat %s' % self._shell.quote(in_path), b''))

    def _copied(self, command, data):
        status, out, err = self.exec_command(command, in_data=data)
        if status:
            raise AnsibleConnectionFailure('%s: %s' % (command, err.decode('utf-8', 'replace')))
        return out

    def close(self):
        self._connected = False
