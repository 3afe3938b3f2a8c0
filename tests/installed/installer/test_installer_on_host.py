# SPDX-License-Identifier: Apache-2.0
"""install.sh without --root, on a copy of this host."""

import os
import subprocess

import pytest
from installing import install
from support.capabilities import missing

# --- a host: install.sh without --root


APPARMOR = """
mkdir -p /sys/module/apparmor/parameters /sys/kernel/security/apparmor /etc/apparmor.d
echo Y >/sys/module/apparmor/parameters/enabled
echo 'libvirtd (enforce)' >/sys/kernel/security/apparmor/profiles
rm -f /etc/apparmor.d/*libvirtd /usr/bin/aa-exec /usr/sbin/aa-exec
"""
RULE = "echo 'profile libvirtd { %s }' >/etc/apparmor.d/usr.sbin.libvirtd\n"
NO_AA_EXEC = """
cat >/usr/bin/aa-exec <<'END'
#!/bin/sh
echo 'aa-exec: ERROR: AppArmor interface not available' >&2
exit 1
END
chmod 755 /usr/bin/aa-exec
"""


@pytest.mark.parametrize('aa_exec', ['', NO_AA_EXEC], ids=['missing', 'useless'])
@pytest.mark.parametrize(
    ('profile', 'status', 'said'),
    [
        (RULE % '/usr/sbin/* PUx,', 0, 'lets the daemon execute it (read, not tried'),
        (RULE % '/usr/bin/* PUx,', 1, 'libvirtd does not let libvirt'),
        ('', 0, 'not known: whether the AppArmor profile libvirtd lets'),
    ],
)
def test_a_profile_that_cannot_be_tried_is_read(on_host, aa_exec, profile, status, said):
    script = APPARMOR + aa_exec + profile + 'install; status=$?; ls /etc/libvirt/hooks; exit $status'
    answer, output = on_host(script)
    assert (answer, said in output) == (status, True), output
    assert output.endswith('qemu\n') == (status == 0)


# Where the watch runs, and no daemon.
SYSTEMD = """
mkdir -p /run/systemd/system
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
case "$*" in *virtqemud* | *libvirtd*) exit 3 ;; esac
END
chmod 755 /usr/bin/systemctl
"""


def test_a_watch_of_the_version_before_is_restarted(on_host):
    """Where a run was killed, nothing but the restart may be left to do."""
    again = 'for run in 2 3; do echo AGAIN; install; done'
    answer, output = on_host(SYSTEMD + 'install; mkdir /usr/lib/virt-guard/tree-0\n' + again)
    _, second, third = output.split('AGAIN')
    assert answer == 0, output
    assert ('started    virt-guard-watch.service' in second, 'started' in third) == (True, False), output


@pytest.mark.parametrize('directory', ['/var/lib/node_exporter/textfile_collector', ''], ids=['some', 'none'])
def test_metrics_are_written_where_something_reads_them(on_host, directory):
    files = 'mkdir -p {0}; : >{0}/virt-guard.prom; : >{0}/other.prom\n'.format(directory) if directory else ''
    listed = 'find /var/lib/*/*/*.prom /usr/share/virt-guard /usr/lib/systemd/system/virt-guard* 2>/dev/null\n'
    script = (
        'rm -rf /var/lib/prometheus /var/lib/node_exporter\n%sinstall\n%s/checkout/install.sh --uninstall; echo NOW\n%s'
    )
    _, output = on_host(SYSTEMD + script % (files, listed, listed))
    before, _, after = output.partition('NOW\n')
    assert ('started    virt-guard-metrics.timer' in before) == bool(directory), output
    assert '\n/usr/share/virt-guard/virt-guard-alerts.yml\n' in before
    assert after.split() == ([directory + '/other.prom'] if directory else []), output


# Which knows whether the timer is enabled.
SYSTEMD_WITH_TIMER = """
mkdir -p /run/systemd/system /var/lib/node_exporter/textfile_collector
cat >/usr/bin/systemctl <<'END'
#!/bin/sh
case "$*" in
*virtqemud* | *libvirtd*) exit 3 ;;
*' enable virt-guard-metrics.timer') : >/run/timer-enabled ;;
*' is-enabled virt-guard-metrics.timer') [ -e /run/timer-enabled ] ;;
esac
END
chmod 755 /usr/bin/systemctl
"""


def test_a_timer_of_metrics_that_somebody_has_disabled_stays_so(on_host):
    script = """
install
echo DISABLED; rm /run/timer-enabled; install; mkdir /usr/lib/virt-guard/tree-0; install; ls /run
echo REMOVED; /checkout/install.sh --uninstall; ls -A /usr/lib/virt-guard 2>/dev/null
echo ANEW; install
"""
    answer, output = on_host(SYSTEMD_WITH_TIMER + script)
    first, rest = output.split('DISABLED\n')
    again, rest = rest.split('REMOVED\n')
    removed, anew = rest.split('ANEW\n')
    assert answer == 0, output
    assert 'started    virt-guard-metrics.timer\n' in first
    assert 'started    virt-guard-metrics.timer' not in again and 'timer-enabled' not in again
    assert again.count('virt-guard-metrics.timer is disabled, and stays so: no metrics are written\n') == 2
    assert 'removed    /usr/lib/virt-guard/metrics-enabled\n' in removed
    assert 'started    virt-guard-metrics.timer\n' in anew


def test_without_proc(root):
    """As in the chroot that an image is made in."""
    prefix = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /proc && exec "$@"', 'sh']
    if os.geteuid() != 0 or subprocess.call([*prefix, 'true'], stderr=subprocess.DEVNULL) != 0:
        missing('needs root and a mount namespace')
    assert 'linked' in install(root, prefix=prefix).stdout
