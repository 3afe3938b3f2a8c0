# SPDX-License-Identifier: Apache-2.0
"""Host facts from a file instead of a host, so that a domain can be judged for another host. Pure: no I/O.

    arch: x86_64
    container: none
    os: rhel-8.10
    probes:
      multipath-device: {/dev/mapper/mpatha: yes, /dev/sdb: no}
      infiniband-vf: {"0000:03:10.1": unknown}

What the file does not say is unknown: it is another host's business, not this one's.
"""

from . import model
from .errors import PolicyError
from .layer import FACTS, PROBES
from .reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    Answers = Dict[str, Dict[str, model.Answer]]


def load_facts(data: bytes, source: str) -> model.HostFacts:
    """Read host facts.

    :raises PolicyError: with every problem at once
    """
    reader = Reader(source)
    root = reader.compose(data, 'the facts file')
    nodes = reader.mapping(root, 'the facts file', FACTS + ('probes',), ()) if root is not None else {}
    values = {fact: reader.line_of_text(nodes.get(fact), fact) for fact in FACTS}
    answers: 'Answers' = {}
    if 'probes' in nodes:
        for probe, node in reader.mapping(nodes['probes'], 'probes', PROBES, ()).items():
            answers[probe] = reader.answers(node, 'probes.%s' % probe)
    if reader.problems:
        raise PolicyError(sorted(reader.problems, key=lambda p: (p.line, p.column)), {})
    return model.HostFacts(
        values['arch'],
        values['container'],
        values['os'],
        lambda probe, subject: answers.get(probe, {}).get(subject),
    )
