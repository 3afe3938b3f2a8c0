# SPDX-License-Identifier: Apache-2.0
"""Layers -> the settings of the policy that is made of them. Pure: no I/O."""

from .. import model
from .layer import AuditUntil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

    from .layer import Given, Layer


def settings_of(
    layers: 'Sequence[Layer]', known: 'Optional[Dict[Layer, Dict[str, Given]]]' = None
) -> 'Dict[str, Given]':
    """What the layers, and what they extend, give the settings; `policy` names all that is extended side by side.

    :param known: those of what is extended, which more than one may extend
    """
    known = {} if known is None else known
    values: 'Dict[str, Given]' = {}
    names: 'List[Dict[str, Given]]' = []
    for layer in layers:
        for _, extended in layer.extended:
            if extended not in known:
                known[extended] = settings_of([extended], known)
        stated = [known[extended] for _, extended in layer.extended]
        for one in stated:
            values = {**one, **values}
        names.append({one['policy'].value: one['policy'] for one in stated if 'policy' in one})
    first, *drop_ins = layers
    beside = {name: given for later in names[1:] for name, given in later.items()}
    for key, given in first.settings.items():
        values[key] = given
    name = values.get('policy')
    if 'policy' not in first.settings and names[0]:
        name = _joined(names[0])
    if name is not None and beside:
        name = _joined({name.value: name, **beside})
    if name is not None:
        values['policy'] = name
    for layer in drop_ins:
        values.update(layer.settings)
    return values


def _joined(names: 'Dict[str, Given]') -> 'Given':
    return next(iter(names.values())).with_value(' with '.join(map(str, names)))


def stated_settings(layers: 'Sequence[Layer]', day: str) -> 'Dict[str, Any]':
    """The settings, with defaults, that hold even if other things are wrong; one with a problem itself is left out.

    `mode` is that of the day; `audit-until` is its last day, or ''.
    """
    settings: 'Dict[str, Any]' = dict(model.DEFAULT_SETTINGS)
    values = settings_of(layers)
    settings.update((key, given.value) for key, given in values.items() if key in model.DEFAULT_SETTINGS)
    settings['audit-until'] = ''
    if isinstance(settings['mode'], AuditUntil):
        settings['audit-until'] = settings['mode'].day
        settings['mode'] = model.mode_on(day, settings['audit-until'])
    return {key: value for key, value in settings.items() if value is not None}
