# SPDX-License-Identifier: Apache-2.0
"""The guard against itself, and against libxml2: every way in which it reads and judges a domain, on domains at random.

Of each domain there are three documents: spelt plainly, spelt oddly (the same, as far as libvirt reads it), damaged.
The reference is the plain one, with every rule judged by lxml. Against it stand the hook (expat, and lxml for the rules
that are left) and the command (line by line, then by lxml). A disagreement is one of KINDS.
"""

import pathlib
import random
import re
import zlib

from fuzz_libxml2 import Libxml2
from fuzz_spelling import Odd, damaged, plain, strange_metadata
from fuzz_trees import Corpus
from lxml import etree
from virtguard import model
from virtguard.compiled import CompiledPolicy
from virtguard.errors import DomainXMLError, describe_defect
from virtguard.judging.evaluate import evaluate
from virtguard.judging.judge import Judge
from virtguard.judging.subject import parse_domain
from virtguard.policy import load
from virtguard.policy.compiler import prepare
from virtguard.tree import LIBOSINFO_NS
from virtguard.watch.metadata import cut_metadata

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLICIES = tuple('data/profiles/%s.yaml' % name for name in ('rhel-8', 'rhel-9', 'rhel-10', 'sles-16'))
TODAY = '2026-11-25'

KINDS = {
    'unread': 'libvirt accepts the document, and the guard cannot read it',
    'misread': 'libvirt does not accept the document, and the guard judges it',
    'admitted': 'a finding is missing',
    'accused': 'there is a finding too many',
    'miscut': 'without foreign metadata the status of a domain is another one',
    'crashed': 'neither a verdict nor an error about the document',
}


def _probe(name, subject):
    text = ''.join(subject.split())  # what is between elements differs by spelling
    return (True, False, None)[zlib.crc32(('%s %s' % (name, text)).encode('utf-8', 'surrogatepass')) % 3]


HOST = model.HostFacts('x86_64', 'none', 'rhel-8.10', _probe)


class Paths:
    """The three ways in which one policy judges a document."""

    def __init__(self, policy):
        self._policy = policy
        self._compiled = CompiledPolicy(prepare(policy))
        self._judge = Judge(policy, HOST, TODAY)

    def reference(self, xml):
        return evaluate(self._policy, parse_domain(xml), HOST, TODAY)

    def hook(self, xml):
        verdict, candidates = self._compiled.judge(xml, HOST, TODAY)
        if verdict is not None:
            return verdict
        return evaluate(self._compiled.narrowed(candidates), parse_domain(xml), HOST, TODAY)

    def command(self, xml):
        return self._judge.judge(xml)


class Disagreement:
    """`kind` is one of KINDS, `number` that of the domain, `way` who disagrees, on the document `xml`."""

    def __init__(self, kind, number, way, xml, detail):
        self.kind = kind
        self.number = number
        self.way = way
        self.xml = xml
        self.detail = detail

    def __str__(self):
        return 'domain %d: %s: %s: %s (%s)' % (self.number, self.way, self.kind, KINDS[self.kind], self.detail)


class Fuzzer:
    """Domain N of a seed is the same one for ever, as long as the generator and the tests' domains are."""

    def __init__(self, seed):
        self._seed = seed
        self._corpus = Corpus()
        self._libxml2 = Libxml2()
        self._paths = [Paths(load.as_if_in_force(str(ROOT / name))) for name in POLICIES]
        self.documents = 0
        self.accepted = 0
        self.findings = 0
        self.cut = 0

    def run(self, number):
        """Judge one domain in every way; yield the disagreements."""
        chance = random.Random('%s %d' % (self._seed, number))
        paths = self._paths[number % len(self._paths)]
        domain = self._corpus.domain(chance)
        normal = plain(domain)
        self.documents += 1
        expected, refusal = self._ask(paths.reference, normal)
        if expected is None:  # what only libvirt's drivers would refuse, or a fault
            yield from self._compare(number, paths, normal, None, exactly=True)
            return
        self.documents += 2
        self.findings += len(expected.findings)
        yield from self._compare(number, paths, normal, _told(expected, exactly=True), exactly=True)
        odd = Odd(chance, strange_metadata(chance)).spell(domain)
        yield from self._compare(number, paths, odd, _told(expected, exactly=False), exactly=False)
        yield from self._compare(number, paths, damaged(chance.choice((normal, odd)), chance), None, exactly=True)

        yield from self._cut(number, domain, chance)

    def _cut(self, number, domain, chance):
        """The status that libvirt would write, with metadata that it copies, before and after it is cut."""
        inside = strange_metadata(chance, libosinfo=True)
        if not self._libxml2.accepts(b'<metadata>%s</metadata>' % inside.encode()):
            return
        metadata = '<metadata%s>%s</metadata>' % (chance.choice(('', '', ' a=">"', ' xmlns="urn:x"')), inside)
        text = re.sub(r'<metadata(?: [^>]*)?>.*</metadata>|<metadata/>', '', plain(domain).decode(), flags=re.DOTALL)
        text = text.replace('</name>', '</name>\n' + metadata, 1)
        status = ("<!-- WARNING -->\n<domstatus state='running' pid='7'>\n%s</domstatus>\n" % text).encode()
        if not self._libxml2.accepts(status):
            return
        self.documents += 1
        cut = cut_metadata(status)
        self.cut += cut != status
        if not self._libxml2.accepts(cut):
            yield Disagreement('miscut', number, 'watch', status, 'it is not well-formed')
        elif cut != status:
            wanted, found = _without_foreign(status), _without_foreign(cut)
            if wanted != found:
                yield Disagreement('miscut', number, 'watch', status, 'it says something else')

    def _compare(self, number, paths, xml, expected, exactly):
        """:param expected: what must be told of the document; None where only all ways must tell the same"""
        is_accepted = self._libxml2.accepts(xml)
        self.accepted += is_accepted
        told = reason = None
        for way in (paths.reference, paths.hook, paths.command):
            verdict, refusal = self._ask(way, xml)
            if verdict is None and not isinstance(refusal, DomainXMLError):
                yield Disagreement('crashed', number, way.__name__, xml, refusal)
                continue
            if verdict is None:
                if is_accepted and (expected is not None or not _is_on_purpose(refusal)):
                    yield Disagreement('unread', number, way.__name__, xml, str(refusal))
                findings = None
            else:
                if not is_accepted:
                    yield Disagreement('misread', number, way.__name__, xml, verdict.decision)
                findings = _told(verdict, exactly)
            if way == paths.reference:
                told, reason = findings, str(refusal)
                if expected is None or findings is None:
                    continue
            wanted = told if expected is None else expected
            if way == paths.hook and wanted is None and _VALUE.match(reason):
                continue  # what libvirt has written has no such value, so the hook need not look for it
            if wanted is None or findings is None:
                if (wanted is None) != (findings is None) and expected is None:
                    yield Disagreement(
                        'misread' if wanted is None else 'unread', number, way.__name__, xml, str(refusal)
                    )
                continue
            if wanted - findings:
                yield Disagreement('admitted', number, way.__name__, xml, sorted(wanted - findings))
            if findings - wanted:
                yield Disagreement('accused', number, way.__name__, xml, sorted(findings - wanted))

    @staticmethod
    def _ask(way, xml):
        try:
            return way(xml), None
        except DomainXMLError as error:
            return None, error
        except Exception as error:
            return None, describe_defect(error)


# What libxml2 accepts, and libvirt refuses, or the guard itself.
_VALUE = re.compile('.* (?:is not one that libvirt knows|is not a number|is to be filled in)')
_ON_PURPOSE = re.compile('the XML has a DOCTYPE|' + _VALUE.pattern)


def _is_on_purpose(refusal):
    return refusal.other_document or _ON_PURPOSE.match(str(refusal)) is not None


def _told(verdict, exactly):
    if exactly:
        return {(f.rule.id, f.status, f.path, f.line, f.evidence, f.message) for f in verdict.findings}
    return {(f.rule.id, f.status, f.path) for f in verdict.findings}


_RECOVERING = etree.XMLParser(recover=True, remove_comments=True, remove_pis=True)


def _without_foreign(status):
    """A status as a tree of tuples, and of the outermost `metadata` only what cut_metadata is to leave of it."""
    return _tuple(etree.fromstring(status, _RECOVERING), 'outside')


def _tuple(element, where):
    name = etree.QName(element)
    is_cut = where == 'outside' and element.tag.rpartition('}')[2] == 'metadata' and element.prefix is None
    inside = where if where == 'outside' and not is_cut else {'outside': 'top', 'top': 'kept', 'kept': 'kept'}[where]
    children = []
    text = element.text or ''
    for child in element:
        if inside == 'outside' or _is_kept(child, inside):
            children.append(_tuple(child, inside))
        text += child.tail or ''
    attributes = {} if is_cut else {str(k): str(v) for k, v in element.items()}
    if where != 'outside':
        attributes = {key: value for key, value in attributes.items() if re.match(r'[A-Za-z_][\w.-]*$', key, re.ASCII)}
    return (
        'metadata' if is_cut else str(name),
        sorted(attributes.items()),
        '' if is_cut else text.replace('\n', '') if inside != 'outside' else text,
        children,
    )


def _is_kept(child, inside):
    uri, _, local = str(child.tag).rpartition('}')
    if uri[1:] != LIBOSINFO_NS or not re.match(r'[A-Za-z_][\w.-]*$', local, re.ASCII):
        return False
    return inside == 'kept' or local == 'libosinfo'
