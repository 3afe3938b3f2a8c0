# SPDX-License-Identifier: Apache-2.0
"""Policy -> compiled file, see compiled."""

import os
import stat
import time
from binascii import crc32

from .. import model
from ..compiled import headline, join_texts, take_stamp
from ..errors import GuardError
from ..match.compared import compared_in
from ..match.condition import make_condition
from ..match.needs import derive_need
from ..match.program import make_program, share
from ..packed import marshalled, pack_conditions, pack_rule, pack_waivers
from ..source_contents import take_contents
from ..tree import NAMESPACE
from ..trust import FILE, LISTING, WAY, directories, write_file
from . import osinfo_db
from .drop_ins import drop_in_directory
from .languages import catalog_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

    from ..compiled import Stamp
    from ..source_contents import Contents

_MANY = 20  # texts that a value is compared with
_ATTEMPTS = 5  # to compile a policy that is being changed
_CLOCK_GRAIN = 0.02  # seconds: two ticks of a kernel with HZ=100


def prepare(policy: model.Policy) -> 'Tuple[Any, ...]':
    """A valid policy as compiled.CompiledPolicy takes it, with its rules of admission and of start, numbered. Those of
    start are apart, so that no other call pays for them."""
    rules = policy.rules_of_start()
    of_start = frozenset(n for n, rule in enumerate(rules) if rule.at == model.START)
    settings = (policy.name, policy.mode, policy.failure, policy.deadline, policy.audit_required, policy.sha256)
    programs = {n: make_program(rule.match) for n, rule in enumerate(rules) if rule.match is not None}
    packed = [(*pack_rule(rule), tuple(sorted(compared_in(rule)))) for rule in rules]
    # Each by itself, and the waivers: only those are read that a verdict needs. No verdict needs the list of all.
    listed = tuple((rule.id, rule.title) for rule in policy.rules)
    texts = marshalled(policy.texts)
    details = marshalled((tuple(map(marshalled, packed)), pack_waivers(policy.waivers), listed, texts))
    left_to_lxml = tuple((n, make_condition(derive_need(rules[n]))) for n, made in programs.items() if made is None)
    probing = frozenset(n for n, rule in enumerate(rules) if rule.probe is not None)
    return (
        settings + (policy.source, policy.audit_until),
        tuple(sorted(policy.needed_facts())),
        tuple(
            share((n, made) for n, made in programs.items() if made is not None and (n in of_start) == starting)
            for starting in (False, True)
        ),
        (
            {n: pack_conditions(rule) for n, rule in enumerate(rules) if rule.host},
            {n: (_compact(rule.values), rule.negated) for n, rule in enumerate(rules) if rule.values is not None},
        ),
        (tuple(n for n, rule in enumerate(rules) if rule.match is None), (left_to_lxml, probing), of_start),
        (crc32(details), details),
    )


def _compact(values: 'Tuple[str, ...]') -> 'Union[str, Tuple[str, ...]]':
    return join_texts(values) if len(values) > _MANY and NAMESPACE not in ''.join(values) else values


def compile_policy(policy: model.Policy, stamp: 'Stamp', contents: 'Contents') -> bytes:
    """The compiled file of a valid policy.

    :param stamp: what `take_stamp` said before its sources were read
    :param contents: what `take_contents` said while the stamp stayed the same
    """
    *content, (checksum, details) = prepare(policy)
    copy = marshalled(_share((stamp, contents, tuple(content)), {}))
    return b'%s\n%d %08x\n%s%s%s' % (headline(), len(copy), checksum, copy, details, copy)


def compile_in_place(load: 'Callable[[], model.Policy]') -> bytes:
    """The compiled file of the policy that `load` reads from where it is in force.

    :raises GuardError: the policy cannot be used, or it is being changed
    :raises OSError: a source cannot be looked at
    """
    for _ in range(_ATTEMPTS):
        listed = what_it_depends_on(load())
        let_clock_advance(listed)
        stamp = take_stamp(listed)
        # Read again: what is compiled must be what the stamp was taken of.
        policy = load()
        contents = take_contents(listed)
        if what_it_depends_on(policy) == listed and take_stamp(listed) == stamp:
            return compile_policy(policy, stamp, contents)
    raise GuardError('the files of the policy were changed meanwhile', 'run it again')


def until_unchanged(policy: str, write: 'Callable[[], bool]') -> bool:
    """What `write` returns, or raises, when nobody has changed the policy file or its drop-ins meanwhile.

    While the unit that compiles the policy runs, systemd does not notice changes: the last one would stay as it is.

    :raises GuardError: as `write` does
    :raises OSError: as `write` does, or a file cannot be looked at
    """
    drop_ins = drop_in_directory(policy)
    for _ in range(_ATTEMPTS - 1):
        names = os.listdir(drop_ins) if os.path.isdir(drop_ins) else []
        files = [(path, FILE) for path in [policy, *(os.path.join(drop_ins, name) for name in names)]]
        stamp = take_stamp([*files, (drop_ins, LISTING)])
        try:
            written = write()
        except GuardError:
            if take_stamp([*files, (drop_ins, LISTING)]) == stamp:
                raise
        else:
            if take_stamp([*files, (drop_ins, LISTING)]) == stamp:
                return written
    return write()


def what_it_depends_on(policy: model.Policy) -> 'List[Tuple[str, str]]':
    """All that a policy in force, and who may change it, depends on: paths and kinds, as take_stamp takes them."""
    drop_ins = drop_in_directory(policy.source)
    files = [policy.source] + [path for path in policy.files if path != policy.source]
    ways = {way for path in [*files, os.path.join(drop_ins, '*')] for way in directories(path)} - {drop_ins}
    # Any part of osinfo-db may be missing now, and be created later.
    named_set = any(rule.value_set is not None for rule in policy.rules)
    database = [(path, LISTING) for path in osinfo_db.sources()] if named_set else []
    catalogs = [(path, LISTING) for path in catalog_paths(policy.language)]
    own = [(path, FILE) for path in files] + [(drop_ins, LISTING)] + [(way, WAY) for way in sorted(ways)]
    return own + database + catalogs


def let_clock_advance(sources: 'Sequence[Tuple[str, str]]') -> None:
    """Wait until every later change of a source gets another time: file times are as coarse as the kernel's ticks.

    :raises OSError: a source is missing
    """
    for path, kind in sources:
        while kind != WAY and os.path.exists(path) and 0 <= time.time() - os.stat(path).st_ctime < _CLOCK_GRAIN:
            time.sleep(_CLOCK_GRAIN)


def write_compiled(path: str, data: bytes) -> bool:
    """Put the file in place, see trust.write_file.

    :returns: False where it was there already
    :raises OSError: it cannot be written
    """
    if _is_written(path, data):
        return False
    write_file(path, data, 0o644, durable=True)
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


def _share(value: 'Any', seen: 'Dict[str, Any]') -> 'Any':
    """The same data with equal strings and tuples made one: marshal then writes, and reads, each of them once."""
    if isinstance(value, dict):
        return {_share(key, seen): _share(item, seen) for key, item in value.items()}
    if isinstance(value, tuple):
        value = tuple(_share(item, seen) for item in value)
    elif not isinstance(value, str):
        return value
    return seen.setdefault(repr(value), value)  # because 0, 0.0 and False are equal
