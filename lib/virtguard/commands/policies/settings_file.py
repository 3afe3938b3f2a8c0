# SPDX-License-Identifier: Apache-2.0
"""A drop-in with settings, edited as text: one setting gets another value, or none. Pure: no I/O."""

import yaml

from ...errors import GuardError, suggest
from ...policy.installation import profiles
from ...policy.layer import read_layer
from ...policy.problems import PolicyError
from .yaml_text import YamlText, end_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

SETTINGS = '70-settings.yaml'  # the name of the drop-in
_HEAD = '# Written by virt-guard policy set, and by hand.\n'


def with_setting(data: 'Optional[bytes]', path: str, key: str, value: str) -> 'Optional[bytes]':
    """The file with another value of a setting; None where only the line would be left that the command begins it with.

    :param data: what the file holds; None if there is no such file
    :param value: YAML on one line; '' to leave the setting to other files
    :raises PolicyError: the file has problems, or would have them
    :raises GuardError: it cannot be edited
    """
    _check(data or b'', path)
    text = YamlText(_HEAD.encode() if data is None else data, path)
    pair = text.pair(key)
    if pair is None:
        spans = [text.insert(['%s: %s' % (key, value)], len(text))] if value else []
    elif value:
        spans = [text.replace(pair[1], value)]
    else:
        spans = [(text.line_begin(pair[0].start_mark.index), text.line_after(end_of(pair[1])), '')]
    edited = text.edited(spans)
    try:
        after = YamlText(edited, path)
    except yaml.YAMLError:
        raise text.refused() from None
    _check(edited, path)
    if after.others(key) != text.others(key) or (after.pair(key) is None) != (not value):
        raise text.refused()
    return edited if edited != _HEAD.encode() else None


def extends_text(names: str) -> str:
    """The value of `extends` for profiles whose names are joined by commas.

    :raises GuardError: there is no such profile
    """
    known = profiles()
    chosen = names.split(',')
    for name in chosen:
        if name not in known:
            raise GuardError('%r is not a profile' % name, suggest(name, known))
    return chosen[0] if len(chosen) == 1 else '[%s]' % ', '.join(chosen)


def _check(data: bytes, path: str) -> None:
    layer = read_layer(data, path, True)
    if layer.problems:
        raise PolicyError(layer.problems, {})
