#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs virt-guard on a libvirt host, or takes it off again: see --help.
#
# Nothing changes before every reason to stop has been looked for. The link that puts the hook in force is made last,
# after the hook has shown that it works: a hook that cannot judge would refuse every start.
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset LD_LIBRARY_PATH LD_PRELOAD

usage() {
    cat <<'END'
usage: install.sh [--mode audit|enforce] [--profile rhel-8|rhel-9|rhel-10] [--python PATH] [--no-deps] [--root DIR]
       install.sh --uninstall [--root DIR]

Installs virt-guard as libvirt's qemu hook, tells the running daemon, starts the audit of running domains
(virt-guard-watch.service), and judges every domain of this host.
Run it again to upgrade. An edited policy (/etc/virt-guard/policy.yaml) is kept.

  --mode audit     admit every domain, and record which ones would be refused
  --mode enforce   refuse what the policy denies (a new installation does)
  --profile NAME   whose list of unsupported features to judge by: rhel-8, rhel-9 or rhel-10 (default: that which is
                   installed, else that of this RHEL or rebuild, else rhel-8)
  --python PATH    the interpreter to run with (default: /usr/libexec/platform-python or /usr/bin/python3)
  --no-deps        do not install missing packages (Python 3, lxml, PyYAML), stop instead
  --root DIR       make a tree of its own under DIR and leave the host alone: no packages, no daemon
  --uninstall      remove what was installed; packages, audit records and an edited policy stay
  --help           show this text
END
}

die() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

misused() {
    printf 'install.sh: %s\n' "$1" >&2
    usage | head -n 2 >&2
    exit 2
}

changes=0
done_with() { # WHAT PATH: one line for one thing done
    changes=$((changes + 1))
    printf '%-9s  %s\n' "$1" "$2"
}

work='' temporary=''
clean_up() {
    [ -z "$temporary" ] || rm -f -- "$temporary"
    [ -z "$work" ] || rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 141' PIPE

# --- where things are ------------------------------------------------------------------------------------------------

# `root` is '' on a host, else an absolute path without links.
locate() {
    checkout=$(readlink -f -- "$0")
    checkout=${checkout%/*}
    library=$root/usr/lib/virt-guard
    program=$root/usr/libexec/virt-guard/qemu
    command=$root/usr/bin/virt-guard
    manual=$root/usr/share/man
    pages='man5/virt-guard-policy.5 man8/virt-guard.8'
    policy=$root/etc/virt-guard/policy.yaml
    compiled=$root/etc/virt-guard/policy.compiled
    hooks=$root/etc/libvirt/hooks
    main_link=$hooks/qemu
    second_link=$hooks/qemu.d/00-virt-guard
    log=$root/var/log/libvirt/virt-guard.log
    profiles=$library/profiles
    unit=$root/usr/lib/systemd/system/virt-guard-watch.service
    kept_states=$root/var/lib/virt-guard
    # What was shipped with the installed version, of its profile: shows whether the policy in force was edited.
    pristine=$library/policy.yaml
    created=$library/created-directories
    directories='usr/lib/virt-guard/virtguard usr/lib/virt-guard/profiles usr/libexec/virt-guard usr/bin'
    directories="$directories etc/virt-guard/policy.d etc/libvirt/hooks usr/lib/systemd/system"
    directories="$directories usr/share/man/man5 usr/share/man/man8"
    # A host has it from libvirt, with rights of libvirt's choice.
    [ -z "$root" ] || directories="$directories var/log/libvirt"
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

is_plain_file() {
    [ -f "$1" ] && [ ! -L "$1" ]
}

is_our_link() {
    [ -L "$1" ] && [ "$(readlink -m -- "$1")" = "$(readlink -m -- "$program")" ]
}

command_mark='# Written by install.sh of virt-guard'

is_our_command() {
    is_plain_file "$command" && grep -qxF -- "$command_mark" "$command"
}

# Calls `$1 PATH` for each directory above and at RELATIVE, from the top.
each_directory() { # FUNCTION RELATIVE
    path='' rest=$2
    while [ -n "$rest" ]; do
        path=${path:+$path/}${rest%%/*}
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest= ;;
        esac
        "$1" "$path"
    done
}

# A link below --root would lead out of it, and nobody has a reason to make one of our own directories a link.
check_directory() {
    case $root:$1 in
    ?*:* | *virt-guard*) [ ! -L "$root/$1" ] || die "$root/$1 is a symbolic link; remove it" ;;
    esac
    if exists "$root/$1" && [ ! -d "$root/$1" ]; then
        die "$root/$1 is not a directory"
    fi
}

make_directory() {
    if [ ! -d "$root/$1" ]; then
        mkdir -m 755 -- "$root/$1"
        made="$made$1
"
    fi
    case $1 in
    *virt-guard*) [ "$(stat -c %a -- "$root/$1")" = 755 ] || chmod 755 -- "$root/$1" ;;
    esac
}

# --- files -----------------------------------------------------------------------------------------------------------

# Writes DEST in one step, and only where it differs. Sets `written` then.
put() { # SOURCE DEST MODE
    if is_plain_file "$2" && cmp -s -- "$1" "$2" && [ "$(stat -c '%a %u' -- "$2")" = "$3 $uid" ]; then
        return
    fi
    # No mktemp and, by the umask, mostly no chmod: some seventy files pass here.
    temporary=${2%/*}/.virt-guard.$$
    (set -C && cat -- "$1" >"$temporary")
    [ "$3" = 644 ] || chmod "$3" -- "$temporary"
    mv -fT -- "$temporary" "$2"
    temporary=
    written=yes
}

put_and_tell() { # SOURCE DEST MODE
    written=
    put "$@"
    [ -z "$written" ] || done_with installed "$2"
}

quoted() {
    printf '%s\n' "$1" | sed "s/'/'\\\\''/g; s/.*/'&'/"
}

# The hook, with the variables filled in that it leaves to the installer.
write_hook() { # POLICY
    while IFS= read -r line; do
        case $line in
        python=) line=$line$(quoted "$python") ;;
        lib=) line=$line$(quoted "$library") ;;
        policy=) line=$line$(quoted "$1") ;;
        log=) line=$line$(quoted "$log") ;;
        esac
        printf '%s\n' "$line"
    done <"$checkout/hooks/qemu"
}

# A shell script, because a #! line holds neither a path with spaces nor a long one.
write_command() {
    cat <<END
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
$command_mark
exec $(quoted "$python") -I -B -c '
import sys
sys.argv[0] = "virt-guard"
sys.path.insert(0, sys.argv.pop(1))
root = sys.argv.pop(1)
from virtguard import cli, layout
sys.exit(cli.main(layout=layout.installed(root)))
' $(quoted "$library") $(quoted "$root") "\$@"
END
}

# --- the profile: which of the shipped policies is installed ---------------------------------------------------------

shipped_profile() { # NAME
    case $1 in
    rhel-8) printf '%s\n' "$checkout/policy.yaml" ;;
    *) printf '%s\n' "$checkout/data/profiles/$1.yaml" ;;
    esac
}

is_profile() {
    case $1 in
    rhel-8 | rhel-9 | rhel-10) ;;
    *) return 1 ;;
    esac
}

os_release() { # KEY
    file=/etc/os-release
    [ -s $file ] || file=/usr/lib/os-release
    sed -nE "s/^$1=[\"']?([^\"']*)[\"']?\$/\\1/p" $file 2>/dev/null | head -n 1
}

# Sets `profile`, and `shipped`, the policy of that name.
choose_profile() {
    if [ -n "$profile" ]; then
        reason='--profile'
    elif [ -f "$pristine" ] && profile=$(setting policy "$pristine") && is_profile "$profile"; then
        reason='as before; --profile chooses another'
    else
        id=$(os_release ID) version=$(os_release VERSION_ID)
        reason="this host is ${id:-unknown}${version:+ $version}"
        # What is built of RHEL says so, but for Oracle Linux.
        case " $id $(os_release ID_LIKE) " in
        *' rhel '* | *' centos '* | *' ol '*) profile=rhel-${version%%.*} ;;
        *) profile='' ;;
        esac
        if ! is_profile "$profile"; then
            profile=rhel-8
            reason="$reason, which has no list of its own; --profile chooses another"
        fi
    fi
    shipped=$(shipped_profile "$profile")
    printf 'profile    %s (%s)\n' "$profile" "$reason"
}

# All of them, because a policy may extend another.
put_profiles() {
    for name in rhel-8 rhel-9 rhel-10; do
        put_and_tell "$(shipped_profile "$name")" "$profiles/$name.yaml" 644
    done
}

# --- the policy's mode and failure, which --mode sets and which do not count as an edit ------------------------------

setting() { # KEY FILE
    sed -nE "s/^$1:[[:space:]]+[\"']?([a-z0-9-]+)[\"']?([[:space:]].*)?\$/\\1/p" "$2" | head -n 1
}

with_settings() { # FILE MODE FAILURE: comments stay, in their column
    awk -v mode="$2" -v failure="$3" '
        function set(value,    start, tail, room) {
            start = index($0, $2)
            tail = substr($0, start + length($2))
            for (room = length($2) - length(value); room > 0 && tail ~ /#/; room--)
                tail = " " tail
            for (; room < 0 && tail ~ /^  /; room++)
                tail = substr(tail, 2)
            $0 = substr($0, 1, start - 1) value tail
        }
        /^mode:[ \t]+["\047]?(enforce|audit)["\047]?([ \t]|$)/ && mode != "" { set(mode) }
        /^failure:[ \t]+["\047]?(deny|admit)["\047]?([ \t]|$)/ && failure != "" { set(failure) }
        { print }
    ' "$1"
}

without_settings() { # FILE
    sed -E "s/^(mode|failure):[[:space:]]+[\"']?(enforce|audit|deny|admit)[\"']?([[:space:]]+|\$)/\\1: /" "$1"
}

is_same_policy() { # FILE FILE
    is_plain_file "$1" && is_plain_file "$2" || return 1
    without_settings "$1" >"$work/one"
    without_settings "$2" >"$work/other"
    cmp -s "$work/one" "$work/other"
}

# Makes $work/policy, the policy that will be in force. Sets policy_state: `shipped` (ours to replace), `edited` or
# `link`.
prepare_policy() {
    new_mode='' new_failure=''
    case $mode in
    audit) new_mode=audit new_failure=admit ;; # an audit host refuses nothing
    enforce) new_mode=enforce new_failure=deny ;;
    esac
    policy_state=shipped
    if [ -L "$policy" ]; then
        policy_state='link'
        cat -- "$policy" >"$work/policy" || die "$policy is a broken link; remove it or restore its target"
        [ -z "$mode" ] || die "$policy is a link: set mode ($new_mode) and failure ($new_failure) in its target by hand"
    elif is_same_policy "$policy" "$pristine"; then
        with_settings "$shipped" "${new_mode:-$(setting mode "$policy")}" \
            "${new_failure:-$(setting failure "$policy")}" >"$work/policy"
    elif [ -f "$policy" ]; then
        policy_state=edited
        with_settings "$policy" "$new_mode" "$new_failure" >"$work/policy"
    elif [ -e "$policy" ]; then
        die "$policy is not a file"
    else
        with_settings "$shipped" "$new_mode" "$new_failure" >"$work/policy"
    fi
}

put_policy() {
    if [ "$policy_state" != link ]; then
        put_and_tell "$work/policy" "$policy" 644
    fi
    if [ "$policy_state" = shipped ]; then
        if is_same_policy "$policy.new" "$pristine" || is_same_policy "$policy.new" "$shipped"; then
            rm -f -- "$policy.new"
            done_with removed "$policy.new"
        fi
    elif ! cmp -s -- "$shipped" "$pristine" && ! is_same_policy "$shipped" "$work/policy"; then
        with_settings "$shipped" "$(setting mode "$work/policy")" \
            "$(setting failure "$work/policy")" >"$work/policy.new"
        put_and_tell "$work/policy.new" "$policy.new" 644
        printf '           %s\n' "$policy is edited and stays in force; merge what is new, then delete policy.yaml.new"
    fi
    put "$shipped" "$pristine" 644
}

# --- reasons to stop -------------------------------------------------------------------------------------------------

check_checkout() {
    for name in hooks/qemu lib/virtguard/hook.py policy.yaml data/profiles/rhel-9.yaml data/profiles/rhel-10.yaml \
        data/virt-guard-watch.service; do
        [ -r "$checkout/$name" ] || die "$checkout/$name is missing; run install.sh where it is, in a complete checkout"
    done
    for page in $pages; do
        page=$checkout/doc/${page#*/}
        [ -r "$page" ] || die "$page is missing; run install.sh where it is, in a complete checkout"
    done
    for directory in $directories; do
        each_directory check_directory "$directory"
    done
    if exists "$command" && ! is_our_command; then
        die "$command belongs to another program; remove that first"
    fi
}

libvirt_version() {
    {
        for daemon in virtqemud libvirtd; do
            "$daemon" --version </dev/null || :
        done
        for package in libvirt-daemon-driver-qemu libvirt-daemon; do
            # shellcheck disable=SC2016 # dpkg-query's own variable
            dpkg-query -W -f '(package) ${Version}\n' "$package" || :
            rpm -q --queryformat '(package) %{VERSION}\n' "$package" || :
        done
    } 2>/dev/null | sed -nE 's/.*\) ([0-9]+:)?([0-9]+)\.([0-9]+).*/\2 \3/p' | head -n 1
}

# Sets `link`, where libvirt will find the hook, and `other_link`, where it must not find it, too.
choose_link() {
    link=$main_link other_link=$second_link
    if is_our_link "$main_link" || ! exists "$main_link"; then
        return
    fi
    # shellcheck disable=SC2046 # two numbers or nothing
    set -- $(libvirt_version)
    if [ $# -ne 2 ]; then
        die "$main_link belongs to another program, and no libvirt is installed that could run a second hook"
    fi
    if [ "$1" -lt 6 ] || { [ "$1" -eq 6 ] && [ "$2" -lt 5 ]; }; then
        die "$main_link belongs to another program, and libvirt $1.$2 runs only that one hook (6.5 runs more); \
remove it or upgrade libvirt, then run install.sh again"
    fi
    link=$second_link other_link=$main_link
    directories="$directories etc/libvirt/hooks/qemu.d"
    each_directory check_directory etc/libvirt/hooks/qemu.d
    if exists "$link" && ! is_our_link "$link"; then
        die "$link belongs to another program; remove or rename it"
    fi
}

choose_python() {
    if [ -n "$wanted_python" ]; then
        python=$wanted_python
        [ -x "$python" ] || die "there is no interpreter $python"
    else
        python=/usr/libexec/platform-python
        [ -x $python ] || python=/usr/bin/python3
    fi
}

# In the way that the hook imports.
can_import() { # MODULE
    "$python" -I -S -B -c 'import site, sys; site.main(); __import__(sys.argv[1])' "$1" >/dev/null 2>&1
}

check_python() {
    choose_python
    missing=
    [ -x "$python" ] || missing=' python3'
    can_import lxml.etree || missing="$missing python3-lxml"
    can_import yaml || missing="$missing $yaml_package"
    [ -n "$missing" ] || "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 6))' ||
        die "$python is older than Python 3.6"
}

provide_python() {
    yaml_package=python3-yaml
    ! command -v dnf >/dev/null || yaml_package=python3-pyyaml
    check_python
    [ -n "$missing" ] || return 0
    if [ -n "$wanted_python" ]; then
        die "$python cannot import lxml and PyYAML"
    elif [ -n "$root" ] || [ -z "$install_packages" ]; then
        die "$python needs these packages:$missing"
    elif command -v apt-get >/dev/null; then
        # A dead source must not stop what the others provide.
        apt-get -qq update </dev/null >"$work/log" 2>&1 || :
        # shellcheck disable=SC2086 # a list of names
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install \
            $missing </dev/null >>"$work/log" 2>&1 || packages_failed
    elif command -v dnf >/dev/null; then
        # shellcheck disable=SC2086 # a list of names
        dnf -q -y --setopt=install_weak_deps=False install $missing </dev/null >"$work/log" 2>&1 || packages_failed
    else
        die "neither apt-get nor dnf is here to install these packages:$missing"
    fi
    done_with installed "packages:$missing"
    check_python
    [ -z "$missing" ] || die "$python still needs these packages:$missing"
}

packages_failed() {
    cat -- "$work/log" >&2
    die "cannot install these packages:$missing"
}

# An interpreter that cannot read the new code, or a policy that it cannot read, must not come into force. Sets `mode`.
check_code_and_policy() {
    "$python" -I -B - "$checkout/lib" "$work/policy" "$policy" "$mode" >"$work/mode" <<'END' || exit 1
import os
import sys

library, candidate, policy_name, wanted_mode = sys.argv[1:]
package = os.path.join(library, 'virtguard')
for name in sorted(os.listdir(package)):
    if name.endswith('.py'):
        with open(os.path.join(package, name), 'rb') as file:
            compile(file.read(), file.name, 'exec')
sys.path.insert(0, library)
from virtguard.errors import GuardError
from virtguard.host import today
from virtguard.sources import load_candidate

try:
    with open(candidate, 'rb') as file:
        policy = load_candidate(policy_name, file.read(), today())
except GuardError as error:
    for problem in getattr(error, 'problems', [error]):
        print(ascii(str(problem))[1:-1], file=sys.stderr)
    sys.exit('install.sh: this version cannot use that policy; mend it first (no file was changed)')
failure = {'audit': 'admit', 'enforce': 'deny'}.get(wanted_mode)
if failure and (policy.mode, policy.failure) != (wanted_mode, failure):
    sys.exit('install.sh: set mode (%s) and failure (%s) in %s by hand (no file was changed)'
             % (wanted_mode, failure, policy_name))
print(policy.mode)
END
    mode=$(cat "$work/mode")
}

# --- install ---------------------------------------------------------------------------------------------------------

make_directories() {
    made=
    if [ -n "$root" ] && [ ! -d "$root" ]; then
        mkdir -m 755 -- "$root"
        made=".
"
    fi
    for directory in $directories; do
        each_directory make_directory "$directory"
    done
    # Remembered so that --uninstall removes these and no others.
    { cat -- "$created" 2>/dev/null || :; printf %s "$made"; } >"$work/created"
    [ ! -s "$work/created" ] || put "$work/created" "$created" 644
}

put_package() {
    written=
    for module in "$checkout"/lib/virtguard/*.py; do
        put "$module" "$library/virtguard/${module##*/}" 644
    done
    for file in "$library"/virtguard/* "$library"/virtguard/.[!.]*; do
        case ${file##*/} in
        __pycache__) [ -L "$file" ] || continue ;;
        *.py) [ ! -e "$checkout/lib/virtguard/${file##*/}" ] || continue ;;
        *) exists "$file" || continue ;;
        esac
        rm -rf -- "$file"
        written=yes
    done
    # The hook runs where it may not write, so what it imports is compiled now.
    [ -z "$written" ] || rm -rf -- "$library/virtguard/__pycache__"
    "$python" -I -m compileall -q "$library/virtguard" >"$work/log" || die "$(cat -- "$work/log")"
    [ -z "$written" ] || done_with installed "$library"
}

put_programs() {
    write_hook "$policy" >"$work/qemu"
    [ "$(grep -cE "^(python|lib|policy|log)='" "$work/qemu")" -eq 4 ] || die "$checkout/hooks/qemu is not as expected"
    put_and_tell "$work/qemu" "$program" 755
    write_command >"$work/virt-guard"
    put_and_tell "$work/virt-guard" "$command" 755
}

put_manual() {
    for page in $pages; do
        put_and_tell "$checkout/doc/${page#*/}" "$manual/$page" 644
    done
}

# Before the proof, so that what is proved is what will run.
compile_policy() {
    compiled_before=$(cksum -- "$compiled" 2>/dev/null) || compiled_before=
    "$command" policy compile >"$work/said" 2>&1 || die "cannot compile the policy: $(cat "$work/said")"
    [ "$(cksum -- "$compiled")" = "$compiled_before" ] || done_with compiled "$compiled"
}

make_link() {
    if ! is_our_link "$link"; then
        ln -sT -- "$program" "$link"
        done_with linked "$link"
    fi
    if is_our_link "$other_link"; then
        rm -f -- "$other_link"
        done_with removed "$other_link"
    fi
    if [ "$link" = "$second_link" ]; then
        printf '           %s\n' "$main_link, another program's hook, stays; libvirt runs it first, also for a domain \
that virt-guard then refuses"
    fi
}

# As libvirt runs it. Sets `answer`; what the hook said is in $work/said.
ask() { # OPERATION SUB-OPERATION COMMAND...
    operation=$1 sub_operation=$2 answer=0
    shift 2
    env -i LC_ALL=C PATH="$PATH" HOME=/ "$@" virt-guard-install-check "$operation" "$sub_operation" - \
        <"$work/sample.xml" >"$work/said" 2>&1 || answer=$?
}

proof_failed() {
    printf 'install.sh: the hook does not work: %s (exit status %d)\n' "$1" "$answer" >&2
    sed 's/^/  /' "$work/said" >&2
    if is_our_link "$link"; then
        die 'it is in force all the same: it was linked before'
    fi
    die 'it was not put in force: domains start as before'
}

prove() {
    cat >"$work/sample.xml" <<'END'
<domain type='qemu'>
  <name>virt-guard-install-check</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <pm><suspend-to-mem enabled='yes'/></pm>
  <devices>
    <filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='share'/></filesystem>
    <interface type='vhostuser'><source type='unix' path='/run/vhost' mode='client'/></interface>
    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>
    <crypto model='virtio' type='qemu'><backend model='builtin'/></crypto>
  </devices>
</domain>
END
    ask stopped end "$program"
    [ "$answer" -eq 0 ] || proof_failed 'it fails at an operation at which it must not'
    [ ! -s "$work/said" ] || proof_failed 'it speaks at an operation at which it must not'
    ask prepare begin "$program"
    if [ "$answer" -eq 1 ] && [ "$mode" != audit ]; then
        printf 'checked    the hook refuses a domain with unsupported features\n'
    elif [ "$answer" -eq 0 ] && { [ "$mode" = audit ] || [ "$policy_state" != shipped ]; }; then
        # It admits, but would a hook that judges nothing not do the same? So once more, by the shipped rules, enforced.
        temporary=$(mktemp -- "${policy%/*}/.virt-guard.XXXXXX")
        with_settings "$shipped" enforce deny >"$temporary"
        write_hook "$temporary" >"$work/enforcing"
        ask prepare begin sh "$work/enforcing"
        rm -f -- "$temporary"
        temporary=
        [ "$answer" -eq 1 ] || proof_failed 'it does not judge a domain with unsupported features'
        if [ "$mode" = audit ]; then
            printf 'checked    the hook judges a domain with unsupported features, and admits it (mode audit)\n'
        else
            printf 'checked    the hook judges; your policy admits the domain of this check\n'
        fi
    else
        proof_failed "it gives the wrong answer to a domain with unsupported features"
    fi
    printf "           (the audit records of 'virt-guard-install-check' are from this check)\n"
}

# --- the host --------------------------------------------------------------------------------------------------------

label() {
    if [ -z "$root" ] && command -v selinuxenabled >/dev/null && selinuxenabled; then
        restorecon -RF "$library" "${program%/*}" "$command" "${policy%/*}" "$hooks" "$unit" ||
            die 'cannot set the SELinux labels'
        compile_policy # again: a new label has changed the policy's inode
    fi
}

# A daemon looks for hooks when it starts and when it reloads. Never a restart: that would visit running domains.
tell_daemons() {
    [ -z "$root" ] || return 0
    told=
    for daemon in virtqemud libvirtd; do
        if [ -d /run/systemd/system ] && systemctl is-active --quiet "$daemon.service" 2>/dev/null; then
            # The unit reloads by /bin/kill, which a minimal Debian does not have.
            systemctl reload "$daemon.service" 2>/dev/null ||
                systemctl kill --kill-who=main --signal=HUP "$daemon.service" ||
                die "cannot reload $daemon.service, so it may not see the hook; run systemctl restart $daemon.service"
        else
            pid=$(cat "/run/$daemon.pid" 2>/dev/null) || continue
            [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$daemon" ] || continue
            kill -HUP "$pid" || die "cannot tell $daemon (process $pid) to reload"
        fi
        told=yes
        printf 'told       %s to look for hooks (reload)\n' "$daemon"
    done
    [ -n "$told" ] || printf '           %s\n' "$1"
}

# --- the watch -------------------------------------------------------------------------------------------------------

is_systemd_running() {
    [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null
}

put_watch() {
    put_and_tell "$checkout/data/${unit##*/}" "$unit" 644
}

# A watch that does not start is no reason to take the hook back. Sets `watch_failed` then.
start_watch() {
    watch_failed=
    if ! is_systemd_running; then
        [ -n "$root" ] || printf '           %s\n' "systemd does not run; 'virt-guard watch' audits running domains"
    elif [ $changes -gt 0 ] || ! systemctl is-active --quiet "${unit##*/}"; then
        if systemctl daemon-reload && systemctl --quiet enable "${unit##*/}" && systemctl restart "${unit##*/}"; then
            printf 'started    %s\n' "${unit##*/}"
        else
            watch_failed=yes
        fi
    fi
}

remove_watch() {
    if is_systemd_running && exists "$unit"; then
        systemctl --quiet disable --now "${unit##*/}" || die "cannot stop ${unit##*/}"
    fi
    if exists "$unit"; then
        remove "$unit"
        ! is_systemd_running || systemctl daemon-reload || die 'systemd does not reload its units'
    fi
    remove "$kept_states"
}

judge_domains() {
    printf '\nThe domains defined %s:\n' "${root:+under }${root:-on this host}"
    status=0
    "$command" scan || status=$?
    case $status:$mode in
    0:*) ;;
    1:audit) printf '%s\n' "What is denied above would be refused in mode enforce: see virt-guard explain RULE." ;;
    1:*)
        printf '%s\n' 'What is denied above will be refused at its next start. virt-guard explain RULE tells why, and' \
            'what to do. To refuse nothing and only record: install.sh --mode audit.'
        ;;
    *) printf '%s\n' 'Not everything could be judged: see above, then run virt-guard scan.' ;;
    esac
}

install() {
    version=$(sed -n "s/^__version__ = '\(.*\)'\$/\1/p" "$checkout/lib/virtguard/__init__.py")
    printf 'virt-guard %s -> %s\n' "$version" "${root:-/}"
    check_checkout
    choose_link
    provide_python
    choose_profile
    prepare_policy
    check_code_and_policy
    make_directories
    put_package
    put_programs
    put_profiles
    put_watch
    put_manual
    put_policy
    compile_policy
    prove
    make_link
    label
    [ $changes -gt 0 ] || printf 'unchanged  everything was in place\n'
    tell_daemons 'no libvirt daemon runs; the hook is in force when one starts'
    start_watch
    judge_domains
    [ -z "$watch_failed" ] || die "the hook is in force, but ${unit##*/} did not start: see journalctl -u ${unit##*/}"
}

# --- uninstall -------------------------------------------------------------------------------------------------------

remove() { # PATH...
    for path in "$@"; do
        if exists "$path"; then
            rm -rf -- "$path"
            done_with removed "$path"
        fi
    done
}

keep() { # PATH WHY
    printf 'kept       %s (%s)\n' "$1" "$2"
}

uninstall() {
    printf 'virt-guard <- %s\n' "${root:-/}"
    for directory in $directories; do
        each_directory check_directory "$directory"
    done
    for link in "$main_link" "$second_link"; do
        ! is_our_link "$link" || remove "$link"
    done
    remove_watch
    remove "$program"
    ! is_our_command || remove "$command"
    for page in $pages; do
        remove "$manual/$page"
    done
    remove "$compiled"
    # Without a copy of what was installed, what would be installed is the nearest to it.
    for name in rhel-8 rhel-9 rhel-10; do
        if [ ! -f "$pristine" ] && is_same_policy "$policy" "$(shipped_profile $name)"; then
            pristine=$(shipped_profile $name)
        fi
    done
    if is_same_policy "$policy.new" "$pristine"; then
        remove "$policy.new"
    fi
    if is_same_policy "$policy" "$pristine"; then
        remove "$policy"
    elif exists "$policy"; then
        keep "$policy" 'edited'
    fi
    for drop_in in "${policy%.yaml}.d"/*; do
        ! exists "$drop_in" || keep "$drop_in" 'a drop-in of yours'
    done
    # An audit trail outlives the guard, unless it tells of nothing but its installation.
    if is_plain_file "$log" && ! grep -qvF ' VIRT_GUARD_DOMAIN=virt-guard-install-check ' "$log"; then
        remove "$log"
    elif exists "$log"; then
        keep "$log" 'audit records'
    fi
    made=$(cat -- "$created" 2>/dev/null) || made=
    remove "$library/virtguard" "$profiles" "$library/policy.yaml" "$created"
    {
        printf '%s\n' "$made"
        printf '%s\n' usr/lib/virt-guard usr/libexec/virt-guard etc/virt-guard etc/virt-guard/policy.d
    } | LC_ALL=C sort -ru | while IFS= read -r directory; do
        case $directory in
        '' | *..*) continue ;;
        .) path=$root ;;
        *) path=$root/$directory ;;
        esac
        [ ! -d "$path" ] || rmdir --ignore-fail-on-non-empty -- "$path"
    done
    if [ $changes -eq 0 ]; then
        printf 'unchanged  virt-guard is not installed here\n'
        return
    fi
    tell_daemons 'no libvirt daemon runs'
}

# --- the command line ------------------------------------------------------------------------------------------------

root='' mode='' profile='' wanted_python='' install_packages=yes action=install
while [ $# -gt 0 ]; do
    case $1 in
    --root=* | --mode=* | --profile=* | --python=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        ;;
    esac
    case $1 in
    --root | --mode | --profile | --python)
        [ -n "${2-}" ] || misused "$1 needs a value"
        case $1 in
        --root) root=$2 ;;
        --mode) mode=$2 ;;
        --profile) profile=$2 ;;
        --python) wanted_python=$2 ;;
        esac
        shift
        ;;
    --no-deps) install_packages= ;;
    --uninstall) action=uninstall ;;
    --help)
        usage
        exit 0
        ;;
    *) misused "unknown option: $1" ;;
    esac
    shift
done
case $mode in
'' | audit | enforce) ;;
*) misused "--mode is audit or enforce, not: $mode" ;;
esac
[ -z "$profile" ] || is_profile "$profile" || misused "--profile is rhel-8, rhel-9 or rhel-10, not: $profile"
case $wanted_python in
'' | /*) ;;
*) misused "--python needs an absolute path, not: $wanted_python" ;;
esac
case $root$wanted_python in
*[[:cntrl:]]*) misused 'a path with control characters' ;;
esac
if [ $action = uninstall ] && [ -n "$mode$profile$wanted_python" ]; then
    misused '--uninstall goes with --root only'
fi
if [ -n "$root" ]; then
    root=$(readlink -m -- "$root")
    [ "$root" != / ] || root=
fi
uid=$(id -u)
[ -n "$root" ] || [ "$uid" -eq 0 ] || die 'must be run as root (or with --root DIR, for a tree of its own)'
work=$(mktemp -d /tmp/virt-guard-install.XXXXXX)
locate
$action
