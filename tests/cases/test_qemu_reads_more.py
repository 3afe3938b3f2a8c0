# SPDX-License-Identifier: Apache-2.0
"""The rule qemu-reads-more: of every option that QEMU has, and has had, whether it makes QEMU read more.

An option that this list does not have is one that nobody has decided on yet.
"""

import pathlib
import re
import shutil
import subprocess
from xml.sax.saxutils import quoteattr

import pytest
from support.policies import load_policy
from virtguard import model
from virtguard.judging.evaluate import evaluate
from virtguard.judging.subject import parse_domain
from virtguard.policy import load
from virtguard.policy.layer import read_layer
from virtguard.policy.merge import merge_layers
from virtguard.policy.problems import PolicyError

TOP = pathlib.Path(__file__).resolve().parents[2]
POLICY = load_policy((TOP / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
RULE = 'qemu-reads-more'
HOST = model.HostFacts('x86_64', 'none', None, lambda name, subject: None)

READS = (
    'readconfig incoming loadvm plugin mon qmp qmp-pretty monitor gdb s qtest semihosting semihosting-config'.split()
)
DOES_NOT = """
    h help version machine M cpu accel smp numa add-fd set global boot m mem-path mem-prealloc k audio-help audio
    audiodev soundhw device name uuid fda fdb hda hdb hdc hdd cdrom blockdev drive mtdblock sd snapshot fsdev virtfs
    virtfs_synth iscsi usb usbdevice display nographic curses sdl spice portrait rotate vga full-screen g vnc
    win2k-hack no-fd-bootchk no-acpi no-hpet acpitable smbios netdev nic net chardev tpmdev bios pflash kernel append
    initrd dtb shim compat fw_cfg serial parallel debugcon pidfile singlestep one-insn-per-tb preconfig S overcommit
    realtime d D dfilter seed L enable-kvm enable-hax no-kvm no-kvm-pit-reinjection no-kvm-irqchip tb-size xen-domid
    xen-attach xen-domid-restrict xen-create no-reboot no-shutdown action echr virtioconsole show-cursor daemonize
    option-rom rtc clock localtime startdate icount watchdog watchdog-action only-migratable nodefaults chroot runas
    run-with async-teardown prom-env old-param sandbox no-user-config nodefconfig writeconfig trace qtest-log
    enable-fips msg dump-vmstate enable-sync-profile perfmap jitdump balloon bt alt-grab ctrl-grab no-frame no-quit
    hdachs tdf object redir smb tftp bootp enable-nesting
""".split()


def rules_of(content, policy=POLICY):
    xml = "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline>%s" % content
    xml += '</qemu:commandline></domain>'
    findings = evaluate(policy, parse_domain(xml.encode()), HOST, '2026-11-27').findings
    assert 'qemu-command-line' in {finding.rule.id for finding in findings}
    return {finding.rule.id for finding in findings if finding.status == model.DENY}


def of_arguments(*arguments, **more):
    return rules_of(''.join('<qemu:arg value=%s/>' % quoteattr(argument) for argument in arguments), **more)


def of_variable(name):
    return rules_of('<qemu:env name=%s value="x"/>' % quoteattr(name))


@pytest.mark.parametrize('option', READS)
@pytest.mark.parametrize('dashes', ['-', '--'])
def test_options_that_read_more(option, dashes):
    for arguments in ([], ['x'], ['id=a,file=x'], ['{"a": "b"}']):
        assert RULE in of_arguments(dashes + option, *arguments), arguments
    assert RULE in of_arguments('-S', dashes + option)
    assert RULE in of_arguments('-device', 'edu', dashes + option, 'x', '-device', 'edu')
    assert RULE not in of_arguments('-name', option)


def test_options_that_do_not():
    assert not set(READS).intersection(DOES_NOT)
    for option in DOES_NOT:
        if option != 'fw_cfg':
            assert RULE not in of_arguments('-' + option, 'x'), option
            assert RULE not in of_arguments('-' + option), option


@pytest.mark.parametrize('binary', ['qemu-system-x86_64', 'qemu-system-aarch64', 'qemu-kvm'])
def test_every_option_of_the_qemu_here_is_decided(binary):
    program = shutil.which(binary) or shutil.which(binary, path='/usr/libexec')
    if program is None:
        pytest.skip('no %s here' % binary)
    text = subprocess.check_output([program, '-help']).decode()
    options = set(re.findall(r'^ ?--?([A-Za-z][\w-]*)', text, re.MULTILINE)) - {'netdevs'}
    assert len(options) > 80
    assert options - set(READS) - set(DOES_NOT) == set()


@pytest.mark.parametrize(
    'arguments, denied',
    [
        (['-serial', 'mon:stdio'], True),
        (['-parallel', 'mon:pty'], True),
        (['-debugcon', 'mon:unix:/x,server=on'], True),
        (['-virtioconsole', 'mon:stdio'], True),
        (['-serial', 'mon:tcp:[::1]:4,a=b'], True),
        (['-serial', 'mon:unix:/x=y,server'], True),
        (['-serial', 'chardev:mon:'], False),
        (['-serial', 'unix:/run/mon:x'], False),
        (['-monitor', 'none'], False),
        (['-gdb', 'none'], False),
        (['-monitor', 'none,x=y'], False),
        (['-monitor', 'null'], True),
        (['-display', 'spice-app'], True),
        (['-display', 'type=spice-app'], True),
        (['-display', '{"type": "spice-app"}'], True),
        (['-display', 'gtk'], False),
        (['-object', 'qtest,id=a,chardev=b'], True),
        (['-object', 'id=a,qom-type=qtest,chardev=b'], True),
        (['-object', 'monitor-hmp,id=a,chardev=b'], True),
        (['-object', "{'qom-type': 'monitor-qmp', 'id': 'a'}"], True),
        (['-object', 'iothread,id=monitor-qmp'], False),
        (['-icount', 'shift=7,rr=replay,rrfile=f'], True),
        (['-icount', 'shift=7,rr=record,rrfile=f,rrsnapshot=s'], True),
        (['-icount', 'shift=7'], False),
        (['-fw_cfg', 'etc/acpi/tables,file=/x'], True),
        (['-fw_cfg', 'name=bootorder,string=x'], True),
        (['-fw_cfg', 'file=/x'], True),
        (['-fw_cfg', 'opt/x,file=/x'], False),
        (['-fw_cfg', 'string=a,name=opt/x'], False),
        (['-fw_cfg', 'id=a,name=opt/x,string=y', '-set', 'fw_cfg.a.name=etc/x'], True),
        (['-set', 'mon.monitor.chardev=x'], True),
        (['-set', 'device.net0.mq=on'], False),
        (['-netdev', 'tap,id=a,script=/x'], True),
        (['-netdev', 'tap,id=a,script=no,downscript=/x'], True),
        (['-netdev', 'bridge,id=a,helper=/x'], True),
        (['-net', 'tap,script=/x'], True),
        (['-nic', 'tap,script=/x'], True),
        (['-netdev', '{"type": "tap", "id": "a", "script": "/x"}'], True),
        (['-netdev', 'user,id=a,guestfwd=tcp:10.0.2.1:9-cmd:/x'], True),
        (['-netdev', '{"type": "user", "id": "a", "guestfwd": [{"str": "tcp:10.0.2.1:9-cmd:/x"}]}'], True),
        (['-netdev', 'vde,id=a,sock=cmd:///x'], True),
        (['-netdev', 'passt,id=a,path=/x'], True),
        (['-netdev', 'passt,id=a'], False),
        (['-netdev', 'tap,id=a,script=,downscript=no'], False),
        (['-netdev', 'vde,id=a,sock=/run/vde'], False),
        (['-netdev', 'user,id=a,guestfwd=tcp:10.0.2.1:9-tcp:[::1]:9'], False),
    ],
    ids=str,
)
def test_settings_of_options(arguments, denied):
    assert (RULE in of_arguments(*arguments)) == denied


@pytest.mark.parametrize(
    'name',
    """LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG_OUTPUT LD_BIND_NOW GCONV_PATH LOCPATH NLSPATH GETCONF_DIR PATH
    HOME XDG_CONFIG_HOME XDG_DATA_DIRS QEMU_MODULE_DIR GIO_MODULE_DIR GIO_EXTRA_MODULES GTK_MODULES GTK_PATH
    GTK_EXE_PREFIX GTK_IM_MODULE_FILE GDK_PIXBUF_MODULE_FILE GSETTINGS_SCHEMA_DIR OPENSSL_CONF OPENSSL_ENGINES
    OPENSSL_MODULES SASL_PATH SASL_CONF_PATH KRB5_CONFIG GNUTLS_SYSTEM_PRIORITY_FILE ALSA_CONFIG_PATH ALSA_PLUGIN_DIR
    LADSPA_PATH PULSE_CONFIG PULSE_CLIENTCONFIG PULSE_DLPATH PIPEWIRE_MODULE_DIR PIPEWIRE_CONFIG_FILE SPA_PLUGIN_DIR
    JACK_DRIVER_DIR GST_PLUGIN_PATH GST_PLUGIN_SCANNER GST_REGISTRY LIBGL_DRIVERS_PATH GBM_BACKENDS_PATH GBM_BACKEND
    LIBVA_DRIVERS_PATH LIBVA_DRIVER_NAME VDPAU_DRIVER_PATH __EGL_VENDOR_LIBRARY_FILENAMES __EGL_VENDOR_LIBRARY_DIRS
    EGL_DRIVERS_PATH VK_ICD_FILENAMES VK_DRIVER_FILES VK_LAYER_PATH VK_INSTANCE_LAYERS VK_ADD_LAYER_PATH
    MESA_LOADER_DRIVER_OVERRIDE RENDER_SERVER_EXEC_PATH SDL_DYNAMIC_API SDL3_DYNAMIC_API IBV_DRIVERS CEPH_CONF
    CEPH_ARGS CEPH_LIB BASH_ENV ENV SHELLOPTS PS4 FONTCONFIG_FILE RESOLV_HOST_CONF""".split(),
)
def test_variables_that_name_code_or_settings(name):
    assert RULE in of_variable(name)


@pytest.mark.parametrize(
    'name',
    """QEMU_AUDIO_DRV QEMU_PA_SAMPLES QEMU_ALSA_DAC_DEV PULSE_SERVER PULSE_RUNTIME_PATH PIPEWIRE_RUNTIME_DIR
    PIPEWIRE_LATENCY XDG_RUNTIME_DIR DISPLAY WAYLAND_DISPLAY XAUTHORITY SDL_VIDEODRIVER SDL_AUDIODRIVER GDK_BACKEND
    TZ LANG LC_ALL MALLOC_ARENA_MAX MALLOC_PERTURB_ G_MESSAGES_DEBUG SPICE_DEBUG_LEVEL QEMU_ENV NS BAR
    ld_preload""".split(),
)
def test_variables_that_do_not(name):
    assert RULE not in of_variable(name)


WAIVER = """
waivers:
  - rules: [%s]
    domains: ['*']
    reason: a test
    approved-by: nobody
    expires: 2026-12-31
"""


def with_waiver_of(rule):
    shipped = read_layer((TOP / 'data/profiles/rhel-8.yaml').read_bytes(), 'policy.yaml')
    layers = [shipped, read_layer((WAIVER % rule).encode(), 'w')]
    return merge_layers(layers)


def test_a_waiver_of_the_command_line_does_not_permit_what_other_rules_deny():
    policy = with_waiver_of('qemu-command-line')
    assert of_arguments('-device', 'edu', policy=policy) == set()
    assert of_arguments('-device', 'edu', '-readconfig', '/x', policy=policy) == {RULE}


def test_the_rule_cannot_be_waived():
    with pytest.raises(PolicyError) as raised:
        with_waiver_of(RULE)
    (problem,) = raised.value.problems
    assert (problem.line, problem.message) == (3, "rule 'qemu-reads-more' cannot be waived")


@pytest.mark.parametrize('name', ['rhel-9', 'rhel-10'])
def test_the_rule_denies_in_every_profile(name):
    policy = load.as_if_in_force(str(TOP / 'data' / 'profiles' / (name + '.yaml')))
    (rule,) = [rule for rule in policy.rules if rule.id == RULE]
    assert (rule.action, rule.waivable) == ('deny', False)


@pytest.mark.parametrize(
    'arguments',
    [
        # Of a repeated guestfwd QEMU takes each.
        ('-netdev', 'user,id=a,guestfwd=tcp:10.0.2.100:1-cmd:/bin/x,guestfwd=tcp:10.0.2.101:1-tcp:192.0.2.1:5'),
        # QEMU before 3.1 makes a monitor of it.
        ('-netdev', 'user,id=a,guestfwd=tcp:10.0.2.100:1-mon:unix:/tmp/x'),
        # ALSA runs what stands behind a bar.
        ('-audiodev', "alsa,id=a,out.dev=tee:null,,'|/bin/x',,raw"),
        ('-audiodev', '{"driver": "alsa", "id": "a", "out": {"dev": "file:\'|/bin/x\',raw"}}'),
    ],
)
def test_commands_that_are_run(arguments):
    assert RULE in of_arguments(*arguments)


@pytest.mark.parametrize(
    'arguments, denied',
    [
        # NSS loads the libraries that the database of an emulated smartcard names.
        (['-device', 'ccid-card-emulated,backend=certificates,db=/x'], True),
        (['-device', '{"driver": "ccid-card-emulated", "db": "sql:/x"}'], True),
        (['-set', 'device.smartcard0.db=/x'], True),
        (['-global', 'ccid-card-emulated.db=/x'], True),
        (['-global', 'driver=ccid-card-emulated,property=db,value=/x'], True),
        (['-device', 'ccid-card-emulated,backend=nss-emulated'], False),
        (['-usbdevice', 'serial::mon:stdio'], True),  # QEMU before 3.1 makes a monitor of it
        (['-usbdevice', 'tablet'], False),
    ],
    ids=str,
)
def test_devices_that_load_code_or_are_a_monitor(arguments, denied):
    assert (RULE in of_arguments(*arguments)) == denied


def test_an_override_that_loads_code():
    xml = (
        "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:override>"
        "<qemu:device alias='a'><qemu:frontend><qemu:property name='%s' type='string' value='/x'/></qemu:frontend>"
        '</qemu:device></qemu:override></domain>'
    )
    for name, denied in (('db', True), ('serial', False)):
        findings = evaluate(POLICY, parse_domain((xml % name).encode()), HOST, '2026-11-27').findings
        assert (RULE in {finding.rule.id for finding in findings}) == denied


@pytest.mark.parametrize('name', ['PULSE_BINARY', 'DBUS_SESSION_BUS_ADDRESS', 'DBUS_SYSTEM_BUS_ADDRESS'])
def test_variables_that_name_a_program(name):
    """libpulse starts its daemon from there; libdbus starts what unixexec: says."""
    assert RULE in of_variable(name)


@pytest.mark.parametrize('name', ['QEMU_ALSA_DAC_DEV', 'QEMU_ALSA_ADC_DEV', 'AUDIODEV'])
def test_sound_devices_that_are_commands(name):
    assert RULE in rules_of('<qemu:env name="%s" value="tee:null,\'|/bin/x\',raw"/>' % name)
    assert RULE not in rules_of('<qemu:env name="%s" value="default"/>' % name)
