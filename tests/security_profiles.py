# SPDX-License-Identifier: Apache-2.0
"""Makes doc/security-profiles.md of the profiles about isolation: python3 tests/security_profiles.py

For whoever maintains virt-guard: run it after a change of data/profiles. What vendors say of the same is found out by
judging the domains of tests/cases/profile-kvm-restricted.yaml by their lists.
"""

import pathlib
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / 'doc' / 'security-profiles.md'
MEASURED = 453

# How many of 453 public domains had it when they were looked through (None: a domain does not show it), and who has it
# on purpose.
HAVE = {
    'kvm-seclabel-none': (0, 'libguestfs with an emulator of its own'),
    'kvm-seclabel-device-unlabelled': (1, 'libguestfs, when it looks into disks of a running domain; fixed labels'),
    'kvm-seclabel-root': (0, 'libguestfs run by root, always (LIBGUESTFS_BACKEND=direct is the way round)'),
    'kvm-seclabel-foreign-type': (3, 'SELinux modules of a site, where a type is not named svirt'),
    'kvm-seclabel-static-no-category': (2, 'clusters with one label on Ceph or CIFS'),
    'kvm-mac-label-missing': (5, 'every domain of a host without SELinux and AppArmor; KubeVirt'),
    'kvm-tcg': (44, 'CI in clouds without nested KVM; vagrant with driver=qemu'),
    'kvm-machine-without-guarantee': (14, 'labs with boards of other architectures'),
    'kvm-qemu-command-line': (14, 'recipes for graphics cards and macOS; vagrant; KubeVirt'),
    'kvm-emulator-outside-system': (10, "QEMU that somebody built in /usr/local or /opt; NixOS' paths are let through"),
    'kvm-helper-program': (2, "old networks with /etc/qemu-ifup; nova's empty path is let through"),
    'kvm-host-system-path': (1, 'the SLIC table of /sys/firmware for Windows; kernels in /boot are let through'),
    'kvm-host-system-link': (None, ''),
    'kvm-host-read-link': (None, 'links to /boot and to images that packages bring are let through'),
    'kvm-host-path-dotdot': (0, ''),
    'kvm-filesystem-system-path': (1, 'builders of appliances that share / or /run'),
    'kvm-filesystem-system-link': (None, ''),
    'kvm-filesystem-medium-link': (None, ''),
    'kvm-filesystem-9p': (3, 'folders of vagrant-libvirt; Incus'),
    'kvm-filesystem-share': (3, 'vagrant, virt-manager, KubeVirt'),
    'kvm-disk-directory': (1, 'floppies made of a directory with drivers'),
    'kvm-disk-rawio': (6, 'direct LUNs of oVirt'),
    'kvm-sgio-unfiltered': (0, 'old clusters with reservations; newer libvirts ignore it'),
    'kvm-disk-lun': (1, 'Windows failover clusters, Oracle RAC'),
    'kvm-disk-whole-host-device': (1, 'nova with iSCSI or Fibre Channel over a single path'),
    'kvm-disk-shareable': (3, 'clusters of guests; shared disks of oVirt'),
    'kvm-chardev-run-socket': (0, "agents of one's own in /run; libguestfs is let through"),
    'kvm-chardev-host-file': (12, 'the console log of nova, in /var/lib/nova; KubeVirt'),
    'kvm-chardev-host-device': (0, 'dongles, machines in industry'),
    'kvm-chardev-network-any': (0, 'labs with telnet consoles'),
    'kvm-chardev-network-clear': (4, "the serial console of nova on the host's address; syslog"),
    'kvm-rng-source': (3, 'entropy daemons of old'),
    'kvm-kernel-writable-place': (4, 'virt-install --location in a session'),
    'kvm-firmware-writable': (1, 'recipes for macOS and graphics cards'),
    'kvm-hostdev-pci': (18, 'graphics cards, SR-IOV, network functions; nova, oVirt, KubeVirt'),
    'kvm-hostdev-usb': (10, 'dongles, desktops'),
    'kvm-hostdev-scsi': (6, 'tape libraries; direct LUNs of oVirt'),
    'kvm-hostdev-mdev': (4, 'virtual graphics cards (vGPU)'),
    'kvm-input-host-device': (1, 'desktops for games'),
    'kvm-tpm-passthrough': (4, 'appliances that are alone on their host'),
    'kvm-smartcard-database': (1, ''),
    'kvm-shared-memory-device': (1, 'Looking Glass; DPDK of old'),
    'kvm-vhost-user': (3, 'nova with OVS-DPDK; SPDK'),
    'kvm-memory-locked-unlimited': (1, 'nova with hw:locked_memory'),
    'kvm-realtime-scheduling': (1, 'nova with hw:cpu_realtime; network functions'),
    'kvm-crash-dump': (0, 'support cases'),
    'kvm-sev-debug': (0, ''),
    'kvm-interface-unauthenticated-tunnel': (5, 'Whonix, Kicksecure'),
    'kvm-interface-user': (8, 'GNOME Boxes, and all domains of qemu:///session'),
    'kvm-interface-trust-guest': (1, 'VRRP and keepalived on macvtap'),
    'kvm-interface-unfiltered': (189, 'virt-install and Cockpit, always; neutron and OVN filter elsewhere'),
    'kvm-vsock': (4, 'newer virt-install; ssh over vsock; Kata'),
    'kvm-graphics-listen-any': (5, 'older nova; an example in the manual for RHEL 10'),
    'kvm-graphics-listen-remote': (29, 'oVirt, always; nova with an address for its management'),
    'kvm-graphics-spice-clear': (1, 'labs'),
    'kvm-video-3d': (10, 'GNOME Boxes; desktops of virt-manager'),
    'kvm-device-floppy': (14, 'floppies with drivers for Windows; oVirt'),
    'kvm-device-disk-sd': (1, ''),
    'kvm-device-scsi-legacy': (0, 'imports from VMware'),
    'kvm-device-nic-rare': (5, 'macOS; OpenBSD by virt-install'),
    'kvm-device-video-legacy': (30, 'vagrant-libvirt, always; domains of 2010'),
    'kvm-device-sound-legacy': (4, 'desktops of old'),
    'kvm-cpu-mitigation-off': (0, 'performance labs'),
    'kvm-cpu-nested': (3, 'CI; labs of OpenShift (host-passthrough brings it without this element)'),
}

HEAD = """\
<!-- Made of data/profiles by: python3 tests/security_profiles.py -->

# Security profiles: what a guest may do to its host and neighbours

The lists of the vendors say what is supported. `kvm-baseline` and `kvm-restricted` say what weakens the walls between a
guest, its host and other guests. They go with the list of any vendor, and their rules have names of their own:

```
# virt-guard policy diff rhel-9 kvm-baseline          # what each refuses of the domains of this host
# virt-guard scan --policy kvm-restricted             # every finding, before anything is in force
# virt-guard policy set extends kvm-baseline          # shows what it would refuse, asks, and puts it in force
# ./install.sh --preview --with kvm-baseline          # the same before the guard is installed
```

- **`kvm-baseline`** denies what hardly any domain has and none needs, and warns of the rest.
- **`kvm-restricted`** is for hosts whose guests do not trust each other. It denies nearly all of it; what a domain
  needs all the same gets a waiver with a reason and a day. It is made of `kvm-baseline`, so one of the two is enough.

Where a vendor's list speaks of the same thing under its own name, both rules are told, and the stricter one decides.

## What they cannot see

- **Passwords and TLS of consoles.** libvirt takes the password out of what it gives the hook, and TLS is set in
  `qemu.conf`. So a console on every address is the same to the guard with a password and without; baseline warns of it.
- **What is plugged in later.** libvirt asks no hook about `virsh attach-device`. A running domain is judged by these
  rules when `virt-guard watch` sees the change, which it records; it refuses nothing.
- **Links on another host.** The rules whose names end in `-link` ask this host where a path leads. For a host that is
  only named (`--host`, a file of facts) a path leads where it is written. Below `/var/lib/libvirt`, `/dev`, `/usr` and
  other places where only root makes links, they do not ask. What a link leads to may change after it was looked at;
  AppArmor and SELinux do not depend on the name.
- **Backing files** in a definition, as far as only an image names them. libvirt writes these into the domain as it
  starts, so they are judged then; `check`, `scan` and `policy diff` say nothing of them.
- **The host:** KSM, SMT, microcode, IOMMU groups, `security_driver` and `stdio_handler` in `qemu.conf`, what vmx or
  svm `host-passthrough` brings with it.
- **Definitions** do not show which label a domain will have. `kvm-mac-label-missing` is judged as a domain starts and
  while it runs; `check`, `scan` and `policy diff` say nothing of it.
- **Limits.** That a domain has no limit for memory or disks proves nothing; there is no rule about it.

Rules that would refuse nearly every domain, or that protect only the guest itself, were left out: `nosharepages`,
Secure Boot, redirected USB, sound, e1000 and rtl8139, USB controllers of old.

## What they refuse of public domains

394 distinct domains from the sources of these projects, judged on 2026-11-29 with `--host rhel-9.4`. They are fixtures
and examples, not inventories. Four of the six that `kvm-baseline` refuses are made to have every device or label, one
is a template; the last one uses `/etc/qemu-ifup`.

| made by | domains | refused by `kvm-baseline` | by `kvm-restricted` |
| --- | --- | --- | --- |
| virt-manager, virt-install | 179 | 3 | 48 |
| oVirt (vdsm) | 93 | 1 | 17 |
| nova | 56 | 0 | 14 |
| Go programs (libvirt's types, Terraform, go-libvirt) | 40 | 2 | 13 |
| vagrant-libvirt | 27 | 0 | 27 |

`kvm-restricted` refuses those of vagrant-libvirt for Cirrus graphics or TCG, the others mostly for TCG, PCI
devices and floppy drives.

## Every control

**deny**: the domain does not start. warn: it does, and the record says so. The vendors' columns tell what their lists
say of the same domains, on hosts with rhel-8.10, rhel-9.4, rhel-10.0, sles-15.5 and sles-16.0; -: these lists admit
them. "Of %d" is how many of that many public domains had it when these were looked through on 2026-11-27: fixtures and
examples of virt-install, nova, oVirt, vagrant, KubeVirt and others, not inventories. That nobody has it in public says
little. The grounds of each rule: `virt-guard explain --policy kvm-restricted RULE`.

"""


def render():
    """The text of the page."""
    sys.path.insert(0, str(CHECKOUT / 'tests' / 'cases'))
    from test_kvm import CASES, RULES, VENDORS, kind_of_vendor

    lines = [['Control', 'baseline', 'restricted', *VENDORS, 'of %d' % MEASURED, 'who has it on purpose']]
    lines.append(['---'] * len(lines[0]))
    for id, rule in RULES['kvm-restricted'].items():
        actions = [_bold(RULES[name][id].action) if id in RULES[name] else '-' for name in RULES]
        cases = [case for case in CASES if case.rule == id and case.name.startswith('fail-')]
        vendors = [_bold(kind_of_vendor(vendor, cases)) for vendor in VENDORS]
        hits, who = HAVE[id]
        lines.append(['`%s` %s' % (id, rule.title), *actions, *vendors, '-' if hits is None else str(hits), who or '-'])
    return HEAD % MEASURED + ''.join('| %s |\n' % ' | '.join(line) for line in lines)


def _bold(action):
    return '**deny**' if action == 'deny' else action


if __name__ == '__main__':
    sys.path[:0] = [str(CHECKOUT / 'lib'), str(CHECKOUT / 'tests')]
    PAGE.write_text(render(), encoding='utf-8')
