# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#
# A plugin of sos (https://github.com/sosreport/sos), for sos 4. It has no directory for plugins of others, so
# this file has to be beside its own: see virt-guard(8). sos 4.0 takes only Debian's own plugins on Debian.

from sos.report.plugins import DebianPlugin, IndependentPlugin, Plugin


class VirtGuard(Plugin, IndependentPlugin, DebianPlugin):
    """Collects whether virt-guard is in force on this host, the policy that it judges domains by, and what it has
    recorded: refused starts, findings at run time, changes of the policy, and times in which nobody watched.

    The states of domains that the watch keeps in /var/lib/virt-guard are left out: they hold whole definitions.
    """

    short_desc = 'virt-guard, admission guard of libvirt domains'

    plugin_name = 'virt_guard'
    profiles = ('system', 'virt')
    packages = ('virt-guard',)
    files = ('/usr/bin/virt-guard',)

    def setup(self):
        self.add_copy_spec(
            [
                '/etc/virt-guard/policy.yaml',
                '/etc/virt-guard/policy.yaml.new',
                '/etc/virt-guard/policy.d',
                '/var/lib/virt-guard/recorded-policy',
                '/var/lib/virt-guard/sign-of-life',
                '/var/log/libvirt/virt-guard.log',
            ]
        )
        self.add_cmd_output(
            [
                'virt-guard --version',
                'virt-guard status --format jsonl',
                'virt-guard policy show',
                'virt-guard policy check',
            ]
        )
        self.add_service_status(['virt-guard-watch', 'virt-guard-compile.path'])
        self.add_journal(identifier='virt-guard', since='-14days')
        self.add_journal(identifier='virt-guard', since='-14days', output='json', allfields=True)
