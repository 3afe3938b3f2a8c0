# SPDX-License-Identifier: Apache-2.0
"""Compiled file -> policy, ready to judge: what the hook loads instead of YAML and XPath, as long as the sources of the
policy are unchanged.

The file is beside the policy. Its first line names the format and the package's version. What starts judge by is there
twice, at the beginning and at the end, as in the start file: to compare two copies finds damage in less time than the
import of a checksum takes. Between them are the rules' texts; the second line has the size of a copy and a checksum of
these texts, which a clean domain needs none of. Owner and mode protect against attackers. It is all marshalled: plain
data and no code, in a form that every Python reads (see packed.marshalled). So an upgrade of Python, between which and
that of its lxml some time may pass, leaves the guard what it judges by.
The file only saves time: if it is missing, damaged, out of date, or not trusted, the policy is read. policy/compiler
makes it; source_contents finds out whether a source that looks changed has really changed.
"""

import marshal
import posix  # not os: see the import budget in hook/call
import time

from . import __version__, errors, packed
from .tree import ARG_NS, LIBOSINFO_NS, NAMESPACE, QEMU_NS, Element, is_plain_id, read_tree
from .trust import WAY, check_ownership, read_file
from .verdict import ARCHITECTURES, KVM_TYPES, HostCondition, HostFacts, Policy, Verdict
from .xpath import evaluate, in_order, meets, run, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

    from . import model
    from .xpath import Node

    Stamp = Tuple[Tuple[Any, ...], ...]

_FORMAT = 11
_MAX_BYTES = 64 * 1024 * 1024
_OS = '{%s}os' % LIBOSINFO_NS
_COMMANDLINE, _ARG = '{%s}commandline' % QEMU_NS, '{%s}arg' % QEMU_NS
_UUID_CHARACTERS = frozenset('0123456789abcdefABCDEF')


def compiled_path(policy_path: str) -> str:
    """Where the compiled form of a policy is."""
    return (policy_path[: -len('.yaml')] if policy_path.endswith('.yaml') else policy_path) + '.compiled'


def load_compiled(policy_path: str, whole: bool = True) -> 'Tuple[Optional[CompiledPolicy], str]':
    """The compiled form of a policy, if it can be used; else None and why ('' if there is no such file).

    :param whole: whether the rules' texts are checked now, or when a verdict needs them
    """
    path = compiled_path(policy_path)
    try:
        data = _read(path)
        if data is None:
            return None, ''
        end = data.find(b'\n')
        begin = data.find(b'\n', end + 1) + 1
        if data[:end] != headline():
            return None, '%s was written by another version; run virt-guard policy compile' % path
        size, checksum = data[end + 1 : begin].split()
        details = begin + int(size)
        copy = memoryview(data)[begin:details]  # which is large, so not copied
        if not data.endswith(copy, details):
            return None, '%s is damaged; run virt-guard policy compile' % path
        stamp, contents, content = marshal.loads(copy)
        if stamp[0][0] != policy_path or not _is_current(stamp, contents):
            return None, '%s is out of date; run virt-guard policy compile' % path
        compiled = CompiledPolicy((*content, (int(checksum, 16), memoryview(data)[details : -len(copy)])))
        if whole and not compiled.is_whole():
            return None, '%s is damaged; run virt-guard policy compile' % path
        if compiled.policy.audit_until:
            compiled.policy = compiled.policy.on(time.strftime('%Y-%m-%d'))
        return compiled, ''
    except errors.PolicyFileError as error:
        return None, error.message
    except Exception as error:  # whatever is wrong with it, the policy itself can be read
        return None, '%s cannot be used (%s); run virt-guard policy compile' % (path, error)


def _is_current(stamp: 'Stamp', contents: 'Tuple[Any, ...]') -> bool:
    sources = [entry[:2] for entry in stamp]
    if stamp == take_stamp(sources):
        return True
    from .source_contents import is_same  # reads every source; most often the stamp is enough

    return is_same(sources, contents)


def take_stamp(sources: 'Sequence[Tuple[str, str]]') -> 'Stamp':
    """What changes when a policy's source changes, or when others could change it.

    :param sources: path and kind of each, that of the policy first
    :raises OSError: a source cannot be looked at
    """
    return tuple((path, kind, _look(path, kind)) for path, kind in sources)


def _look(path: str, kind: str) -> 'Optional[Tuple[int, ...]]':
    try:
        status = posix.stat(path)
    except FileNotFoundError:
        return None
    if kind == WAY:
        return _identity(status)
    return _identity(status) + (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _identity(status: 'stat_result') -> 'Tuple[int, ...]':
    return status.st_dev, status.st_ino, status.st_mode, status.st_uid


def headline() -> bytes:
    """The first line of a file that this package can use.

    An installed package is in a directory that is named for its content: two builds of one version differ, too.
    """
    tree = __file__.rsplit('/', 3)[-3]
    return ('virt-guard compiled policy %s %s %s' % (_FORMAT, __version__, tree)).encode('utf-8', 'surrogateescape')


def _read(path: str) -> 'Optional[bytes]':
    try:
        data = read_file(path, _MAX_BYTES, check_ownership, follow_links=False)
    except FileNotFoundError:
        return None
    except errors.NotAFileError:
        data = None
    if data is None or len(data) > _MAX_BYTES:
        raise ValueError('not a regular file of a sensible size')
    return data


class CompiledPolicy:
    """A policy whose rules are programs; `policy` has no rules and no waivers: most domains need none.

    :param content: as prepare in policy/compiler has made it
    """

    __slots__ = (
        'policy',
        'needed_facts',
        '_programs',
        '_of_start',
        '_conditions',
        '_values',
        '_without_match',
        '_for_lxml',
        '_probing',
        '_details',
    )

    def __init__(self, content: 'Tuple[Any, ...]') -> None:
        settings, self.needed_facts, (of_definition, of_start), tests, kinds, details = content
        self._programs = of_definition, of_start
        self._conditions, self._values = tests
        self._without_match, (self._for_lxml, self._probing), self._of_start = kinds
        self._details = details
        name, mode, failure, deadline, audit_required, sha256, source, audit_until = settings
        if mode not in ('enforce', 'audit') or failure not in ('deny', 'admit') or not deadline > 0:
            raise ValueError('it has settings that no policy has')
        self.policy = Policy(name, mode, failure, deadline, audit_required, (), sha256, source, audit_until=audit_until)

    def judge(
        self, xml: bytes, host: HostFacts, today: str, starting: bool = False, may_probe: bool = False
    ) -> 'Tuple[Optional[Verdict], List[int]]':
        """The verdict on a domain; if it is `starting`, also by the rules of START. None where lxml must tell what the
        document says, for rules that lxml must evaluate and, unless it `may_probe`, for those that ask for a probe;
        then also the numbers of the rules that must be judged.

        :raises DomainXMLError: it has a DOCTYPE, or an argument for QEMU that no real domain has
        """
        excluded = {n for n, conditions in self._conditions.items() if not _may_apply(conditions, host)}
        if not starting:
            excluded |= self._of_start
        document = read_tree(xml)
        root = _usual_root(document) if document is not None else None
        if document is None or root is None or not _add_arguments(root):
            return None, [number for number in range(len(self._read_details()[0])) if number not in excluded]
        found = self._find(document, root, excluded, starting)
        # Of the rules that lxml must evaluate, those that could match this domain.
        for_lxml = [
            number
            for number, condition in self._for_lxml
            if number not in excluded and (condition is None or evaluate(condition, root))
        ]
        numbers = sorted({*found, *self._without_match, *for_lxml} - excluded)
        if not numbers:
            return Verdict(*_name_and_uuid(root), self.policy, (), today), []
        if not for_lxml and (may_probe or self._probing.isdisjoint(numbers)):
            return self._verdict(root, found, numbers, host, today), []
        return None, numbers

    def _find(self, document: Element, root: Element, excluded: 'Set[int]', starting: bool) -> 'Dict[int, List[Node]]':
        """The nodes that rules select, by their numbers; for rules with values, those that have one of them."""
        found: 'Dict[int, List[Node]]' = {}
        for paths, alone in self._programs if starting else self._programs[:1]:
            _follow(document, paths, found)
            for number, program in alone:
                if number not in excluded:
                    found[number] = run(program, root)
        selected = {}
        for number, nodes in found.items():
            if number in excluded:
                continue
            nodes = [node for node in nodes if node.parent is not None]  # as lxml, without the document
            if number in self._values:
                texts, negated = self._values[number]
                nodes = [node for node in nodes if _is_among(node, texts) != negated]
            if nodes:
                selected[number] = in_order(nodes)
        return selected

    def _verdict(
        self, root: Element, found: 'Dict[int, List[Node]]', numbers: 'List[int]', host: HostFacts, today: str
    ) -> Verdict:
        from .findings import Paths, find  # hardly needed for a clean domain

        findings: 'List[model.Finding]' = []
        paths = Paths()
        for number in numbers:
            rule, compared = self._rule(number)
            nodes = found.get(number, ())
            findings += find(rule, lambda rule, nodes=nodes: nodes, host, paths, compared)  # type: ignore[misc]
        name, uuid = _name_and_uuid(root)
        waivers = self._read_waivers() if findings else ()
        if waivers:
            from .waivers import Waivers

            applied = Waivers(waivers, today)
            findings = [applied.apply(finding, name, uuid) for finding in findings]
        return Verdict(name, uuid, self.policy, findings, today)

    def is_whole(self) -> bool:
        """Whether the rules' texts and the waivers are as they were written; before they are used."""
        from binascii import crc32  # hardly any clean domain needs it

        checksum, data = self._details
        return bool(crc32(data) == checksum)

    def _read_details(self) -> 'Tuple[Sequence[bytes], bytes, Sequence[Tuple[str, str]], bytes]':
        """The rules, each packed by itself; the waivers; the id and the title of every rule; the texts."""
        if self._details[0] is not None:
            if not self.is_whole():
                raise ValueError('the texts of its rules are damaged')
            self._details = None, marshal.loads(self._details[1])
        return self._details[1]  # type: ignore[no-any-return]

    def _rule(self, number: int) -> 'Tuple[model.Rule, Sequence[str]]':
        """A rule, and what it compares of an element."""
        *fields, compared = marshal.loads(self._read_details()[0][number])
        rule = packed.unpack_rule(fields)
        if number in self._values:
            texts, _ = self._values[number]
            rule.values = tuple(texts[1:-1].split(NAMESPACE)) if isinstance(texts, str) else texts
        return rule, compared

    def _read_waivers(self) -> 'Tuple[model.Waiver, ...]':
        return packed.unpack_waivers(self._read_details()[1])

    def texts(self) -> 'Dict[str, str]':
        """What a refusal needs of the policy's language."""
        return marshal.loads(self._read_details()[3])  # type: ignore[no-any-return]

    def listed(self) -> 'Tuple[Tuple[str, str], ...]':
        """The id and the title of every rule, also of those that are off, or that judge only what happens later."""
        return tuple(self._read_details()[2])

    def narrowed(self, numbers: 'Sequence[int]') -> Policy:
        """The policy with the rules of these numbers, and with its waivers."""
        policy = self.policy
        return Policy(
            policy.name,
            policy.mode,
            policy.failure,
            policy.deadline,
            policy.audit_required,
            tuple(self._rule(number)[0] for number in numbers),
            policy.sha256,
            policy.source,
            self._read_waivers(),
            audit_until=policy.audit_until,
            texts=self.texts(),
        )


def _follow(element: Element, paths: 'Dict[str, Any]', found: 'Dict[int, List[Node]]') -> None:
    """Follow all paths that begin at an element, at once.

    :param paths: name of a child -> (paths that go on there, ends); an end is the number of a rule, predicates on the
        child, and the steps that follow
    """
    for child in element.children:
        if child.__class__ is not Element or child.tag not in paths:
            continue
        below, ends = paths[child.tag]
        for number, predicates, steps in ends:
            if not predicates or meets(predicates, child):
                nodes = walk(steps, [child]) if steps else [child]
                if nodes:
                    found.setdefault(number, []).extend(nodes)
        if below:
            _follow(child, below, found)


def _usual_root(document: Element) -> 'Optional[Element]':
    """The domain; None if it is none, or not one that can be judged (see judging/refused), or has the id of an
    operating system that may mean another one (see policy/os_ids)."""
    (root,) = document.elements()
    if root.tag != 'domain' or root.get('type') not in KVM_TYPES:
        return None
    for system in root.named('os'):
        if any(type.get('arch') not in ARCHITECTURES for type in system.named('type')):
            return None
    for child in root.elements():
        if child.tag == 'metadata' or '}' in child.tag:
            for known in child.iter(_OS):
                if known.get('id') is not None and not is_plain_id(known.attrib['id']):
                    return None
    return root


def _add_arguments(root: Element) -> bool:
    """Add the reading of QEMU's arguments below them, as judging/subject does.

    :returns: False where that is left to a process with limits: nothing interrupts what reads JSON
    """
    values = [(arg, arg.get('value', '')) for line in root.named(_COMMANDLINE) for arg in line.named(_ARG)]
    if any('json:' in value or value.lstrip().startswith('{') for _, value in values):
        return False
    if values:
        from .qemu_args import read_arguments  # most domains have none

        for number, name, settings in read_arguments([value for _, value in values]):
            values[number][0].add('{%s}%s' % (ARG_NS, name), settings)
    return True


def _name_and_uuid(root: Element) -> 'Tuple[str, str]':
    name, uuid = [root.named(tag)[0].string_value() if root.named(tag) else '' for tag in ('name', 'uuid')]
    uuid = uuid.strip()
    parts = [len(part) for part in uuid.split('-')]
    is_uuid = parts == [8, 4, 4, 4, 12] and _UUID_CHARACTERS.issuperset(uuid.replace('-', ''))
    return name, uuid if is_uuid else ''


def _is_among(node: 'Node', texts: 'Any') -> bool:
    """Whether the value of a node is one of these texts, which may be joined, see join_texts."""
    if node.__class__ is Element:
        from .findings import string_value

        value = string_value(node)
    else:
        value = str(node)
    return join_texts((value,)) in texts if isinstance(texts, str) else value in texts


def _may_apply(conditions: 'Tuple[Any, ...]', host: HostFacts) -> bool:
    return all(HostCondition(*condition).met_by(host) is not False for condition in conditions)


def join_texts(texts: 'Iterable[str]') -> str:
    """Texts joined to one string, which loads ten times as fast as a thousand texts. None may contain NAMESPACE."""
    return NAMESPACE + ''.join(text + NAMESPACE for text in texts)
