#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The life of the package on a booted Debian host that has no virt-guard, as a script inside of it: life.sh DEB OTHER-DEB.
# Prints what it has seen, and "all is well" in the end. /root/clean.xml and bad.xml are there, of domains of these names.
set -eu
deb=$1 other=$2
hook=/etc/libvirt/hooks/qemu

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

put() { # DEB: without a terminal, so that a question would end it
    dpkg -i "$1" </dev/null || fail "dpkg -i $1"
}

refuses() {
    ! virsh -q start bad 2>/root/said || fail 'bad starts'
    grep -q "virt-guard: domain 'bad' denied" /root/said || fail "$(cat /root/said)"
}

call() {
    env -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin $hook "$1" prepare begin - <"/root/$1.xml" 2>/dev/null
}

# Until it is told to stop, and at least 500 pairs of calls.
calls() {
    count=0 wrong=0
    until [ -e /root/stop ] && [ $count -ge 1000 ]; do
        call clean >/root/answer && [ ! -s /root/answer ] || wrong=$((wrong + 1))
        status=0
        call bad >/root/answer || status=$?
        [ $status -eq 1 ] && [ ! -s /root/answer ] || wrong=$((wrong + 1))
        count=$((count + 2))
    done
    printf '%s calls, %s wrong\n' $count $wrong >/root/calls
}

rm -f /usr/sbin/policy-rc.d
mkdir -p /etc/virt-guard/policy.d
echo 'rules: [{id: container-host, action: "off", reason: a test that runs in a container}]' >/etc/virt-guard/policy.d/50-container.yaml
for name in clean bad; do
    virsh -q define /root/$name.xml
done
sed 's,<name>clean</name>,<name>running</name>,; /<uuid>/d' /root/clean.xml >/root/running.xml
virsh -q create /root/running.xml
daemon=$(systemctl show -P MainPID libvirtd) qemu=$(pgrep -f guest=running)

put "$deb"
refuses
virsh -q start clean && virsh -q destroy clean
systemctl is-active virt-guard-watch.service virt-guard-compile.path
[ -z "$(dpkg --verify virt-guard)" ] || fail 'the files are not those of the package'
virt-guard status || fail status
echo "-- installed on Debian $(cat /etc/debian_version), $(/usr/bin/python3 -V)"

calls &
for package in "$other" "$deb" "$other"; do
    put "$package"
done
: >/root/stop
wait
cat /root/calls
grep -q ', 0 wrong$' /root/calls || fail 'the hook has answered otherwise'
refuses
[ "$(systemctl show -P NeedDaemonReload virt-guard-watch.service)" = no ] || fail 'systemd has not read the new unit'
echo '-- upgraded'

dpkg -r virt-guard </dev/null
virsh -q start bad && virsh -q destroy bad
[ -e /etc/virt-guard/policy.yaml ] || fail 'what was configured is gone'
! ls -d $hook 2>/dev/null || fail 'the hook is still there'
put "$deb"
refuses
dpkg -P virt-guard </dev/null
left=$(find / -xdev -name '*virt?guard*' ! -path '/root/*' ! -path '/proc/*' ! -path '/tmp/*' ! -path '/var/lib/systemd/*')
[ -z "$left" ] || fail "left: $left"
[ -z "$(systemctl list-units --all --plain --quiet 'virt-guard*')" ] || fail 'units are left'
virsh -q start bad && virsh -q destroy bad
[ "$(systemctl show -P MainPID libvirtd)" = "$daemon" ] || fail 'libvirtd was restarted'
[ "$(pgrep -f guest=running)" = "$qemu" ] || fail 'the running domain has ended'
echo 'all is well'
