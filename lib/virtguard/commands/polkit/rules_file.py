# SPDX-License-Identifier: Apache-2.0
"""A policy -> the text of a file of rules for polkit, in JavaScript of 2009 (ECMAScript 5), which all its engines read.
Pure.

Whatever comes from a policy is written as a JSON string of ASCII, so that no name ends a string or a comment. The text
says nothing of the day on which it is made, and polkit itself looks whether a waiver has expired.
"""

import json

from ... import model
from ...waivers import is_uuid, latest_expiry
from ...wording import escape, quoted
from .name_pattern import ANYTHING, parts_of
from .permissions import ACTIONS, COST, Denial, Denials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

# Before files that others may have put there: the first file that has an answer decides.
PLACE = '/etc/polkit-1/rules.d/10-virt-guard.rules'
# libvirt-dbus, by which Cockpit works.
USERS = ('libvirtdbus',)

_HEAD = """\
%(head)s
// Not to be edited: when the policy or its waivers change, print it again. It follows from the policy %(policy)s,
// sha256 %(sha256)s.
//
// It is off until root has done this, in this order:
//   1. %(command)s --output %(place)s
//      and virt-guard polkit check USER tells what a user may do today, and what with this file
//   2. access_drivers = [ "polkit" ]
//      in the file of the daemon that runs the domains: /etc/libvirt/virtqemud.conf where virtqemud does
//      (as on RHEL 9 and 10), /etc/libvirt/libvirtd.conf where libvirtd does (as on RHEL 8, Debian, Ubuntu).
//   3. systemctl restart virtqemud    # or libvirtd; domains that run go on running
// To undo it: take access_drivers out again, restart the daemon, and only then remove this file.
//
// Polkit must be 0.106 or newer (pkcheck --version). An older one, as that of Debian 11 and Ubuntu 22.04, does not read
// this file; with access_drivers, everybody but root would then only look on.
//
// What it cannot do:
//   - Root is never asked, and may do everything.
//   - The user is told "access denied", and neither rule nor remedy: libvirt passes no text on. The reason is in
//     polkit's own log (journalctl -u polkit), if it keeps what rules say; that of Debian 12 does not.
//   - Of Cockpit, libvirt sees the user libvirtdbus, not the person: all its users are treated alike, root as well.
//   - With access_drivers, libvirt refuses everything to clients that come by TCP or TLS: it knows no user of theirs.
//   - A permission is for a kind of call, whatever its arguments. With `snapshot`, snapshots of domains that are shut
//     off are denied, too, and to delete any; with `checkpoint`, to delete checkpoints and to make full backups by
//     libvirt; with `pm-control`, to wake a guest. Root still can.
//   - vCPUs and memory that are unplugged, I/O throttling, and commands to QEMU itself need the permission `write`, as
//     every other change does: they are not denied, and commands to QEMU are a way around what is. What they do is
//     found by virt-guard watch.
"""
_LEFT_OUT = """\
//   - `%(permission)s` is not denied, though the policy has %(rules)s:
//     it would take %(cost)s, too. With --also %(permission)s it is.
"""
_CODE = """\

    // The code points of a text: of what is beyond U+FFFF, some engines make two characters, and others one.
    function points(text) {
        var found = [], i, unit, next;
        for (i = 0; i < text.length; i += 1) {
            unit = text.charCodeAt(i);
            next = text.charCodeAt(i + 1);
            if (unit >= 0xd800 && unit <= 0xdbff && next >= 0xdc00 && next <= 0xdfff) {
                unit = 0x10000 + (unit - 0xd800) * 0x400 + (next - 0xdc00);
                i += 1;
            }
            found.push(unit);
        }
        return found;
    }

    // A pattern of names: texts, ANYTHING, and sets of one character: [whether it is none of them, from, to, ...].
    function like() {
        var parts = [], i;
        for (i = 0; i < arguments.length; i += 1) {
            parts = parts.concat(typeof arguments[i] === "string" ? points(arguments[i]) : [arguments[i]]);
        }
        return parts;
    }

    function fits(point, part) {
        var i;
        if (typeof part === "number") {
            return point === part;
        }
        for (i = 1; i < part.length; i += 2) {
            if (part[i] <= point && point <= part[i + 1]) {
                return !part[0];
            }
        }
        return part[0];
    }

    function matches(name, pattern) {
        var here = 0, part = 0, anything = -1, from = 0;
        while (here < name.length) {
            if (part < pattern.length && pattern[part] === ANYTHING) {
                anything = part;
                from = here;
                part += 1;
            } else if (part < pattern.length && fits(name[here], pattern[part])) {
                here += 1;
                part += 1;
            } else if (anything >= 0) {
                from += 1;
                here = from;
                part = anything + 1;
            } else {
                return false;
            }
        }
        while (part < pattern.length && pattern[part] === ANYTHING) {
            part += 1;
        }
        return part === pattern.length;
    }

    function today() {
        var now = new Date(), month = now.getMonth() + 1, day = now.getDate();
        return now.getFullYear() + (month < 10 ? "-0" : "-") + month + (day < 10 ? "-0" : "-") + day;
    }

    function is_waived(waivers, name, uuid) {
        return waivers.some(function (waiver) {
            return today() <= waiver.until && (waiver.uuid === undefined || waiver.uuid === uuid) &&
                (waiver.name === undefined || matches(name, waiver.name));
        });
    }

    // Why the action is denied; "" if it is not.
    function denied_by(action) {
        var rules = DENIED.hasOwnProperty(action.id) ? DENIED[action.id] : [],
            driver = action.lookup("connect_driver"),
            name = points(String(action.lookup("domain_name"))),
            uuid = String(action.lookup("domain_uuid")).toLowerCase();
        if ((driver && driver !== "QEMU") || today() <= AUDIT_UNTIL) {
            return "";
        }
        rules = rules.filter(function (rule) { return !is_waived(rule.waivers, name, uuid); });
        return rules.map(function (rule) { return rule.id; }).join(" ");
    }

    polkit.addRule(function (action, subject) {
        var rules;
        if (action.id.indexOf("org.libvirt.api.") !== 0) {
            return polkit.Result.NOT_HANDLED;
        }
        rules = denied_by(action);
        if (rules) {
            polkit.log("virt-guard: denied " + action.id + " of domain " +
                JSON.stringify(action.lookup("domain_name")) + " (" + action.lookup("domain_uuid") + ") to user " +
                JSON.stringify(subject.user) + " by " + rules);
            return polkit.Result.NO;
        }
        // Without this, whoever may use libvirt today could only look on: that is what polkit answers by default.
        if (USERS.indexOf(subject.user) >= 0 || GROUPS.some(function (group) { return subject.isInGroup(group); })) {
            return polkit.Result.YES;
        }
        return polkit.Result.NOT_HANDLED;
    });
}());
"""


def command_line(policy: 'Optional[str]', also: 'Sequence[str]', groups: 'Sequence[str]', deny_only: bool) -> str:
    """The command that prints a file, without --output."""
    words = ['virt-guard polkit print']
    words += ['--policy ' + quoted(policy)] if policy is not None else []
    words += ['--also ' + permission for permission in also]
    words += ['--group ' + quoted(group) for group in groups]
    words += ['--deny-only'] if deny_only else []
    return escape(' '.join(words))


def head(command: str) -> str:
    """The first line of the file that a command has printed."""
    return '// Written by: ' + command


def rules_file(policy: model.Policy, denials: Denials, groups: 'Sequence[str]', today: str, command: str) -> str:
    """The text of the file.

    :param command: the one that prints it
    :param groups: those whose users may do all that is not denied; none: the host's other rules decide about that
    :param today: YYYY-MM-DD; waivers that are too far ahead on that day are left out
    """
    names = {'policy': _text(policy.name), 'sha256': policy.sha256, 'place': PLACE}
    names.update(head=head(command), command=command)
    lines = [_HEAD % names]
    lines += map(_left_out, denials.left_out)
    for rule in denials.unknown:
        lines.append('//   - Not denied: whether the rule %s applies to this host is not known.\n' % rule.id)
    lines.append('(function () {\n    "use strict";\n\n')
    lines.append('    var ANYTHING = null;\n\n')
    lines.append(
        '    // What nobody but root may do: by which rules of the policy, and in which domains these are waived.\n'
    )
    lines.append('    var DENIED = {%s};\n\n' % _block(_denied(policy, denials, today), 4))
    lines.append(_mode(policy))
    lines += _yes(groups)
    lines.append(_CODE)
    return ''.join(lines)


def _mode(policy: model.Policy) -> str:
    if policy.mode == 'audit' and not policy.audit_until:
        return '    // The policy is in mode audit, which denies nothing.\n    var AUDIT_UNTIL = "9999-12-31";\n'
    return '    // The last day of mode audit, which denies nothing.\n    var AUDIT_UNTIL = %s;\n' % _text(
        policy.audit_until
    )


def _yes(groups: 'Sequence[str]') -> 'List[str]':
    said = (
        '    // Who may do all the rest, as today. For others, also who is let in by a password, there is --group.\n'
        if groups
        else '    // The other rules of this host decide who may do the rest (--deny-only).\n'
    )
    users = USERS if groups else ()
    return [
        '\n' + said,
        '    var GROUPS = [%s];\n' % ', '.join(map(_text, groups)),
        '    var USERS = [%s];\n' % ', '.join(map(_text, users)),
    ]


def _left_out(denial: Denial) -> str:
    rules = ', '.join(rule.id for rule in denial.rules)
    return _LEFT_OUT % {'permission': denial.permission, 'rules': rules, 'cost': COST[denial.permission]}


def _denied(policy: model.Policy, denials: Denials, today: str) -> 'List[str]':
    return [
        '%s: [%s]'
        % (_text(ACTIONS + 'domain.' + denial.permission), _block([_rule(policy, r, today) for r in denial.rules], 8))
        for denial in denials.denied
    ]


def _rule(policy: model.Policy, rule: model.Rule, today: str) -> str:
    waivers = waivers_of(policy, rule, today)
    entries = [_waiver(waiver, entry) for waiver in waivers for entry in waiver.domains]
    return '{id: %s, waivers: [%s]}' % (_text(rule.id), _block(entries, 12))


def waivers_of(policy: model.Policy, rule: model.Rule, today: str) -> 'List[model.Waiver]':
    """The waivers of a rule, also those that have expired."""
    if not rule.waivable:
        return []
    return [waiver for waiver in policy.waivers if rule.id in waiver.rules and waiver.expires <= latest_expiry(today)]


def _waiver(waiver: model.Waiver, entry: 'model.DomainEntry') -> str:
    uuid, name = (entry, '') if isinstance(entry, str) and is_uuid(entry) else ('', entry)
    if isinstance(name, tuple):
        uuid, name = name
    keys = ['until: %s' % _text(waiver.expires)]
    keys += ['uuid: %s' % _text(uuid)] if uuid else []
    keys += ['name: like(%s)' % ', '.join(map(_part, parts_of(name)))] if name else []
    return '{%s}' % ', '.join(keys)


def _part(part: 'object') -> str:
    if part is ANYTHING:
        return 'ANYTHING'
    if isinstance(part, str):
        return _text(part)
    assert isinstance(part, tuple)
    negated, ranges = part
    bounds = [bound for pair in ranges for bound in pair]
    return '[%s]' % ', '.join(['true' if negated else 'false', *map(str, bounds)])


def _text(text: str) -> str:
    return json.dumps(text).replace('\x7f', '\\u007f')


def _block(entries: 'List[str]', indent: int) -> str:
    """Entries of a list, each on a line."""
    if not entries:
        return ''
    space = ' ' * indent
    return '\n' + ''.join('%s    %s,\n' % (space, entry) for entry in entries) + space
