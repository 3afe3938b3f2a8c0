#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs virt-guard on a libvirt host, or takes it off again: see --help.
#
# Nothing changes before every reason to stop has been looked for. The new version is put beside the one in force, and
# has to show that it works where libvirt's daemon will run it, in the daemon's own security domain: a hook that the
# daemon cannot run, or that cannot judge, would refuse every start. Then one rename puts it in force. Until then, what
# was changed is put back when something fails.
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset LD_LIBRARY_PATH LD_PRELOAD TZ

usage() {
    cat <<'END'
usage: install.sh [--mode audit|enforce] [--profile NAME] [--with NAME] [--python PATH] [--no-deps] [--root DIR]
       install.sh --preview [--mode audit|enforce] [--profile NAME] [--with NAME] [--python PATH] [--root DIR]
       install.sh --uninstall [--root DIR]
       install.sh --stage DIR

Installs virt-guard as libvirt's qemu hook, tells the running daemon, starts the audit of running domains
(virt-guard-watch.service), and judges every domain of this host.
Run it again to upgrade. An edited policy (/etc/virt-guard/policy.yaml) is kept.

  --mode audit     admit every domain, and record which ones would be refused
  --mode enforce   refuse what the policy denies (a new installation does)
  --profile NAME   whose list of unsupported features to judge by: rhel-8, rhel-9, rhel-10, rhv-4, sles-15 or sles-16;
                   or what a guest may do to its host and others: kvm-baseline or kvm-restricted
                   (default: that which is installed, else that of this host, which RHEL, its rebuilds, SLES, SLED and
                   openSUSE Leap have, else rhel-8)
  --with NAME      judge by this list, too, such as kvm-baseline (several are joined by commas)
  --python PATH    the interpreter to run with (default: /usr/libexec/platform-python or /usr/bin/python3)
  --no-deps        do not install missing packages (Python 3, lxml, PyYAML), stop instead
  --root DIR       make a tree of its own under DIR and leave the host alone: no packages, no daemon
  --preview        change nothing; judge every domain of this host as an installation with these options would, and tell
                   which would be refused. Exit status: 0 none, 1 some, 2 not everything could be judged
  --uninstall      remove what was installed; packages, audit records and an edited policy stay
  --stage DIR      for makers of packages and images: put what a package owns into DIR, as it is on every host, and look
                   at nothing of this one. On the host, root runs /usr/share/virt-guard/installer/install.sh, to put it in
                   force, and with --uninstall before it is removed
  --help           show this text
END
}

die() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "$failed"
}

misused() {
    printf 'install.sh: %s\n' "$1" >&2
    usage | head -n 3 >&2
    exit 2
}

# Before anything else, also --help: where even these are missing, they are not merely not installed.
check_system() {
    missing=
    for tool in awk cat chmod chown cksum cmp cp diff env find grep head id ln mkdir mktemp mv readlink rm rmdir sed \
        sha256sum sleep sort stat sync tr; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    # BusyBox has the names, and not what is asked of them.
    [ -n "$missing" ] || readlink -m -- / >/dev/null 2>&1 || missing=' those of GNU coreutils'
    [ -z "$missing" ] || die "this system is not supported: the hook, as libvirt runs it, and install.sh need programs in \
/usr/bin or /bin that are not there (on NixOS and Guix they never are):$missing"
}

changes=0
done_with() { # WHAT PATH: one line for one thing done
    changes=$((changes + 1))
    printf '%-9s  %s\n' "$1" "$2"
}

work='' temporary='' changed=0 renewal_stopped=''
clean_up() {
    # To the end, whatever fails of it and whoever is impatient.
    set +e
    trap '' HUP INT TERM PIPE
    [ -z "$temporary" ] || rm -f -- "$temporary"
    [ -z "$work" ] || {
        [ -z "$proving" ] || remove_proof
        [ -n "$committed" ] || put_back
        [ -z "$renewal_stopped" ] || systemctl start "${renewal##*/}"
        rm -rf -- "$work"
    }
}
trap clean_up EXIT
obey_signals() {
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE
}
obey_signals

# --- the list of files -----------------------------------------------------------------------------------------------

# What is put where: a file of the checkout, its place, its mode. An installation has them all, and so has a package.
list_files() {
    cat <<'END'
data/virt-guard usr/bin/virt-guard 755
data/virt-guard-watch.service usr/lib/systemd/system/virt-guard-watch.service 644
data/virt-guard-compile.path usr/lib/systemd/system/virt-guard-compile.path 644
data/virt-guard-compile.service usr/lib/systemd/system/virt-guard-compile.service 644
data/virt-guard-metrics.timer usr/lib/systemd/system/virt-guard-metrics.timer 644
data/virt-guard-metrics.service usr/lib/systemd/system/virt-guard-metrics.service 644
data/virt-guard-alerts.yml usr/share/virt-guard/virt-guard-alerts.yml 644
data/virt-guard.catalog usr/lib/systemd/catalog/virt-guard.catalog 644
data/virt-guard.ja.catalog usr/lib/systemd/catalog/virt-guard.ja.catalog 644
data/completions/virt-guard usr/share/bash-completion/completions/virt-guard 644
data/completions/_virt-guard usr/share/zsh/site-functions/_virt-guard 644
data/completions/_virt-guard usr/share/zsh/vendor-completions/_virt-guard 644
data/completions/virt-guard.fish usr/share/fish/vendor_completions.d/virt-guard.fish 644
doc/virt-guard-policy.5 usr/share/man/man5/virt-guard-policy.5 644
doc/virt-guard.8 usr/share/man/man8/virt-guard.8 644
doc/ja/virt-guard-policy.5 usr/share/man/ja/man5/virt-guard-policy.5 644
doc/ja/virt-guard.8 usr/share/man/ja/man8/virt-guard.8 644
packaging/cockpit/manifest.json usr/share/cockpit/virt-guard/manifest.json 644
packaging/cockpit/index.html usr/share/cockpit/virt-guard/index.html 644
packaging/cockpit/virt-guard.js usr/share/cockpit/virt-guard/virt-guard.js 644
packaging/cockpit/virt-guard.css usr/share/cockpit/virt-guard/virt-guard.css 644
packaging/cockpit/po.ja.js usr/share/cockpit/virt-guard/po.ja.js 644
END
}

profiles='rhel-8 rhel-9 rhel-10 rhv-4 sles-15 sles-16 kvm-baseline kvm-restricted'
# Those that there is a catalog for.
languages='ja'

# What the tree of a version, its hook and its policy are made of, for the host that they are on. A package has these
# files, too, below $installer and laid out as in a checkout, and puts them in force by the install.sh among them.
installer=usr/share/virt-guard/installer
list_sources() {
    printf '%s\n' install.sh hooks/qemu policy.yaml
    for known in $profiles; do
        printf 'data/profiles/%s.yaml\n' "$known"
    done
    for known in $languages; do
        printf 'data/languages/%s.po\n' "$known"
    done
    (cd -- "$checkout" && find lib/virtguard -name '*.py' -type f 2>/dev/null) | LC_ALL=C sort
}

# Calls `$1 SOURCE PLACE MODE` for each of the list.
each_file() { # FUNCTION
    while read -r source place rights; do
        "$1" "$source" "$place" "$rights" </dev/null
    done <<END
$(list_files)
END
}

# --- where things are ------------------------------------------------------------------------------------------------

add_directory() { # SOURCE PLACE MODE
    case " $directories " in
    *" ${2%/*} "*) ;;
    *) directories="$directories ${2%/*}" ;;
    esac
}

# `root` is '' on a host, else an absolute path without links.
locate() {
    checkout=$(readlink -f -- "$0")
    checkout=${checkout%/*}
    # The install.sh of a package leaves alone what the package owns.
    packaged=
    [ "$checkout" != "/$installer" ] || packaged=yes
    library=$root/usr/lib/virt-guard
    # One level deep in /usr/sbin: AppArmor's profile of libvirtd lets it execute that (and no other place of ours), and
    # SELinux labels it bin_t. What judges is the path behind the link in hooks/.
    program=$root/usr/sbin/virt-guard-hook
    old_program=$root/usr/libexec/virt-guard/qemu
    command=$root/usr/bin/virt-guard
    policy=$root/etc/virt-guard/policy.yaml
    compiled=$root/etc/virt-guard/policy.compiled
    # What `virt-guard policy set` writes, and --mode, too.
    settings=$root/etc/virt-guard/policy.d/70-settings.yaml
    hooks=$root/etc/libvirt/hooks
    main_link=$hooks/qemu
    second_link=$hooks/qemu.d/00-virt-guard
    log=$root/var/log/libvirt/virt-guard.log
    staged=$library/.new
    # What proves the hook before it is in force: names that libvirt does not run.
    proof_program=$program.check
    proof_link=$hooks/virt-guard-check
    # A hook that judges by a policy of this name leaves no record: see PROOF_POLICY in hook/call.py, and hooks/qemu.
    proof_policy=$root/etc/virt-guard/.virt-guard-check.yaml
    unit=$root/usr/lib/systemd/system/virt-guard-watch.service
    # What compiles the policy anew when its sources have changed.
    renewal=$root/usr/lib/systemd/system/virt-guard-compile.path
    renewal_service=${renewal%.path}.service
    kept_states=$root/var/lib/virt-guard
    policy_lock=$kept_states/policy.lock # as in commands/policies/policy_change
    # What writes metrics, where node_exporter reads them (on Debian, on RHEL); and alerts.
    metrics=$root/usr/lib/systemd/system/virt-guard-metrics.timer
    metrics_service=${metrics%.timer}.service
    metrics_directories='/var/lib/prometheus/node-exporter /var/lib/node_exporter/textfile_collector'
    # What the installed version has put into /etc: shows whether the policy in force was edited.
    pristine=$library/policy.yaml
    created=$library/created-directories
    # That the timer of metrics was enabled: one that is not since then, somebody has disabled.
    metrics_enabled=$library/metrics-enabled
    # The names of the other units that a package has enabled.
    enabled=$library/enabled-units
    presets=/usr/lib/systemd/system-preset/80-virt-guard.preset
    directories='usr/lib/virt-guard usr/sbin etc/virt-guard/policy.d etc/libvirt/hooks'
    [ -n "$packaged" ] || each_file add_directory
    # Where versions before the trees had the package and the program.
    old_directories='usr/lib/virt-guard/virtguard usr/libexec/virt-guard'
    # A host has it from libvirt, with rights of libvirt's choice.
    [ -z "$root" ] || directories="$directories var/log/libvirt"
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

is_plain_file() {
    [ -f "$1" ] && [ ! -L "$1" ]
}

leads_to() { # LINK PROGRAM
    [ -L "$1" ] && [ "$(readlink -m -- "$1")" = "$(readlink -m -- "$2")" ]
}

is_our_link() {
    leads_to "$1" "$program" || leads_to "$1" "$old_program"
}

is_in_force() {
    is_our_link "$main_link" || is_our_link "$second_link"
}

# By libvirt, or by another program's hook that calls ours.
is_in_use() {
    exists "$program" || is_in_force
}

command_mark='# Written by install.sh of virt-guard'

is_our_command() {
    is_plain_file "$command" && grep -qxF -- "$command_mark" "$command"
}

is_our_program() {
    [ -f "$program" ] && grep -q '^# What libvirt runs: qemu DOMAIN OPERATION' -- "$program"
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

# Two at once would take each other's files for those of a run that was killed. The kernel lets go of the lock whatever
# ends this process.
lock() {
    locked=${root:-/etc}
    if [ -d "$locked" ] && command -v flock >/dev/null; then
        exec 9<"$locked"
        flock -n 9 || die "another install.sh is at work on ${root:-this host}; wait for its end"
    fi
}

# A link below --root would lead out of it, and nobody has a reason to make a directory of our code a link. Where
# /usr/sbin is one with /usr/bin, it is a link that stays inside. The policy may be kept elsewhere, if nobody else may
# write there: the hook obeys it, and tells whoever could change it (see check_policy and prove).
check_directory() {
    case $root:$1 in
    ?*:usr/sbin) [ ! -L "$root/$1" ] || [ "$(readlink -- "$root/$1")" = bin ] || die "$root/$1 is a symbolic link; remove it" ;;
    *:etc/virt-guard | *:etc/virt-guard/policy.d)
        if [ -L "$root/$1" ]; then
            target=$(readlink -m -- "$root/$1")
            case $target in
            "$root"/*) ;;
            *) die "$root/$1 is a symbolic link that leads out of $root; remove it" ;;
            esac
            [ -d "$target" ] || die "$root/$1 is a symbolic link to $target, which is no directory; remove it"
        fi
        ;;
    ?*:* | *virt-guard*) [ ! -L "$root/$1" ] || die "$root/$1 is a symbolic link; remove it" ;;
    esac
    if exists "$root/$1" && [ ! -d "$root/$1" ]; then
        die "$root/$1 is not a directory"
    fi
}

# As root, only what is on a read-only file system cannot be written.
check_writable() { # PATH...
    for path in "$@"; do
        while [ ! -d "${path:-/}" ]; do
            path=${path%/*}
        done
        case $action in
        uninstall) advice='run install.sh --uninstall where the image is built' ;;
        *) advice="run install.sh where the image is built, and then 'virt-guard policy compile' on the host" ;;
        esac
        [ -w "${path:-/}" ] || die "${path:-/} is read-only, and nothing was changed. On a host that is made of an \
image (ostree, bootc), $advice"
    done
}

make_directory() {
    if [ ! -d "$root/$1" ]; then
        changing "$root/$1"
        mkdir -m 755 -- "$root/$1"
        label "$root/$1"
        made="$made$1
"
    fi
    case $1 in
    *virt-guard*) # what a link leads to is not ours
        [ -L "$root/$1" ] || [ "$(stat -c %a -- "$root/$1")" = 755 ] || chmod 755 -- "$root/$1"
        ;;
    esac
}

# --- files -----------------------------------------------------------------------------------------------------------

# Called before a path is made, changed or removed, as long as that may have to be undone.
changing() { # PATH
    [ -z "$committed" ] || return 0
    # Counted last: half a copy, where no more fits on the disk, must not be put back.
    printf '%s\n' "$1" >"$work/changed.$((changed + 1))"
    [ -d "$1" ] || ! exists "$1" || cp -a -- "$1" "$work/before.$((changed + 1))"
    changed=$((changed + 1))
}

# Everything as it was, from the last change to the first.
put_back() {
    restored_policy=
    while [ "$changed" -gt 0 ]; do
        path=$(cat -- "$work/changed.$changed")
        case $path in "$policy" | "$settings") restored_policy=yes ;; esac
        if exists "$work/before.$changed"; then
            temporary=${path%/*}/.virt-guard.$$
            cp -a -- "$work/before.$changed" "$temporary" && mv -fT -- "$temporary" "$path"
            temporary=
        elif [ -d "$path" ] && [ ! -L "$path" ] && [ "$path" != "$tree" ] && [ "$path" != "$staged" ]; then
            rmdir --ignore-fail-on-non-empty -- "$path"
        else
            rm -rf -- "$path"
        fi
        changed=$((changed - 1))
    done
    [ -z "$restored_policy" ] || "$command" policy compile >"$work/said" 2>&1 || :
}

# Our own files only: what others have put into the directories of libvirt keeps the label that they gave it.
label() { # PATH...
    [ -z "$root" ] && command -v selinuxenabled >/dev/null && selinuxenabled || return 0
    restorecon -F -- "$@" || die "cannot set the SELinux label of $*"
}

# Writes DEST in one step, and only where it differs. Sets `written` then.
put() { # SOURCE DEST MODE
    if is_plain_file "$2" && cmp -s -- "$1" "$2" && [ "$(stat -c '%a %u' -- "$2")" = "$3 $uid" ]; then
        return
    fi
    temporary=${2%/*}/.virt-guard.$$
    (set -C && cat -- "$1" >"$temporary")
    chmod "$3" -- "$temporary" # whatever a default ACL of the directory says
    changing "$2"
    mv -fT -- "$temporary" "$2"
    temporary=
    label "$2"
    written=yes
}

put_and_tell() { # SOURCE DEST MODE
    written=
    put "$@"
    [ -z "$written" ] || done_with installed "$2"
}

quoted() {
    printf '%s\n' "$1" | LC_ALL=C sed "s/'/'\\\\''/g; s/.*/'&'/"
}

# The hook, or the command, with the variables filled in that they leave to the installer. Both name the tree of their own
# version, so that the rename of the hook puts program and tree in force at once.
fill_in() { # SOURCE [POLICY]
    while IFS= read -r line; do
        case $line in
        root=) line=$line$(quoted "$root") ;;
        python=) line=$line$(quoted "$python") ;;
        lib=) line=$line$(quoted "$tree") ;;
        policy=) line=$line$(quoted "$2") ;;
        log=) line=$line$(quoted "$log") ;;
        esac
        printf '%s\n' "$line"
    done <"$checkout/$1"
}

# --- the profile: which of the shipped policies is installed ---------------------------------------------------------

shipped_profile() { # NAME
    printf '%s\n' "$checkout/data/profiles/$1.yaml"
}

is_profile() {
    for known in $profiles; do
        [ "$1" != "$known" ] || return 0
    done
    return 1
}

# Asks the package of the checkout what to do; its answer is in $work/said, and a reason to stop is one here, too.
decide() { # VERB ARGUMENT...
    tree=$checkout/lib
    of_package commands.installing.setup "$@" >"$work/said" 2>"$work/problem" || die "$(cat -- "$work/problem")"
    tree=
}

# Sets `profile`.
choose_profile() {
    decide choose-profile "$profile" "$pristine"
    read -r profile reason <"$work/said"
    printf 'profile    %s (%s)\n' "$profile" "$reason"
    sed -n '2,$s/^/           /p' "$work/said"
}

# What is put into /etc. Both this and the next function are as in commands/installing/candidate: here, too, because
# --uninstall must be able to ask them where Python does not run.
write_policy() { # PROFILE
    sed -E "s/^(policy|extends): rhel-8\$/\1: $1/" "$checkout/policy.yaml"
}

# The policy without mode and failure, which do not count as an edit.
without_settings() { # FILE
    sed -E -e "/^(mode|failure):[[:space:]]+[\"']?(enforce|audit|deny|admit)[\"']?[[:space:]]*\$/d" \
        -e "s/^(mode|failure):[[:space:]]+[\"']?(enforce|audit|deny|admit)[\"']?[[:space:]]+/\1: /" "$1"
}

# Whether a drop-in has nothing but what --mode and --with set.
is_mode_alone() { # FILE
    is_plain_file "$1" && ! grep -qvxE \
        '# Written by virt-guard policy set, and by hand\.|mode: (enforce|audit)|failure: (deny|admit)|extends: [][a-z0-9, -]+|' -- "$1"
}

is_same_policy() { # FILE FILE
    is_plain_file "$1" && is_plain_file "$2" || return 1
    without_settings "$1" >"$work/one"
    without_settings "$2" >"$work/other"
    cmp -s "$work/one" "$work/other"
}

# Without a copy of what was installed, what would be installed is the nearest to it. Sets `pristine` to that then.
recall_shipped() {
    for name in $profiles; do
        write_policy "$name" >"$work/$name"
        if [ ! -f "$pristine" ] && is_same_policy "$policy" "$work/$name"; then
            pristine=$work/$name
        fi
    done
}

# Makes $work/policy, the policy that will be in force, and $work/drop-in, if it needs other settings. Sets policy_state:
# `shipped` (ours to replace), `edited` or `link`; and `offered`, what to do with the file beside it: `put`
# ($work/policy.new), `remove` or `leave`.
prepare_policy() {
    ! exists "$settings" || cp -a -- "$settings" "$work/drop-in.before"
    decide prepare "$policy" "$pristine" "$profile" "$mode" "$work" "$besides"
    read -r policy_state offered <"$work/said"
}

# Not over what a command of ours has written since the installer has read it.
put_settings() {
    if [ -f "$policy_lock" ] && command -v flock >/dev/null; then
        exec 8<"$policy_lock"
        flock -w 120 8 || die 'another command that changes the policy does not end; run install.sh again then'
    fi
    if exists "$settings" && ! cmp -s -- "$work/drop-in.before" "$settings"; then
        die "somebody else has changed $settings meanwhile; run install.sh again"
    fi
    put_and_tell "$work/drop-in" "$settings" 644
    exec 8<&-
}

put_policy() {
    # First the settings: what they take over from the policy of before, both say for a moment.
    if exists "$work/drop-in"; then
        stop_renewal
        put_settings
    fi
    if [ "$policy_state" != link ]; then
        cmp -s -- "$work/policy" "$policy" || stop_renewal
        put_and_tell "$work/policy" "$policy" 644
    fi
    case $offered in
    remove)
        changing "$policy.new"
        rm -f -- "$policy.new"
        done_with removed "$policy.new"
        ;;
    put)
        put_and_tell "$work/policy.new" "$policy.new" 644
        printf '           %s\n' "$policy is edited and stays in force; move what you have changed to a file in \
${settings%/*}, then put policy.yaml.new in its place"
        ;;
    esac
    if [ "$policy_state" != shipped ] && ! grep -q '^extends:' -- "$policy"; then
        printf '           %s\n' "$policy has rules of its own; those of new versions do not reach this host"
    fi
    put "$work/shipped" "$pristine" 644
}

# --- reasons to stop -------------------------------------------------------------------------------------------------

check_is_complete() {
    for name in lib/virtguard/hook/call.py $(list_sources); do
        check_is_there "$name"
    done
    [ -n "$packaged" ] || each_file check_is_there
}

check_is_there() { # SOURCE...
    [ -r "$checkout/$1" ] || die "$checkout/$1 is missing; run install.sh where it is, in a complete checkout"
}

check_places() {
    for directory in $directories $old_directories; do
        each_directory check_directory "$directory"
    done
    if exists "$command" && ! is_our_command; then
        die "$command belongs to another program; remove that first"
    fi
    if is_plain_file "$program" && ! is_our_program; then
        die "$program belongs to another program; remove that first"
    fi
    for path in "$program" "$compiled" "$settings" "$policy.new" "$pristine" "$created" "$metrics_enabled" \
        "$enabled"; do
        check_is_no_directory '' "${path#"$root"/}"
    done
    [ -n "$packaged" ] || each_file check_is_no_directory
    for directory in $directories; do
        check_writable "$root/$directory"
    done
}

check_is_no_directory() { # SOURCE PLACE...
    [ ! -d "$root/$2" ] || [ -L "$root/$2" ] || die "$root/$2 is a directory; remove it"
}

# Sets `link`, where libvirt will find the hook, and `other_link`, where it must not find it, too.
choose_link() {
    decide choose-link "$hooks" "$program" "$old_program"
    read -r name <"$work/said"
    link=$hooks/$name
    case $link in
    "$main_link") other_link=$second_link ;;
    *)
        other_link=$main_link
        directories="$directories etc/libvirt/hooks/qemu.d"
        each_directory check_directory etc/libvirt/hooks/qemu.d
        ;;
    esac
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

# Which of these modules the hook could not import, a line each.
cannot_import() { # MODULE...
    "$python" -I -S -B -c '
import sys
sys.path.insert(0, sys.argv[1])
from virtguard.libraries import enable_packages
enable_packages()
for name in sys.argv[2:]:
    try:
        __import__(name)
    except Exception:
        print(name)
' "$checkout/lib" "$@" 2>/dev/null || printf '%s\n' "$@"
}

check_python() {
    choose_python
    missing=
    [ -x "$python" ] || missing=' python3'
    lacking=$(cannot_import lxml.etree yaml)
    case $lacking in *lxml*) missing="$missing python3-lxml" ;; esac
    case $lacking in *yaml*) missing="$missing $yaml_package" ;; esac
    [ -n "$missing" ] || "$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 6))' ||
        die "$python is older than Python 3.6"
}

choose_manager() {
    manager=
    for name in apt-get zypper dnf; do
        [ -n "$manager" ] || ! command -v $name >/dev/null || manager=$name
    done
    case $manager in
    zypper) yaml_package=python3-PyYAML ;;
    dnf) yaml_package=python3-pyyaml ;;
    *) yaml_package=python3-yaml ;;
    esac
}

provide_python() {
    choose_manager
    check_python
    if [ -z "$missing" ]; then
        choose_link
        return
    fi
    if [ -n "$wanted_python" ]; then
        die "$python cannot import lxml and PyYAML"
    elif [ -n "$root" ] || [ -z "$install_packages" ]; then
        die "$python needs these packages:$missing"
    fi
    # Before a package is installed, if Python is there already: this may be a reason to stop.
    [ -n "$(cannot_import virtguard.commands.installing.setup)" ] || choose_link
    case $manager in
    apt-get)
        # A dead source must not stop what the others provide.
        apt-get -qq update </dev/null 9<&- >"$work/log" 2>&1 || :
        # shellcheck disable=SC2086 # a list of names
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install \
            $missing </dev/null 9<&- >>"$work/log" 2>&1 || packages_failed
        ;;
    zypper)
        # Some of what it returns is no failure: a reboot or a restart is advised, or a dead source was left out.
        # shellcheck disable=SC2086 # a list of names
        zypper --non-interactive --quiet install --no-recommends $missing </dev/null 9<&- >"$work/log" 2>&1 ||
            case $? in 102 | 103 | 106) ;; *) packages_failed ;; esac
        ;;
    dnf)
        # shellcheck disable=SC2086 # a list of names
        dnf -q -y --setopt=install_weak_deps=False install $missing </dev/null 9<&- >"$work/log" 2>&1 || packages_failed
        ;;
    *) die "neither apt-get, nor zypper, nor dnf is here to install these packages:$missing" ;;
    esac
    done_with installed "packages:$missing"
    check_python
    [ -z "$missing" ] || die "$python still needs these packages:$missing"
    [ -n "$link" ] || choose_link
}

packages_failed() {
    cat -- "$work/log" >&2
    die "cannot install these packages:$missing"
}

# What this version says, from the tree that is to be in force. It is the caller's part to say what failed.
of_package() { # MODULE ARGUMENT...
    "$python" -I -S -B -c '
import sys
sys.path.insert(0, sys.argv.pop(1))
from virtguard.libraries import enable_packages
enable_packages()
from importlib import import_module
sys.exit(import_module("virtguard." + sys.argv[1]).main(sys.argv[2:], sys.stdout))
' "$tree" "$@"
}

# A policy that the new code cannot read must not come into force. Sets `mode` and `deadline` (seconds).
check_policy() {
    of_package commands.installing.setup check "$work/policy" "$policy" "$mode" "$work/drop-in" >"$work/settings" ||
        die 'this version cannot use that policy; mend it first (nothing was changed)'
    read -r mode deadline <"$work/settings"
    sed -n '2,$s/^/           /p' "$work/settings"
    # While the hook is in use, at each moment its code must be able to read its policy.
    policy_first=yes
    if is_in_use && exists "$policy" && ! cmp -s -- "$work/policy" "$policy"; then
        if of_package commands.installing.setup check "$policy" "$policy" '' >/dev/null 2>&1; then
            policy_first=
        elif ! "$command" policy check "$work/policy" >"$work/said" 2>&1; then
            sed 's/^/  /' "$work/said" >&2
            die 'the installed version cannot use the new policy, nor this version the installed one; run install.sh \
--uninstall first (nothing was changed)'
        fi
    fi
}

# --- install ---------------------------------------------------------------------------------------------------------

make_directories() {
    made=
    if [ -n "$root" ] && [ ! -d "$root" ]; then
        changing "$root"
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

# The package as a tree of its own, named for what is in it, beside those that are there. Nothing uses it yet. Sets
# `tree`.
put_tree() {
    tree=$staged
    changing "$staged"
    mkdir -m 755 -- "$staged"
    cp -RL -- "$checkout/lib/virtguard" "$staged/virtguard"
    find "$staged" -depth \( -name '__pycache__' -o -name '*.egg-info' \) -exec rm -rf -- {} +
    mkdir -m 755 -- "$staged/profiles" "$staged/languages"
    for name in $profiles; do
        cat -- "$(shipped_profile "$name")" >"$staged/profiles/$name.yaml"
    done
    for name in $languages; do
        cat -- "$checkout/data/languages/$name.po" >"$staged/languages/$name.po"
    done
    find "$staged" -type d -exec chmod 755 -- {} +
    find "$staged" -type f -exec chmod 644 -- {} +
    [ "$uid" -ne 0 ] || chown -R 0:0 -- "$staged"
    digest=$(cd -- "$staged" && find . -type f -exec sha256sum -- {} + | LC_ALL=C sort | sha256sum)
    name=tree-$(printf %.12s "$digest")
    number=1
    # A tree that was damaged may still be in use, so it is not mended but replaced by one of another name.
    while exists "$library/$name" && ! is_intact "$library/$name"; do
        number=$((number + 1))
        name=${name%%.*}.$number
    done
    tree=$library/$name
    if exists "$tree"; then
        rm -rf -- "$staged"
        # For an interpreter that has not run it yet.
        "$python" -I -m compileall -q "$tree/virtguard" >"$work/log" || die "$(cat -- "$work/log")"
        make_start_file
        return
    fi
    # The hook runs where it may not write, so what it imports is compiled now.
    if ! "$python" -I -m compileall -q -d "$tree/virtguard" "$staged/virtguard" >"$work/log" 2>&1; then
        cat -- "$work/log" >&2
        die "$python cannot compile the code of this version"
    fi
    find "$staged" -type f -exec sync -- {} + # what a power failure leaves must be whole, or not be in force
    changing "$tree"
    mv -T -- "$staged" "$tree"
    [ -n "$root" ] || ! command -v selinuxenabled >/dev/null || ! selinuxenabled || restorecon -RF -- "$tree" ||
        die "cannot set the SELinux labels of $tree"
    make_start_file
    done_with installed "$tree"
}

# All that a start loads in one file, for this interpreter. The hook checks it, and can do without it.
make_start_file() {
    of_package hook.start_file_maker "$tree" 2>"$work/problem" ||
        printf 'install.sh: each start will take longer, as its modules cannot be put into one file: %s\n' \
            "$(tail -n 1 -- "$work/problem")" >&2
}

is_intact() { # TREE
    [ ! -L "$1" ] && diff -r -q -x __pycache__ -- "$staged" "$1" >/dev/null 2>&1 &&
        [ -z "$(find "$1" \( ! -user "$uid" -o -perm /022 -o -type l \) -print)" ]
}

put_command() {
    [ -z "$packaged" ] || return 0
    fill_in data/virt-guard >"$work/virt-guard"
    put_and_tell "$work/virt-guard" "$command" 755
}

# All of the list but the command, which must be there earlier.
put_files() {
    if [ -z "$packaged" ]; then
        each_file put_file
    else
        each_file remove_replaced
    fi
}

put_file() { # SOURCE PLACE MODE
    [ "$root/$2" != "$command" ] || return 0
    put_and_tell "$checkout/$1" "$root/$2" "$3"
    [ -z "$written" ] || after_change "$2"
}

# The manual of an installation without a package: that of the package is compressed.
remove_replaced() { # SOURCE PLACE MODE
    case $2 in
    usr/share/man/*) [ ! -e "$root/$2.gz" ] || ! exists "$root/$2" || remove "$root/$2" ;;
    esac
}

# What journalctl -x says of the records is a service to whoever reads them, so nothing depends on it.
after_change() { # PLACE
    case $root/$1 in
    /usr/lib/systemd/catalog/*)
        ! command -v journalctl >/dev/null || timeout 60 journalctl --update-catalog >/dev/null 2>&1 || :
        ;;
    esac
}

compile_policy() {
    compiled_before=$(cksum -- "$compiled" 2>/dev/null) || compiled_before=
    "$command" policy compile >"$work/said" 2>&1 || die "cannot compile the policy: $(cat "$work/said")"
    label "$compiled"
    [ "$(cksum -- "$compiled")" = "$compiled_before" ] || done_with compiled "$compiled"
}

# The one moment at which another version comes into force. With the program goes what it compiles the policy to, since
# it does not use what another version has made of it.
switch_program() {
    if is_plain_file "$program" && cmp -s -- "$work/program" "$program" &&
        [ "$(stat -c '%a %u' -- "$program")" = "755 $uid" ]; then
        return
    fi
    changing "$compiled"
    changing "$program"
    temporary=${program%/*}/.virt-guard.$$
    (set -C && cat -- "$work/program" >"$temporary")
    chmod 755 -- "$temporary"
    sync -- "$temporary"
    of_package commands.installing.setup switch "$policy" "$temporary" "$program" || die 'this version was not put in force'
    temporary=
    label "$program" "$compiled"
    done_with installed "$program"
}

# The link, in one step, in place of an old one of ours: never none, and never two. Its name until then is one that
# libvirt does not run; in qemu.d/ every name is run.
make_link() {
    if leads_to "$link" "$program" && [ "$(readlink -- "$link")" = "$program" ]; then
        remove_other_link
        return
    fi
    changing "$link"
    changing "$other_link"
    temporary=$hooks/.virt-guard.$$
    ln -s -- "$program" "$temporary"
    label "$temporary"
    if ! exists "$link" && is_our_link "$other_link"; then
        mv -fT -- "$temporary" "$other_link"
        mv -T -- "$other_link" "$link"
        done_with moved "$other_link to $link"
    else
        mv -fT -- "$temporary" "$link"
        done_with linked "$link"
        remove_other_link
    fi
    temporary=
    label "$link"
}

remove_other_link() {
    if is_our_link "$other_link"; then
        rm -f -- "$other_link"
        done_with removed "$other_link"
    fi
}

tell_of_other_hook() {
    [ "$link" != "$second_link" ] || printf '           %s\n' "$main_link, another program's hook, stays; libvirt runs \
it first, also for a domain that virt-guard then refuses"
}

# --- what earlier versions, and interrupted runs, have left ----------------------------------------------------------

remove_proof() {
    proving=
    rm -f -- "$proof_link" "$proof_program" "$proof_policy" "${proof_policy%.yaml}".compiled*
}

# Files that no version uses: a run that was killed leaves them.
tidy() {
    rm -rf -- "$staged"
    remove_proof
    for directory in $directories etc/virt-guard usr/libexec/virt-guard; do
        rm -f -- "$root/$directory"/.virt-guard.[0-9]*
    done
    rm -f -- "$compiled".[0-9]* "${policy%/*}/drop-in.new" # the second: of a killed command that writes a drop-in
}

processes_with() { # WORD...: the numbers of those of whose arguments one is such a word
    printf '%s\n' "$@" >"$work/words"
    grep -lzxF -f "$work/words" /proc/[0-9]*/cmdline 2>/dev/null | sed 's,[^0-9]*\([0-9]*\).*,\1,' || :
}

# The calls of the hook that began before this moment. They read their code until their end.
note_calls() {
    calls=$(processes_with "$main_link" "$second_link" "$program" "$old_program")
}

await_calls() {
    tries=150 # tenths of a second
    for call in $calls; do
        while [ $tries -gt 0 ] && [ -n "$({ tr -d '\0' <"/proc/$call/cmdline"; } 2>/dev/null)" ]; do
            tries=$((tries - 1))
            sleep 0.1
        done
    done
}

# Code that is not in force any more: other trees, and what versions without trees had.
remove_old_code() {
    for old in "$library"/tree-* "$library/virtguard" "$library/profiles"; do
        case $old in
        "$tree") continue ;;
        */tree-*) user=$old ;;
        *) user=$library ;;
        esac
        exists "$old" || continue
        if [ -n "$(processes_with "$user")" ]; then
            keep "$old" 'a process still uses it; the next run of install.sh removes it'
        else
            rm -rf -- "$old"
            done_with removed "$old"
        fi
    done
    if exists "$old_program"; then
        rm -f -- "$old_program"
        rmdir --ignore-fail-on-non-empty -- "${old_program%/*}"
        done_with removed "$old_program"
    fi
}

# --- the proof -------------------------------------------------------------------------------------------------------

not_put_in_force() {
    if is_in_force; then
        die 'nothing was changed; the version that was in force before still is'
    fi
    die 'it was not put in force, and nothing was changed: domains start as before'
}

# Puts the hook where nothing uses it yet, under a name that libvirt does not run, and has it proved there.
prove() {
    # By the shipped rules, enforced, whatever the site's policy says; and with the longest deadline that there is: how
    # long a call takes is the next question.
    proving=yes
    of_package commands.installing.setup proof-policy "$profile" "$proof_policy" || not_put_in_force
    label "$proof_policy"
    fill_in hooks/qemu "$proof_policy" >"$work/proof-program"
    proved=$program
    if exists "$program"; then
        proved=$proof_program # the program itself is in use
        cat -- "$work/proof-program" >"$proved"
        chmod 755 -- "$proved"
        label "$proved"
    else
        put "$work/proof-program" "$proved" 755
    fi
    ln -s -- "$proved" "$proof_link"
    label "$proof_link"
    of_package commands.installing.proof "$root" "$policy" "$mode" "$deadline" \
        "$program" "$proved" "$proof_link" "$proof_policy" "$python" "$tree" || not_put_in_force
    remove_proof
}

# --- the host --------------------------------------------------------------------------------------------------------

# The trail has to tell when the guard was there. In shell, since --uninstall has to tell it where Python does not run.
record_change() { # installed|upgraded|removed VERSION
    [ -z "$root" ] && command -v logger >/dev/null || return 0
    user=${SUDO_USER:-$(id -un)}
    user=$(printf %s "$user" | LC_ALL=C tr -c '[:print:]' '?')
    printf '%s\n' "MESSAGE=virt-guard ${2:+$2 }was $1 by $user" MESSAGE_ID=0663a4e211e84c2bbcef5dba4d777625 PRIORITY=5 \
        SYSLOG_IDENTIFIER=virt-guard VIRT_GUARD_DECISION=guard-changed "VIRT_GUARD_CHANGE=$1" "VIRT_GUARD_VERSION=$2" \
        "VIRT_GUARD_USER=$user" | timeout 5 logger --journald >/dev/null 2>&1 ||
        timeout 5 logger -t virt-guard -p daemon.notice -- "virt-guard ${2:+$2 }was $1 by $user" >/dev/null 2>&1 || :
}

# A daemon looks for hooks when it starts and when it reloads. Never a restart: that would visit running domains. In
# shell, since --uninstall has to tell it where Python does not run.
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
        : >/run/virt-guard.told # without systemd, and of a signal, nothing else tells virt-guard status
        printf 'told       %s to look for hooks (reload)\n' "$daemon"
    done
    [ -n "$told" ] || printf '           %s\n' "$1"
}

# --- the watch -------------------------------------------------------------------------------------------------------

is_systemd_running() {
    [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null
}

# A run that was killed may not have come to restart the watch: it still has the code of before.
is_there_old_code() {
    [ "$(printf '%s ' "$library"/tree-*)" != "$tree " ] || exists "$library/virtguard"
}

# Where an image is built, systemd is there and does not run: what is enabled starts on the hosts that are made of it.
enable_for_later() { # UNIT
    [ -z "$root" ] && command -v systemctl >/dev/null || return
    follow_presets "$1"
    ! is_left_disabled "$1" && enable_unit "$1" >"$work/said" 2>&1
}

# Where a package brings presets, as an rpm does, those of this host are asked once whether they want a unit.
follow_presets() { # UNIT
    [ -z "$packaged" ] || [ ! -f "$presets" ] || enable_unit "$1" || : # what cannot be enabled is told where it is started
}

# What a package has enabled before, and somebody has disabled: an upgrade, which nobody may have asked for, leaves it so.
# The same is what the presets of this host did not want.
is_left_disabled() { # UNIT
    [ -n "$packaged" ] && grep -qxF -- "${1##*/}" "$enabled" 2>/dev/null && ! systemctl --quiet is-enabled "${1##*/}"
}

# Of a package, once.
enable_unit() { # UNIT
    if [ -z "$packaged" ]; then
        systemctl --quiet enable "${1##*/}"
        return
    fi
    ! grep -qxF -- "${1##*/}" "$enabled" 2>/dev/null || return 0
    verb=enable
    [ ! -f "$presets" ] || verb=preset
    systemctl --quiet $verb "${1##*/}" || return
    { cat -- "$enabled" 2>/dev/null || :; printf '%s\n' "${1##*/}"; } | sort -u >"$work/enabled"
    put "$work/enabled" "$enabled" 644
}

# Of a package, Debian's administrators can forbid it (policy-rc.d), as those do who make images.
restart_unit() { # UNIT
    if [ -n "$packaged" ] && command -v deb-systemd-invoke >/dev/null; then
        deb-systemd-invoke restart "${1##*/}" && systemctl is-active --quiet "${1##*/}"
    else
        systemctl restart "${1##*/}"
    fi
}

# A watch that does not start is no reason to take the hook back. Sets `watch_failed` then.
start_watch() {
    watch_failed=
    if ! is_systemd_running; then
        if enable_for_later "$unit"; then
            printf '           %s\n' "systemd does not run; ${unit##*/} starts with it"
        elif [ -z "$root" ]; then
            printf '           %s\n' "systemd does not run; 'virt-guard watch' audits running domains"
        fi
        return 0
    fi
    follow_presets "$unit"
    if is_left_disabled "$unit"; then
        systemctl daemon-reload
        printf '           %s\n' "${unit##*/} is disabled, and stays so: nothing watches running domains"
    elif [ -n "$packaged" ] || [ $changes -gt 0 ] || is_there_old_code || ! systemctl is-active --quiet "${unit##*/}"; then
        if systemctl daemon-reload && enable_unit "$unit" && restart_unit "$unit"; then
            printf 'started    %s\n' "${unit##*/}"
        else
            watch_failed=yes
        fi
    fi
}

# By the version before, the renewal would compile the policy for that; so it is off while a policy is put in force.
stop_renewal() {
    if is_systemd_running && systemctl is-active --quiet "${renewal##*/}"; then
        renewal_stopped=yes
        systemctl stop "${renewal##*/}" "${renewal_service##*/}" || die "cannot stop ${renewal##*/}"
    fi
}

start_renewal() {
    if ! is_systemd_running; then
        enable_for_later "$renewal" || :
        return 0
    fi
    follow_presets "$renewal"
    if is_left_disabled "$renewal"; then
        printf '           %s\n' "${renewal##*/} is disabled, and stays so"
    elif [ $changes -gt 0 ] || ! systemctl is-active --quiet "${renewal##*/}"; then
        # Where its units are new, start_watch has let systemd read them.
        if enable_unit "$renewal" && restart_unit "$renewal"; then
            renewal_stopped=
            printf 'started    %s\n' "${renewal##*/}"
        else
            printf '           %s\n' "${renewal##*/} did not start: after each change of the policy, run virt-guard policy \
compile"
        fi
    fi
}

# Where nothing reads metrics, none are written; a timer that somebody has enabled, or disabled, is left alone.
start_metrics() {
    [ -z "$root" ] || return 0
    is_read=
    for directory in $metrics_directories; do
        [ ! -d "$directory" ] || is_read=yes
    done
    [ -n "$is_read" ] || return 0
    if exists "$metrics_enabled" && command -v systemctl >/dev/null &&
        ! systemctl --quiet is-enabled "${metrics##*/}" 2>/dev/null; then
        printf '           %s\n' "${metrics##*/} is disabled, and stays so: no metrics are written"
    elif ! is_systemd_running; then
        ! enable_for_later "$metrics" || note_metrics
    elif [ $changes -gt 0 ] || ! systemctl is-active --quiet "${metrics##*/}"; then
        if systemctl --quiet enable "${metrics##*/}" && note_metrics && restart_unit "$metrics"; then
            printf 'started    %s\n' "${metrics##*/}"
        else
            printf '           %s\n' "${metrics##*/} did not start: no metrics are written"
        fi
    fi
}

note_metrics() {
    : >"$work/enabled"
    put "$work/enabled" "$metrics_enabled" 644
}

remove_metrics() {
    if is_systemd_running && exists "$metrics"; then
        systemctl --quiet disable --now "${metrics##*/}" || die "cannot stop ${metrics##*/}"
        systemctl stop "${metrics_service##*/}" || die "cannot stop ${metrics_service##*/}"
    fi
    remove "$root"/etc/systemd/system/*.wants/"${metrics##*/}"
    [ -z "$root" ] || return 0
    for directory in $metrics_directories; do
        remove "$directory/virt-guard.prom"
    done
}

remove_file() { # SOURCE PLACE MODE
    exists "$root/$2" || return 0
    [ "$root/$2" != "$command" ] || is_our_command || return 0
    remove "$root/$2"
    after_change "$2"
}

stop_units() {
    remove_metrics
    for path in "$renewal" "$renewal_service" "$unit"; do
        if is_systemd_running && exists "$path" && [ "$path" != "$renewal_service" ]; then
            systemctl --quiet disable --now "${path##*/}" || die "cannot stop ${path##*/}"
        elif is_systemd_running && { exists "$path" || systemctl is-active --quiet "${path##*/}"; }; then
            systemctl stop "${path##*/}" || die "cannot stop ${path##*/}" # active or on its way
        fi
        # What enabled it, where systemd does not run or its unit was gone before.
        remove "$root"/etc/systemd/system/*.wants/"${path##*/}"
    done
    # What has failed, such as of a broken policy, systemd would remember also without its unit.
    ! is_systemd_running ||
        systemctl reset-failed "${unit##*/}" "${renewal_service##*/}" "${metrics_service##*/}" 2>/dev/null || :
    remove "$kept_states"
}

remove_files() {
    before=$changes
    each_file remove_file
    if [ "$changes" -gt "$before" ] && is_systemd_running; then
        systemctl daemon-reload || die 'systemd does not reload its units'
    fi
}

judge_domains() {
    audits='install.sh --mode audit'
    [ -z "$packaged" ] || audits='virt-guard policy set mode audit'
    printf '\nThe domains defined %s:\n' "${root:+under }${root:-on this host}"
    status=0
    "$command" scan || status=$?
    case $status:$mode in
    0:*) ;;
    1:audit) printf '%s\n' "What is denied above would be refused in mode enforce: see virt-guard explain RULE." ;;
    1:*)
        printf '%s\n' 'What is denied above will be refused at its next start. virt-guard explain RULE tells why, and' \
            "what to do. To refuse nothing and only record: $audits."
        ;;
    *) printf '%s\n' 'Not everything could be judged: see above, then run virt-guard scan.' ;;
    esac
}

# Rules about the host speak of every domain; who meets one must see it, also where no domain is defined yet.
judge_host() {
    of_package commands.installing.setup host-rules "$policy" >"$work/host" || die 'cannot tell what the rules about the host say here'
    [ -s "$work/host" ] || return 0
    would=
    [ "$mode" != audit ] || would='would, in mode enforce,'
    printf '\nEvery domain on this host %s be refused, because of the host itself:\n' "${would:-will}"
    cat -- "$work/host"
}

# Before a checkout puts its files over those of a package, which the next upgrade of that would put back.
check_is_no_package() {
    [ -z "$packaged" ] && exists "/$installer/install.sh" && [ -z "$root" ] || return 0
    die "virt-guard is installed here as a package, whose files these would replace; use that (/$installer/install.sh has \
the same options), or remove the package first"
}

install() {
    check_is_no_package
    version=$(sed -n "s/^__version__ = '\(.*\)'\$/\1/p" "$checkout/lib/virtguard/__init__.py")
    printf 'virt-guard %s -> %s\n' "$version" "${root:-/}"
    check_is_complete
    check_places
    provide_python
    installed_pristine=$pristine
    recall_shipped # as where a package was removed and its policy was not
    choose_profile
    prepare_policy
    pristine=$installed_pristine
    tidy
    make_directories
    put_tree
    check_policy
    fill_in hooks/qemu "$policy" >"$work/program"
    [ "$(grep -cE "^(python|lib|policy|log)='" "$work/program")" -eq 4 ] || die "$checkout/hooks/qemu is not as expected"
    prove
    came=upgraded
    is_in_force || came=installed
    [ -z "$policy_first" ] || put_policy
    trap '' HUP INT TERM # a call may begin with what would be taken away again
    switch_program
    make_link
    committed=yes
    obey_signals
    note_calls
    put_command
    if [ -z "$policy_first" ]; then
        await_calls # which may not be able to read it
        put_policy
    fi
    compile_policy
    put_files
    tell_of_other_hook
    if [ $changes -gt 0 ]; then
        record_change "$came" "$version"
    else
        printf 'unchanged  everything was in place\n'
    fi
    tell_daemons 'no libvirt daemon runs; the hook is in force when one starts'
    start_watch
    start_renewal
    start_metrics
    await_calls
    remove_old_code
    # An upgrade of packages has no reader. Who asks for another policy must see what it refuses.
    [ "$packaged$came$asked" = yesupgraded ] || judge_domains
    judge_host
    [ -n "$watch_failed" ] || return 0
    failure="the hook is in force, but ${unit##*/} did not start: see journalctl -u ${unit##*/}"
    [ -n "$packaged" ] || die "$failure"
    printf 'install.sh: %s\n' "$failure" >&2 # as is usual: the package is installed all the same
}

# --- preview ---------------------------------------------------------------------------------------------------------

# Changes nothing, so it takes no lock and makes no directory of its own.
preview() {
    check_is_complete
    choose_manager
    check_python
    if [ -n "$missing" ]; then
        [ -z "$wanted_python" ] || die "$python cannot import lxml and PyYAML"
        printf 'install.sh: %s cannot judge without these packages:%s\n' "$python" "$missing" >&2
        [ -n "$root" ] || [ -z "$install_packages" ] || [ -z "$manager" ] ||
            printf '  install.sh without --preview installs them; to install nothing else: %s install%s\n' "$manager" "$missing" >&2
        exit 2
    fi
    set -- "$0"
    [ -z "$root" ] || set -- "$@" --root "$root"
    [ -z "$profile" ] || set -- "$@" --profile "$profile"
    [ -z "$besides" ] || set -- "$@" --with "$besides"
    [ -z "$wanted_python" ] || set -- "$@" --python "$wanted_python"
    [ -n "$install_packages" ] || set -- "$@" --no-deps
    tree=$checkout/lib
    status=0
    of_package commands.installing.preview "$root" "$pristine" "$hooks" "$program" "$old_program" "$profile" "$mode" "$besides" \
        "$@" ||
        status=$?
    case $status in
    0) exit 0 ;;
    3) exit 1 ;; # which Python also ends with where it cannot run the package
    *) exit 2 ;;
    esac
}

# --- what a package owns ---------------------------------------------------------------------------------------------

# The files that are the same on every host. All else is made on the host, by the install.sh among them.
stage() {
    check_is_complete
    [ -z "$packaged" ] || die '--stage needs a checkout'
    ! exists "$destination/$installer" || die "$destination/$installer is there already; --stage needs a directory without it"
    each_file stage_file
    for source in $(list_sources); do
        case $source in
        install.sh | hooks/qemu) stage_file "$source" "$installer/$source" 755 ;;
        *) stage_file "$source" "$installer/$source" 644 ;;
        esac
    done
}

stage_file() { # SOURCE PLACE MODE
    command install -D -m "$3" -- "$checkout/$1" "$destination/$2" # not the function
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

check_removable() { # SOURCE PLACE MODE
    ! exists "$root/$2" || check_writable "$root/${2%/*}"
}

keep() { # PATH WHY
    printf 'kept       %s (%s)\n' "$1" "$2"
}

uninstall() {
    check_is_no_package
    printf 'virt-guard <- %s\n' "${root:-/}"
    for directory in $directories $old_directories; do
        each_directory check_directory "$directory"
    done
    for path in "$main_link" "$second_link" "$program" "$old_program" "$command" "$library"/* "$policy"; do
        ! exists "$path" || check_writable "${path%/*}"
    done
    each_file check_removable
    tidy
    for link in "$main_link" "$second_link"; do
        ! is_our_link "$link" || remove "$link"
    done
    note_calls
    stop_units
    [ -n "$packaged" ] || remove_files
    await_calls
    ! is_our_program || remove "$program"
    remove "$old_program"
    remove "$compiled"
    # What is configured outlives a package that is removed; its purge removes that, too.
    [ -n "$packaged" ] || remove_policy
    # An audit trail outlives the guard, unless it tells of nothing but its installation, as that of earlier versions may.
    if is_plain_file "$log" && ! grep -qvF ' VIRT_GUARD_DOMAIN=virt-guard-install-check ' "$log"; then
        remove "$log"
    elif exists "$log"; then
        keep "$log" 'audit records'
    fi
    made=$(cat -- "$created" 2>/dev/null) || made=
    remove "$library"/tree-* "$library/virtguard" "$library/profiles" "$library/policy.yaml" "$created" \
        "$metrics_enabled" "$enabled"
    remove_directories
    if [ $changes -eq 0 ]; then
        printf 'unchanged  virt-guard is not installed here\n'
        return
    fi
    record_change removed ''
    [ -n "$root" ] || rm -f /run/virt-guard.told
    tell_daemons 'no libvirt daemon runs'
}

# But for what somebody has edited.
remove_policy() {
    recall_shipped
    if is_same_policy "$policy.new" "$pristine"; then
        remove "$policy.new"
    fi
    if is_same_policy "$policy" "$pristine"; then
        remove "$policy"
    elif exists "$policy"; then
        keep "$policy" 'edited'
    fi
    ! is_mode_alone "$settings" || remove "$settings"
    for drop_in in "${policy%.yaml}.d"/*; do
        ! exists "$drop_in" || keep "$drop_in" 'a drop-in of yours'
    done
    for text in "${policy%.yaml}.edit"/*; do
        ! exists "$text" || keep "$text" 'of virt-guard policy edit'
    done
}

remove_directories() {
    {
        printf '%s\n' "$made"
        printf '%s\n' usr/lib/virt-guard usr/libexec/virt-guard usr/share/virt-guard etc/virt-guard etc/virt-guard/policy.d
    } | LC_ALL=C sort -ru | while IFS= read -r directory; do
        case $directory in
        '' | *..*) continue ;;
        .) path=$root ;;
        *) path=$root/$directory ;;
        esac
        if [ -L "$path" ]; then
            keep "$path" 'a link of yours'
        elif [ -d "$path" ]; then
            rmdir --ignore-fail-on-non-empty -- "$path"
        fi
    done
}

# --- the command line ------------------------------------------------------------------------------------------------

choose_action() { # ACTION
    [ "$action" = install ] || [ "$action" = "$1" ] || misused "--$action does not go with --$1"
    action=$1
}

failed=1 # the exit status of `die`
for option in "$@"; do
    [ "$option" != --preview ] || failed=2
done
check_system
root='' mode='' profile='' besides='' wanted_python='' install_packages=yes action=install destination='' committed='' tree='' proving='' link=''
while [ $# -gt 0 ]; do
    case $1 in
    --root=* | --mode=* | --profile=* | --with=* | --python=* | --stage=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        ;;
    esac
    case $1 in
    --root | --mode | --profile | --with | --python | --stage)
        [ -n "${2-}" ] || misused "$1 needs a value"
        case $1 in
        --root) root=$2 ;;
        --mode) mode=$2 ;;
        --profile) profile=$2 ;;
        --with) besides=$2 ;;
        --python) wanted_python=$2 ;;
        --stage) destination=$2 && choose_action stage ;;
        esac
        shift
        ;;
    --no-deps) install_packages= ;;
    --preview | --uninstall) choose_action "${1#--}" ;;
    --help)
        usage
        exit 0
        ;;
    *) misused "unknown option: $1" ;;
    esac
    shift
done
asked=$mode$profile$besides # about the policy
case $mode in
'' | audit | enforce) ;;
*) misused "--mode is audit or enforce, not: $mode" ;;
esac
case $profile in
*/*)
    misused "--profile is one of $profiles, not a file: $profile; a policy of your own goes to \
/etc/virt-guard/policy.yaml before the installation, which keeps it"
    ;;
esac
[ -z "$profile" ] || is_profile "$profile" || misused "--profile is one of $profiles, not: $profile"
names=$besides,
while [ -n "$besides" ] && [ -n "$names" ]; do
    is_profile "${names%%,*}" || misused "--with is one of $profiles, or several joined by commas, not: $besides"
    names=${names#*,}
done
case $wanted_python in
'' | /*) ;;
*) misused "--python needs an absolute path, not: $wanted_python" ;;
esac
case $root$wanted_python in
*[[:cntrl:]]*) misused 'a path with control characters' ;;
esac
if [ "$action" = uninstall ] && [ -n "$mode$profile$besides$wanted_python" ]; then
    misused '--uninstall goes with --root only'
fi
if [ "$action" = stage ]; then
    [ -z "$root$mode$profile$besides$wanted_python" ] || misused '--stage goes with no other option'
    locate
    stage
    exit 0
fi
if [ -n "$root" ]; then
    root=$(readlink -m -- "$root")
    [ "$root" != / ] || root=
fi
uid=$(id -u)
[ -n "$root" ] || [ "$uid" -eq 0 ] || [ "$action" = preview ] ||
    die 'must be run as root (or with --root DIR, for a tree of its own; --preview as anybody)'
locate
[ -z "$packaged" ] || [ -z "$root" ] || die '--root needs a checkout; what a package has put in force is this host'
if [ "$action" = preview ]; then
    preview
fi
lock
work=$(mktemp -d /tmp/virt-guard-install.XXXXXX)
"$action"
