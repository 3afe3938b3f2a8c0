# SPDX-License-Identifier: Apache-2.0
"""A rule's `probe`, as a policy writes it. Pure: no I/O."""

import yaml

from ..locations import plain_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple, Union

    from .yaml_reader import Reader

REAL_PATH = 'real-path'
PROBES = ('foreign-emulator', 'infiniband-vf', 'multipath-device', REAL_PATH)
_PLACES = ('is-path', 'lies-below')
_EXAMPLE = 'write probe: {real-path: {lies-below: [/etc, /root]}}'


class Places:
    """`{real-path: {is-path: [...], lies-below: [...]}}`: absolute and plain paths."""

    __slots__ = ('these', 'below')

    def __init__(self, these: 'Tuple[str, ...]', below: 'Tuple[str, ...]') -> None:
        self.these = these
        self.below = below


def read_probe(reader: 'Reader', node: 'yaml.Node') -> 'Union[str, Places, None]':
    """The name of a probe, or the places that a path must not lead to."""
    if not isinstance(node, yaml.MappingNode):
        name = reader.choice(node, 'probe', PROBES)
        if name == REAL_PATH:
            reader.problem(node, 'probe real-path does not say which places', _EXAMPLE)
        return None if name == REAL_PATH else name
    nodes = reader.mapping(node, 'probe', (REAL_PATH,), (REAL_PATH,))
    if REAL_PATH not in nodes:
        return None
    lists = reader.mapping(nodes[REAL_PATH], 'probe.real-path', _PLACES, ())
    if not lists and isinstance(nodes[REAL_PATH], yaml.MappingNode) and not nodes[REAL_PATH].value:
        reader.problem(nodes[REAL_PATH], 'probe real-path does not say which places', _EXAMPLE)
    these, below = (_read_places(reader, lists[key], key) if key in lists else () for key in _PLACES)
    return Places(these, below) if these or below else None


def _read_places(reader: 'Reader', node: 'yaml.Node', key: str) -> 'Tuple[str, ...]':
    places = []
    for item in reader.sequence(node, key):
        path = reader.line_of_text(item, key)
        plain = plain_path(path or '/')
        if path is not None and plain != path:
            hint = 'write %s' % plain if plain else 'a path begins with /'
            reader.problem(item, '%s has %r, which no path is read as' % (key, path), hint)
        elif path is not None:
            places.append(path)
    return tuple(places)


def keyed(places: 'Tuple[Tuple[str, ...], Tuple[str, ...]]') -> 'List[Tuple[str, Tuple[str, ...]]]':
    """The places of a rule by the keys that a policy has them under; only keys that have some."""
    return [(key, paths) for key, paths in zip(_PLACES, places) if paths]
