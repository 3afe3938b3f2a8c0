# SPDX-License-Identifier: Apache-2.0
"""What install.sh asks of the version that it installs: can it use the policy, and is it to come into force.

`main` is called with a verb and its arguments; what it prints is for the shell. Errors go to stderr, with status 1.
"""

import os
import sys

from . import model
from .compiled import compiled_path
from .compiler import compile_in_place, write_compiled
from .errors import GuardError
from .host import today
from .policyfile import read_policy_file
from .sources import find_policy, load_candidate, load_policy_file, load_trusted_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Sequence, TextIO

_FAILURES = {'audit': 'admit', 'enforce': 'deny'}
_LONGEST = 60  # seconds, the longest deadline that a policy may have
# So that the proof is about the policy's own verdicts, wherever it runs.
_PROOF = """\
policy: installation
extends: %s
mode: enforce
failure: deny
deadline: %d
"""
_RULE_OFF = '- {id: %s, action: "off", reason: the proof is not about this host}\n'


def main(argv: 'Sequence[str]', stdout: 'TextIO') -> int:
    """Do what the first argument says, see the functions of this module; print what it returns."""
    verb, *rest = argv
    functions: 'Dict[str, Callable[..., str]]' = {
        'check': check,
        'compile': compile_policy,
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
    return 0


def check(candidate: str, path: str, mode: str) -> str:
    """The mode and the deadline (in seconds, then in hundredths of a second) that hold with a candidate in force.

    :param candidate: a file with what the policy at `path` would be
    :param mode: the mode that it must have, '' for any
    :raises GuardError: this version cannot use it
    """
    policy = load_candidate(path, read_policy_file(candidate), today())
    if mode and (policy.mode, policy.failure) != (mode, _FAILURES[mode]):
        raise GuardError('set mode (%s) and failure (%s) in %s by hand' % (mode, _FAILURES[mode], path))
    return '%s %g %d\n' % (policy.mode, policy.deadline, policy.deadline * 100)


def proof_policy(profile: str) -> str:
    """A policy that judges domains as a profile does, on whatever host, and takes its time."""
    rules = [
        rule.id for rule in load_policy_file(find_policy(profile)).rules if rule.host and rule.action == model.DENY
    ]
    return _PROOF % (profile, _LONGEST) + 'rules:\n' * bool(rules) + ''.join(_RULE_OFF % rule for rule in rules)


def compile_policy(path: str) -> str:
    """Write the compiled form of a policy beside it."""
    write_compiled(compiled_path(path), compile_in_place(lambda: load_trusted_policy(path, today())))
    return ''


def switch(path: str, staged: str, program: str) -> str:
    """Put the program of this version in the place of another one, and with it what it compiles the policy in force to.

    :raises GuardError: the hook could not use that policy; nothing is changed
    """
    compiled = compiled_path(path)
    ahead = '%s.%d' % (compiled, os.getpid())
    write_compiled(ahead, compile_in_place(lambda: load_trusted_policy(path, today())))
    os.rename(ahead, compiled)
    os.rename(staged, program)
    return ''
