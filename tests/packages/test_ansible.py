# SPDX-License-Identifier: Apache-2.0
"""The Ansible role on two hosts, each with its own libvirtd: one under a booted systemd, by the package; one without
systemd, by the checkout."""

import contextlib
import datetime
import re
import shutil
import subprocess
from typing import Any, Dict, Optional

import booted
import domains
import pytest
import yaml
from domains import domain
from guarded import GuardedMachine, refusal
from machine import COMMAND_ENV
from support.capabilities import missing
from support.paths import CHECKOUT, TESTS

ROLES = CHECKOUT / 'packaging/ansible/roles'
UPLOAD = 'systemd-journal-upload.service'
DROP_IN = '/etc/virt-guard/policy.d/80-ansible.yaml'
OURS = '/usr/sbin/virt-guard-hook /usr/bin/virt-guard /etc/libvirt/hooks/qemu /usr/local/src/virt-guard ' + DROP_IN
UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
IN_A_CONTAINER = {'id': 'container-host', 'action': 'off', 'reason': 'a test that runs in a container'}


def day(ahead: int) -> str:
    return str(datetime.date.today() + datetime.timedelta(days=ahead))


def waiver(**keys: Any) -> Dict[str, Any]:
    waived = {
        'rules': ['tcg'],
        'domains': [{'uuid': UUID, 'name': 'waived'}],
        'reason': 'the “lab” moves in spring',
        'approved-by': 'platform team',
        'expires': datetime.date.today() + datetime.timedelta(days=30),  # as YAML reads a day without quotes
    }
    return {key: value for key, value in dict(waived, **keys).items() if value is not None}


class Fleet:
    """Hosts by their names, and a controller: this machine."""

    def __init__(self, directory, hosts):
        self.hosts = hosts
        self._directory = directory
        self._environment = {
            'HOME': str(directory),
            'PATH': COMMAND_ENV['PATH'],
            'LC_ALL': 'C.UTF-8',
            'ANSIBLE_CONNECTION_PLUGINS': str(TESTS / 'packages/ansible_connections'),
            'ANSIBLE_ROLES_PATH': str(ROLES),
            'ANSIBLE_PIPELINING': '1',
            'ANSIBLE_LOCALHOST_WARNING': '0',
            'PYTHONDONTWRITEBYTECODE': '1',
        }

    def play(self, variables, *options, by_host: Optional[Dict[str, Dict[str, Any]]] = None, status=0):
        """Run the role on all hosts; return what was said, and for each host its counts, such as `changed`."""
        inventory = {
            name: dict(
                (by_host or {}).get(name, {}),
                ansible_connection='machine',
                ansible_machine_pid=host.pid,
                ansible_machine_environment=COMMAND_ENV,
                ansible_python_interpreter='/usr/bin/python3',
            )
            for name, host in self.hosts.items()
        }
        files = {
            'hosts.yml': {'all': {'hosts': inventory, 'vars': variables}},
            'site.yml': [{'name': 'Play', 'hosts': 'all', 'gather_facts': False, 'roles': ['virt_guard']}],
        }
        for name, content in files.items():
            (self._directory / name).write_text(yaml.safe_dump(content, allow_unicode=True))
        result = subprocess.run(
            ['ansible-playbook', '--inventory', 'hosts.yml', 'site.yml', *options],
            cwd=str(self._directory),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1200,
        )
        said = result.stdout.decode()
        assert result.returncode == status, said
        recap = re.findall(r'^(\w+) +: (.*?) *$', said.partition('PLAY RECAP')[2], re.MULTILINE)
        counts = {name: {key: int(n) for key, n in re.findall(r'(\w+)=(\d+)', text)} for name, text in recap}
        assert counts.keys() == self.hosts.keys(), said
        return said, counts

    def each(self, key, counts):
        return {name: count[key] for name, count in counts.items()}

    def present(self):
        """What of ours is on the hosts."""
        return {name: host.run(['sh', '-c', 'ls -d %s || :' % OURS]).stdout for name, host in self.hosts.items()}

    def daemons(self):
        """Of each host, who its libvirtd is, and since when."""
        ask = 'cat /proc/$(cat /run/libvirtd.pid)/stat | cut -d " " -f 1,22'
        return {name: host.run(['sh', '-c', ask]).stdout for name, host in self.hosts.items()}

    def starts(self, name):
        """Try to start a domain on each host; return where it was refused, and why."""
        answers = {}
        for host_name, host in self.hosts.items():
            result = host.try_start(name)
            answers[host_name] = refusal(result, 1).splitlines()[0] if result.returncode else ''
            if not result.returncode:
                host.virsh('destroy', name)
        return answers


@pytest.fixture
def fleet(tmp_path):
    if not shutil.which('ansible-playbook'):
        missing('needs ansible-playbook')
    reason = booted.unavailable()
    if reason:
        missing(reason)
    with contextlib.ExitStack() as stack:
        hosts = {}
        for name, kind in (('one', booted.BootedHost), ('two', GuardedMachine)):
            (tmp_path / name).mkdir()
            hosts[name] = stack.enter_context(kind(tmp_path / name, hostname=name))
            # As long as one runs, no idle libvirtd ends by itself.
            hosts[name].virsh('create', '/dev/stdin', input=domain('running'))
            hosts[name].define(domain('bad', domains.TCG))
            waived = domain('waived', domains.TCG)
            hosts[name].define(waived.replace('</name>', '</name><uuid>%s</uuid>' % UUID, 1))
        (tmp_path / 'controller').mkdir()
        yield Fleet(tmp_path / 'controller', hosts)


def test_the_life_of_a_fleet(fleet, deb):
    hosts = fleet.hosts
    nothing = dict.fromkeys(hosts, '')
    variables = {
        'virt_guard_source': 'checkout',
        'virt_guard_profile': 'rhel-8',
        'virt_guard_mode': 'audit',
        'virt_guard_rules': [IN_A_CONTAINER],
        'virt_guard_waivers': [waiver()],
    }
    before = fleet.daemons()
    one = {'virt_guard_source': 'package', 'virt_guard_package_file': str(deb)}
    by_host = {'one': one}

    # A look at hosts on which nothing is yet.
    said, counts = fleet.play(variables, '--check', '--diff', by_host=by_host)
    assert fleet.each('changed', counts) == {'one': 4, 'two': 3}, said
    assert 'install.sh --profile rhel-8 would be run' in said and 'mode: audit' in said
    assert fleet.present() == nothing

    # What is broken goes nowhere: neither what can only be seen by the whole policy, nor what Ansible can see.
    for broken in (
        {
            'one': (
                waiver(rules=['tgc']),
                "there is no rule 'tgc' to waive (did you mean 'tcg'?)",
            ),
            'two': (waiver(expires=day(401)), 'expires is more than 400 days ahead'),
        },
        {
            'one': (waiver(reason=None), 'lacks reason'),
            'two': (waiver(reason=' '), 'reason'),
        },
        {
            'one': (waiver(expires=day(-2)), 'The waiver of tcg (the “lab” moves in spring) expired on ' + day(-2)),
            'two': (waiver(expire=day(1)), 'virt_guard_waivers.expire'),
        },
    ):
        waivers = {name: {'virt_guard_waivers': [waived]} for name, (waived, _) in broken.items()}
        said, counts = fleet.play(variables, by_host=waivers, status=2)
        assert fleet.each('failed', counts) == dict.fromkeys(hosts, 1), said
        for name, (_, problem) in broken.items():
            (line,) = [line for line in said.splitlines() if re.match(r'(fatal|failed): \[%s[] ]' % name, line)]
            assert problem in line
        assert fleet.present() == nothing

    # The first run, the second, and what it does. The collector is not there, and the upload does not give up.
    one['virt_guard_journal_upload_url'] = 'http://127.0.0.1:19532'
    fleet.play(variables, by_host=by_host)
    said, counts = fleet.play(variables, by_host=by_host)
    assert fleet.each('changed', counts) == dict.fromkeys(hosts, 0), said
    assert fleet.starts('bad') == nothing
    assert hosts['one'].show(booted.WATCH, 'ActiveState', 'UnitFileState') == {
        'ActiveState': 'active',
        'UnitFileState': 'enabled',
    }
    assert hosts['one'].show(UPLOAD, 'Restart', 'StartLimitIntervalUSec', 'UnitFileState') == {
        'Restart': 'always',
        'StartLimitIntervalUSec': '0',
        'UnitFileState': 'enabled',
    }
    del one['virt_guard_journal_upload_url']
    hosts['one'].wait(lambda: int(hosts['one'].show(UPLOAD, 'NRestarts')['NRestarts']) > 0, 60, 'it tries again')

    # Enforce, with the waiver; then without it.
    variables['virt_guard_mode'] = 'enforce'
    said, counts = fleet.play(variables, '--check', by_host=by_host)
    assert fleet.each('changed', counts) == {'one': 3, 'two': 1}, said  # the upload ends, too
    assert fleet.starts('bad') == nothing
    fleet.play(variables, by_host=by_host)
    denied = "virt-guard: domain '%s' denied by policy 'rhel-8': tcg"
    assert fleet.starts('bad') == dict.fromkeys(hosts, denied % 'bad')
    assert fleet.starts('waived') == nothing

    # A broken policy that the controller did not check stops at the file.
    texts = {name: host.read(DROP_IN) for name, host in hosts.items()}
    broken = dict(variables, virt_guard_controller_check=False, virt_guard_waivers=[waiver(rules=['tgc'])])
    said, counts = fleet.play(broken, by_host=by_host, status=2)
    assert said.count("there is no rule 'tgc' to waive") >= 2, said
    assert {name: host.read(DROP_IN) for name, host in hosts.items()} == texts

    del variables['virt_guard_waivers']
    fleet.play(variables, by_host=by_host)
    assert hosts['one'].show(UPLOAD, 'ActiveState', 'UnitFileState', 'DropInPaths') == {
        'ActiveState': 'inactive',
        'UnitFileState': 'disabled',
        'DropInPaths': '',
    }
    assert fleet.starts('waived') == dict.fromkeys(hosts, denied % 'waived')

    # And off.
    variables['virt_guard_state'] = 'absent'
    fleet.play(variables, by_host=by_host)
    assert fleet.present() == nothing
    assert [name for name, host in hosts.items() if host.path('/etc/virt-guard').exists()] == ['one']  # not purged
    assert fleet.starts('bad') == nothing
    said, counts = fleet.play(variables, by_host=by_host)
    assert fleet.each('changed', counts) == dict.fromkeys(hosts, 0), said
    assert fleet.daemons() == before


def test_the_role_knows_every_profile():
    specs = yaml.safe_load((ROLES / 'virt_guard/meta/argument_specs.yml').read_bytes())
    profiles = {path.stem for path in (CHECKOUT / 'data/profiles').glob('*.yaml')}
    assert set(specs['argument_specs']['main']['options']['virt_guard_profile']['choices']) == profiles | {'auto'}


def test_the_linter_of_ansible_has_nothing_to_say(tmp_path):
    if not shutil.which('ansible-lint'):
        missing('needs ansible-lint')
    shutil.copytree(str(CHECKOUT / 'packaging/ansible'), str(tmp_path / 'ansible'))  # it writes beside what it reads
    result = subprocess.run(
        ['ansible-lint', '--nocolor', '--offline', '--strict', '--profile', 'production', 'ansible'],
        cwd=str(tmp_path),
        env={'HOME': str(tmp_path), 'PATH': COMMAND_ENV['PATH'], 'LC_ALL': 'C.UTF-8'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = result.stdout.decode()
    assert result.returncode == 0 and 'Passed with production profile: 0 failure(s), 0 warning(s)' in said, said
