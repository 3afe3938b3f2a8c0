# SPDX-License-Identifier: Apache-2.0
"""Policy -> compiled file, see compiled."""

import marshal
import os
import stat
import time
from binascii import crc32

from . import model
from .compiled import headline
from .needs import build_index, derive_need

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple

    from .compiled import Stamp

_CLOCK_GRAIN = 0.02  # seconds: two ticks of a kernel with HZ=100


def prepare(policy: model.Policy) -> 'Tuple[Any, ...]':
    """A valid policy as compiled.Compiled takes it: of its rules, those of admission, numbered."""
    rules = policy.rules_at(model.ADMISSION)
    needs = [derive_need(rule) for rule in rules]
    index = build_index(needs)
    conditions = [tuple((c.fact, c.values, c.negated) for c in rule.host) for rule in rules]
    settings = (policy.name, policy.mode, policy.failure, policy.deadline, policy.audit_required, policy.sha256)
    return (
        settings + (policy.source,),
        tuple(sorted(policy.facts())),
        {key: index.wanted[key] for key in sorted(index.wanted)},
        tuple(sorted(index.names)),
        tuple(zip(range(len(rules)), conditions, needs)),
        marshal.dumps(tuple(_pack_rule(rule) for rule in rules)),
    )


def compile_policy(policy: model.Policy, stamp: 'Stamp') -> bytes:
    """The compiled file of a valid policy; `stamp` is what `take_stamp` said before its sources were read."""
    payload = marshal.dumps(_share((stamp, prepare(policy)), {}))
    return b'%s\n%08x\n%s' % (headline(), crc32(payload), payload)


def let_clock_advance(policy_path: str) -> None:
    """Wait until a change of the policy after its stamp is bound to show: file times have the kernel tick's grain.

    :raises OSError: the policy is missing
    """
    while time.time() - os.stat(policy_path).st_ctime < _CLOCK_GRAIN and time.time() >= os.stat(policy_path).st_ctime:
        time.sleep(_CLOCK_GRAIN)


def write_compiled(path: str, data: bytes) -> bool:
    """Put the file in place in one step, so that a reader sees the old one or the new one.

    :returns: False where it was there already
    :raises OSError: it cannot be written
    """
    if _is_written(path, data):
        return False
    temporary = '%s.%d' % (path, os.getpid())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(temporary, flags, 0o644)
    except FileExistsError:  # left behind by a writer of the same number that was killed
        os.unlink(temporary)
        descriptor = os.open(temporary, flags, 0o644)
    try:
        with open(descriptor, 'wb') as file:
            os.fchmod(descriptor, 0o644)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True


def _is_written(path: str, data: bytes) -> bool:
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o777 != 0o644 or status.st_uid != os.geteuid():
            return False
        with open(path, 'rb') as file:
            return file.read(len(data) + 1) == data
    except FileNotFoundError:
        return False


def _pack_rule(rule: model.Rule) -> 'Tuple[Any, ...]':
    host = tuple((condition.fact, condition.values, condition.negated) for condition in rule.host)
    texts = (rule.id, rule.title, rule.action, rule.why, rule.remedy)
    return texts + (rule.match, rule.values, rule.probe, host, rule.reference, rule.origin)


def _share(value: 'Any', seen: 'Dict[Any, Any]') -> 'Any':
    """The same data with equal strings made one: marshal then writes, and reads, each of them once."""
    if isinstance(value, str):
        return seen.setdefault(value, value)
    if isinstance(value, tuple):
        return tuple(_share(item, seen) for item in value)
    if isinstance(value, dict):
        return {_share(key, seen): _share(item, seen) for key, item in value.items()}
    return value
