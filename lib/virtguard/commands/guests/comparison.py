# SPDX-License-Identifier: Apache-2.0
"""A domain judged as it is, and as if its libosinfo metadata named the system that really runs in it."""

from lxml import etree

from ... import model
from ...errors import GuardError
from ...host import today
from ...judging.judge import Judge
from ...judging.subject import parse_domain, parse_xml
from ...tree import LIBOSINFO_NS
from .. import loading
from ..domains.domain_files import DomainFile
from ..domains.parallel import work_on_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

    from ...policy.guest_systems import GuestSystem

    Fields = Tuple[str, Tuple[Tuple[str, Optional[str], Optional[str]], ...], str]

_METADATA = '{%s}libosinfo' % LIBOSINFO_NS
_OS = '{%s}os' % LIBOSINFO_NS
_LONGEST = 256  # characters of an id in metadata, which may be of any length
# The worst one counts where a rule finds several things.
_ORDER = (model.DENY, model.ERROR, model.UNKNOWN, model.WARN, model.WAIVED)


class RuleChange:
    """A rule whose answer changes: its worst status by the metadata (`declared`) and by the system that `really` runs;
    None: it finds nothing."""

    __slots__ = ('rule', 'declared', 'really')

    def __init__(self, rule: str, declared: 'Optional[str]', really: 'Optional[str]') -> None:
        self.rule = rule
        self.declared = declared
        self.really = really


class Comparison:
    """`declared` is the id that the metadata has ('' where it has none), `rules` are those that would change.

    `error` says why the domain could not be judged, or is ''.
    """

    __slots__ = ('declared', 'rules', 'error')

    def __init__(self, declared: str, rules: 'Sequence[RuleChange]', error: str) -> None:
        self.declared = declared
        self.rules = tuple(rules)
        self.error = error

    def contradicts(self, system: 'GuestSystem') -> bool:
        """Whether the metadata is wrong in a way that matters: another distribution or major release, or rules answer
        differently. Metadata that says nothing is only wrong if rules would then find more."""
        if self.declared:
            return bool(system.contradicts(self.declared) or self.rules)
        return any(change.really is not None for change in self.rules)


def compare(policy: model.Policy, paths: 'Sequence[str]', really: 'Mapping[str, str]') -> 'Iterator[Comparison]':
    """For each file of a domain, in order, and within limits of time and memory.

    :param really: the id of the system that runs, by path; '': judged is only what the metadata says
    """
    judge = Judge(policy, loading.host(None, policy.needed_facts()), today())

    def work(file: DomainFile) -> 'Fields':
        try:
            part = next(iter(file.parts()))
            if isinstance(part, GuardError):
                raise part
            declared = _declared(part.data)
            if not really[file.name]:
                return declared, (), ''
            before = _statuses(judge.judge(part.data))
            after = _statuses(judge.judge(_with_system(part.data, really[file.name])))
        except GuardError as error:
            return give_up(file, error)
        ids = [rule.id for rule in policy.rules if before.get(rule.id) != after.get(rule.id)]
        return declared, tuple((id, before.get(id), after.get(id)) for id in ids), ''

    def give_up(file: DomainFile, error: GuardError) -> 'Fields':
        return '', (), str(error)

    for declared, rules, error in work_on_files(work, give_up, judge.seconds, [DomainFile(p, True) for p in paths]):
        yield Comparison(declared, [RuleChange(*rule) for rule in rules], error)


def _declared(data: bytes) -> str:
    """The id in a domain's metadata, as it is meant: libosinfo takes the first."""
    root = parse_domain(data).root
    systems = root.iterfind('metadata/%s/%s' % (_METADATA, _OS))
    return next((system.get('id') or '' for system in systems), '').strip()[:_LONGEST]


def _with_system(data: bytes, id: str) -> bytes:
    """The domain, with metadata that names this system and no other."""
    root = parse_xml(data)
    for element in list(root.iterfind('metadata/' + _METADATA)):
        element.getparent().remove(element)
    metadata = root.find('metadata')
    if metadata is None:
        metadata = etree.SubElement(root, 'metadata')
    libosinfo = etree.SubElement(metadata, _METADATA, nsmap={'libosinfo': LIBOSINFO_NS})
    etree.SubElement(libosinfo, _OS).set('id', id)
    return bytes(etree.tostring(root, encoding='utf-8'))


def _statuses(verdict: model.Verdict) -> 'Dict[str, str]':
    """For each rule that finds something, its worst status."""
    return {id: status for status in reversed(_ORDER) for id in verdict.rule_ids(status)}
