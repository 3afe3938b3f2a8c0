# SPDX-License-Identifier: Apache-2.0
"""What install.sh asks of the version that it installs: can it use the policy, and is it to come into force.

`main` is called with a verb and its arguments; what it prints is for the shell. Errors go to stderr, with status 1.
"""

import os
import sys

from ... import model
from ...compiled import compiled_path
from ...errors import GuardError
from ...host import read_facts, today
from ...libraries import blame
from ...policy import load
from ...policy.compiler import compile_in_place, write_compiled
from ...policy.drop_ins import drop_in_directory
from ...policy.files import read_policy_file
from ...policy.host_profile import difference
from ...policy.installation import find_policy
from ...policy.load import load_timed
from ...trust import write_file
from .candidate import Candidate, choose_profile, is_offer_settled, make_candidate, make_offer, shipped_policy
from .hook_link import choose_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Sequence, TextIO

PUT, REMOVE, LEAVE = 'put', 'remove', 'leave'
_LONGEST = 60  # seconds, the longest deadline that a policy may have
# So that the proof is about the policy's own verdicts, wherever it runs.
_PROOF = """\
policy: installation
extends: %s
mode: enforce
failure: deny
deadline: %d
"""
_EVERY_DOMAIN = """\
[%s] %s: %s
  To permit it all the same, write these two lines into a file %s/NAME.yaml, and run virt-guard policy compile:
    rules:
      - {id: %s, action: "off", reason: "WHY, AND WHO DECIDED IT"}
"""
_RULE_OFF = '- {id: %s, action: "off", reason: the proof is not about this host}\n'


def main(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Do what the first argument says, see the functions of this module; print what it returns."""
    verb, *rest = argv
    functions: 'Dict[str, Callable[..., str]]' = {
        'check': check,
        'choose-link': link_name,
        'choose-profile': choose,
        'host-rules': host_rules,
        'prepare': prepare,
        'proof-policy': proof_policy,
        'switch': switch,
    }
    try:
        stdout.write(functions[verb](*rest))
    except GuardError as error:
        for problem in getattr(error, 'problems', [error]):
            print(ascii(str(problem))[1:-1], file=sys.stderr)
        return 1
    except OSError as error:
        print('%s: %s' % (ascii(error.filename), error.strerror), file=sys.stderr)
        return 1
    except Exception as error:
        print(ascii(str(blame(error)))[1:-1], file=sys.stderr)
        return 1
    return 0


def choose(wanted: str, pristine: str) -> str:
    """The profile to install, and why it is that one (see choose_profile); where this host has another list, a line
    that says so."""
    profile, reason = choose_profile(wanted, pristine)
    another = difference(profile)
    return '%s %s\n%s' % (profile, reason, another + '\n' if another else '')


def link_name(directory: str, *programs: str) -> str:
    """Where libvirt is to find the hook, see hook_link."""
    return choose_link(directory, programs) + '\n'


def prepare(path: str, pristine: str, profile: str, mode: str, directory: str, besides: str = '') -> str:
    """Write what an installation would make of a policy into `directory`: `policy`; `shipped`, which shows later
    whether somebody has edited it; `policy.new`, the one to offer; and `drop-in`, the settings that it needs.

    Returns the state of the policy (see Candidate), and what becomes of PATH.new: put, remove or leave.

    :raises GuardError: the installation has to stop here
    """
    candidate = make_candidate(path, pristine, profile, mode, besides)
    offered = make_offer(candidate, pristine, profile)
    texts = {
        'policy': candidate.data,
        'shipped': shipped_policy(profile),
        'policy.new': offered,
        'drop-in': candidate.settings,
    }
    for name, data in texts.items():
        if data is not None:
            with open(os.path.join(directory, name), 'wb') as file:
                file.write(data)
    if offered is not None:
        return '%s %s\n' % (candidate.state, PUT)
    return '%s %s\n' % (candidate.state, REMOVE if is_offer_settled(candidate, pristine, profile) else LEAVE)


def check(candidate: str, path: str, mode: str, drop_in: str = '') -> str:
    """The mode and the deadline (seconds) that hold with a candidate in force; then, in a line of its own, whether it
    takes long to read.

    :param candidate: a file with what the policy at `path` would be
    :param mode: the mode that it must have, '' for any
    :param drop_in: a file with what the drop-in of `policy set` would be; it need not be there
    :raises GuardError: this version cannot use it
    """
    settings = read_policy_file(drop_in) if os.path.exists(drop_in) else None
    policy, note = load_timed(Candidate(path, read_policy_file(candidate), '', settings, mode).load)
    return '%s %g\n%s' % (policy.mode, policy.deadline, note + '\n' if note else '')


def proof_policy(profile: str, path: str) -> str:
    """Write a policy that judges domains as a profile does, on whatever host, and takes its time; and its compiled form
    beside it."""
    rules = [
        rule.id for rule in load.as_if_in_force(find_policy(profile)).rules if rule.host and rule.action == model.DENY
    ]
    text = _PROOF % (profile, _LONGEST) + 'rules:\n' * bool(rules) + ''.join(_RULE_OFF % rule for rule in rules)
    write_file(path, text.encode('ascii'), 0o644, durable=False)
    write_compiled(compiled_path(path), compile_in_place(lambda: load.trusted(path, today())))
    return ''


def host_rules(path: str) -> str:
    """For each rule of a policy that refuses every domain on this host: what it sees here, and what turns it off."""
    policy = load.trusted(path, today())
    return describe_host_rules(policy, path, read_facts(policy.needed_facts()))


def describe_host_rules(policy: model.Policy, path: str, host: model.HostFacts) -> str:
    """As host_rules, of a policy that need not be in force at that path yet."""
    from ...findings import ask_facts

    said = ''
    for rule in policy.rules_of_start():
        answer, evidence = ask_facts(rule, host)
        if rule.match is None and rule.action == model.DENY and answer:
            said += _EVERY_DOMAIN % (rule.id, rule.title, evidence, drop_in_directory(path), rule.id)
    return said


def switch(path: str, staged: str, program: str) -> str:
    """Put the program of this version in the place of another one, and with it what it compiles the policy in force to.

    :raises GuardError: the hook could not use that policy; nothing is changed
    """
    compiled = compiled_path(path)
    ahead = '%s.%d' % (compiled, os.getpid())
    write_compiled(ahead, compile_in_place(lambda: load.trusted(path, today())))
    os.rename(ahead, compiled)
    os.rename(staged, program)
    return ''
