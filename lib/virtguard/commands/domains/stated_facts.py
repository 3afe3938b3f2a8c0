# SPDX-License-Identifier: Apache-2.0
"""Host facts from a file instead of a host, so that a domain can be judged for another host. Pure: no I/O.

    arch: x86_64
    container: none
    os: rhel-8.10
    probes:
      multipath-device: {/dev/mapper/mpatha: yes, /dev/sdb: no}
      infiniband-vf: {"0000:03:10.1": unknown}
      real-path: {/srv/images/a.img: yes}

A fact that the file leaves out, or states as `unknown`, is unknown; but a path that it leaves out leads where it is
written. This host is never asked instead.
"""

from ... import model
from ...policy.layer import FACTS
from ...policy.probes import PROBES
from ...policy.problems import PolicyError
from ...policy.yaml_reader import Reader
from .named_hosts import answer_elsewhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Mapping, Optional, Set, Tuple

    import yaml

    Answers = Dict[str, Dict[str, model.Answer]]

UNKNOWN = 'unknown'


class StatedFacts(model.HostFacts):
    """The facts of a host in a file. `answers` are those to probes; `asked` the questions so far: (probe, subject)."""

    __slots__ = ('answers', 'asked')

    def __init__(self, facts: 'Mapping[str, Optional[str]]', answers: 'Answers') -> None:
        super().__init__(facts.get('arch'), facts.get('container'), facts.get('os'), self._answer)
        self.answers = answers
        self.asked: 'Set[Tuple[str, str]]' = set()

    def _answer(self, probe: str, subject: str) -> 'model.Answered':
        subject = subject.strip()  # an element without text has its indentation as the subject
        self.asked.add((probe, subject))
        stated = self.answers.get(probe, {})
        return stated[subject] if subject in stated else answer_elsewhere(probe, subject)


def load_facts(data: bytes, path: str) -> StatedFacts:
    """Read host facts.

    :raises PolicyError: with every problem at once
    """
    reader = Reader(path)
    root = reader.compose(data, 'the facts file')
    facts = read_stated(reader, root, 'the facts file', {}) if root is not None else StatedFacts({}, {})
    if reader.problems:
        raise PolicyError(sorted(reader.problems, key=lambda p: (p.line, p.column)), {})
    return facts


def read_stated(reader: Reader, node: 'yaml.Node', what: str, default: 'Mapping[str, str]') -> StatedFacts:
    """The facts in a mapping; those that it leaves out are as in `default`."""
    nodes = reader.mapping(node, what, FACTS + ('probes',), ())
    facts: 'Dict[str, Optional[str]]' = dict(default)
    for fact in FACTS:
        if fact in nodes:
            value = reader.line_of_text(nodes[fact], fact)
            facts[fact] = None if value == UNKNOWN else value
    answers: 'Answers' = {}
    if 'probes' in nodes:
        for probe, answered in reader.mapping(nodes['probes'], 'probes', PROBES, ()).items():
            answers[probe] = reader.answers(answered, 'probes.%s' % probe)
    return StatedFacts(facts, answers)
