# SPDX-License-Identifier: Apache-2.0
"""A policy's path -> Policy: reads its own file, what that extends, and its drop-ins, and puts them together."""

import gc
import os
import time

from .. import model
from ..errors import PolicyFileError, suggest
from ..host import today as _today
from ..libraries import MissingLibraryError
from .drop_ins import find_drop_ins, refuse_drop_in
from .files import read_policy_file, read_trusted_policy_file, refuse_too_large, stated_failure
from .installation import catalogs, is_profile_name, profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, List, Optional, Sequence, Tuple

    from .drop_ins import Changes
    from .layer import Layer

    Files = List[Tuple[str, bytes]]

_MAX_EXTENDED = 8  # in a row
_MAX_FILES = 16


def trusted(path: str, today: str = '', changes: 'Optional[Changes]' = None) -> model.Policy:
    """Load the policy that decides about starts, with its drop-ins.

    :param today: see merge.merge_layers
    :param changes: load it as if these files, which may be new drop-ins, were like this; nothing is written
    :raises PolicyFileError: a file is missing or unreadable, or somebody else could change it; or a change would be
        ignored, because of its name
    :raises PolicyError: with every problem of every file
    :raises MissingLibraryError:
    """
    changes = changes or {}
    try:
        drop_ins = find_drop_ins(path, True, changes)
        return _load(path, drop_ins, _with_changes(changes, read_trusted_policy_file), today)
    except PolicyFileError as error:
        if not os.path.lexists(path):
            error.hint = 'run install.sh again'
        raise


def as_if_in_force(
    path: str, today: str = '', changes: 'Optional[Changes]' = None, without: 'Collection[str]' = ()
) -> model.Policy:
    """As `trusted`, but the files may have been written by anybody.

    :param without: files that are not read although others extend them
    """
    refuse_drop_in(path)
    changes = changes or {}
    drop_ins = find_drop_ins(path, False, changes)
    return _load(path, drop_ins, _with_changes(changes, read_policy_file), today, without)


def _with_changes(changes: 'Changes', read: 'Callable[[str], bytes]') -> 'Callable[[str], bytes]':
    """How to read a file as if some were changed."""

    def read_changed(path: str) -> bytes:
        if path not in changes:
            return read(path)
        data = changes[path]
        if data is None:
            raise PolicyFileError('the policy %s would be removed' % path)
        refuse_too_large(path, data)
        return data

    return read_changed


def candidate(path: str, changes: 'Changes', today: str = '') -> model.Policy:
    """As `trusted` with these changes, if this package were installed."""
    of_package = {*profiles().values(), *catalogs().values()}

    def read(name: str) -> bytes:
        return read_policy_file(name) if name in of_package else read_trusted_policy_file(name)

    return _load(path, find_drop_ins(path, True, changes), _with_changes(changes, read), today)


def load_timed(load: 'Callable[[], model.Policy]') -> 'Tuple[model.Policy, str]':
    """A policy, and what to say of the time that it took to read, see note_on_reading."""
    began = time.process_time()
    policy = load()
    return policy, note_on_reading(policy, time.process_time() - began)


def note_on_reading(policy: model.Policy, seconds: float) -> str:
    """What to say if a policy took too many seconds of processor time to read; else ''.

    If the compiled form is out of date, the hook reads the policy within the deadline, maybe on a busy host.
    """
    if seconds * 5 <= policy.deadline:
        return ''
    return (
        'reading the policy took %.1f s of processor time, and without its compiled form (virt-guard policy compile) '
        'each start of a domain must do that within the deadline of %g s: have fewer rules and waivers, or a longer '
        'deadline' % (seconds, policy.deadline)
    )


def _load(
    path: str,
    drop_ins: 'Sequence[str]',
    read: 'Callable[[str], bytes]',
    today: str,
    without: 'Collection[str]' = (),
) -> model.Policy:
    # Nothing becomes garbage before the end, and looking for garbage takes up to a third of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        return _read_and_merge(path, drop_ins, read, today, without)
    finally:
        if enabled:
            gc.enable()


def _read_and_merge(
    path: str, drop_ins: 'Sequence[str]', read: 'Callable[[str], bytes]', today: str, without: 'Collection[str]'
) -> model.Policy:
    files = _read_files((path, *drop_ins), read)
    try:
        from .layer import Given, read_layer
        from .merge import merge_layers
    except Exception as error:  # a broken library may raise anything
        raise MissingLibraryError(error, _stated(files)) from None
    layers = [read_layer(data, name, name != path) for name, data in files]
    for layer, file in zip(layers, files):
        if layer.root is None:
            layer.settings = {key: Given(value) for key, value in _stated([file]).items()}
    found: 'Dict[str, Layer]' = {}
    for layer in layers:
        _read_extended(layer, (os.path.realpath(path),), found, drop_ins, read, without)
    policy = merge_layers(layers, path, today, _released_before, _known_systems, today or _today())
    if policy.language != model.DEFAULT_SETTINGS['language']:
        from .languages import texts_of_refusals

        policy.texts, policy.untranslated = texts_of_refusals(policy.language, policy.rules, read)
    return policy


def _read_files(paths: 'Sequence[str]', read: 'Callable[[str], bytes]') -> 'Files':
    """Read the files of a policy; an error about one of them has what the files before it say of `failure`."""
    files: 'Files' = []
    try:
        for path in paths:
            files.append((path, read(path)))
    except PolicyFileError as error:
        error.settings = _stated(files)
        raise
    return files


def _released_before(date: str) -> 'model.ValueSet':
    from . import osinfo_db  # needs lxml, and is seldom asked

    return osinfo_db.known_released_before(date)


def _known_systems() -> 'model.ValueSet':
    from . import osinfo_db

    return osinfo_db.known_systems()


def _stated(files: 'Files') -> 'Dict[str, Any]':
    """What the files say of `failure`, as far as that can be told without reading them as YAML."""
    settings: 'Dict[str, Any]' = {}
    for _, data in files:
        settings.update(stated_failure(data))
    return settings


def _read_extended(
    layer: 'Layer',
    way: 'Tuple[str, ...]',
    found: 'Dict[str, Layer]',
    drop_ins: 'Sequence[str]',
    read: 'Callable[[str], bytes]',
    without: 'Collection[str]',
) -> None:
    """Give a layer the policies that it extends, and these theirs.

    :param way: the files that lead there, from the policy's own one
    :param found: all that have been read, by their real paths
    :param drop_ins: they come later, and not twice
    :param without: see as_if_in_force
    """
    from .layer import read_layer

    extends = layer.settings.get('extends')
    for entry in (extends.value if extends is not None else None) or ():
        path = _extended_path(entry.value, layer.source)
        if path is None:
            entry.problem('extends %r, which is not a profile' % entry.value, suggest(entry.value, profiles()))
            continue
        if path in without:
            continue
        real = os.path.realpath(path)
        if real in way or len(way) > _MAX_EXTENDED or len(found) > _MAX_FILES:
            entry.problem('extends %s, which leads in a circle, or too far' % path)
            continue
        if path in drop_ins:
            entry.problem('extends %s, which is one of its drop-ins' % path)
            continue
        if real not in found:
            try:
                found[real] = read_layer(read(path), path)
            except PolicyFileError as error:
                entry.problem('extends a policy that cannot be used: %s' % error.message, error.hint)
                continue
            _read_extended(found[real], (*way, real), found, drop_ins, read, without)
        layer.extended.append((entry, found[real]))


def _extended_path(extends: str, source: str) -> 'Optional[str]':
    if is_profile_name(extends):
        return profiles().get(extends)
    return os.path.join(os.path.dirname(source), extends)
