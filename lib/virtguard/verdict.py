# SPDX-License-Identifier: Apache-2.0
"""What the guard reasons about, as far as every start needs it: policies, host facts, verdicts. Plain data; imports
nothing but types. `model` has the rest, and hands this on.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

    from .model import Finding, Origin, Rule, Waiver

    Release = Tuple[int, int]  # major, minor
    Span = Tuple[str, Tuple[int, ...], Tuple[int, ...]]  # vendor, and two bounds with the numbers that are written

# Far beyond any real domain; what is larger is an attack on memory.
MAX_XML_BYTES = 32 * 1024 * 1024

# The defaults, if a policy does not give a setting, or there is no policy. `deadline` is in seconds.
DEFAULT_SETTINGS = {'mode': 'enforce', 'failure': 'deny', 'deadline': 5.0, 'audit': False, 'language': 'en'}

# What a domain that can be judged may state, or leave out (None). The architectures are libvirt's (virArch).
KVM_TYPES = frozenset((None, 'kvm', 'qemu'))
ARCHITECTURES = frozenset(
    (None,)
    + tuple(
        'alpha armv6l armv7b armv7l aarch64 cris i686 ia64 lm32 loongarch64 m68k microblaze microblazeel mips mipsel '
        'mips64 mips64el openrisc parisc parisc64 ppc ppc64 ppc64le ppcemb riscv32 riscv64 s390 s390x sh4 sh4eb sparc '
        'sparc64 unicore32 x86_64 xtensa xtensaeb'.split()
    )
)

# Statuses of a finding. `waived`: somebody has permitted it; `unknown`: the host could not answer; `error`: the rule
# itself could not be evaluated.
DENY = 'deny'
WARN = 'warn'
WAIVED = 'waived'
UNKNOWN = 'unknown'
ERROR = 'error'

# When a rule is judged: as a domain starts, or as a running one changes; model has START.
ADMISSION = 'admission'
RUNTIME = 'runtime'

# The decisions of a verdict are ADMIT, DENY and ERROR. `mode` and `failure` say what follows from them: in mode audit,
# a denial becomes WOULD_DENY.
ADMIT = 'admit'
WOULD_DENY = 'would-deny'

# What records are about that have no verdict on a whole domain.
HAPPENED = 'runtime'  # something that a watch has found
POLICY_CHANGED = 'policy-changed'
COMPILED = 'compiled'
GUARD_CHANGED = 'guard-changed'  # it was installed, upgraded or removed: install.sh records that
WATCH_STARTED = 'watch-started'
WATCH_STOPPED = 'watch-stopped'
UNWATCHED = 'unwatched'  # nobody watched running domains from one time to another
EXPIRY = 'expiry'

# Answers to a condition on the host: True, False, or None where the host cannot tell. A probe may add why it is so;
# real-path answers with the path.
if TYPE_CHECKING:
    Answer = Optional[bool]
    Answered = Union[Answer, Tuple[Answer, str], str]


# The vendors whose releases can be compared: their ids in os-release, which derivatives have in ID_LIKE; the highest
# major number, because some derivatives of RHEL count years, and openSUSE Leap 42 came before Leap 15; and the minor
# number of a release that states none: CentOS Stream 9 is ahead of every 9.x, SLES 15 came before 15.1.
VENDORS = {
    'rhel': (frozenset('rhel centos almalinux rocky ol'.split()), 99, 9999),
    'sles': (frozenset('sles sled sles_sap sle_hpc sle_rt opensuse-leap'.split()), 41, 0),
}


def release_of(os: str, like: 'Sequence[str]', vendor: str) -> 'Union[Release, Tuple[()], None]':
    """The release that an os fact is of, as its vendor counts; () if it is not one of this vendor, None if unknown.

    :param like: ID_LIKE of os-release
    """
    ids, highest, unnamed = VENDORS[vendor]
    known = [id for id in ids if os == id or os.startswith(id + '-')]
    if not known and ids.isdisjoint(like):
        return ()
    major, dot, rest = (os[len(known[0]) + 1 :] if known else os.rpartition('-')[2]).partition('.')
    minor = rest.partition('.')[0]
    if not major.isdecimal() or (dot and not minor.isdecimal()) or len(major) + len(minor) > 12:
        return None
    return (int(major), int(minor) if dot else unnamed) if int(major) <= highest else ()


def mode_on(day: str, audit_until: str) -> str:
    """The mode on a day, where mode audit ends after the day `audit_until`."""
    return 'audit' if day <= audit_until else 'enforce'


class HostCondition:
    """A rule's condition on one host fact: `fact` is one of `values`, or, if `negated`, is not.

    `span` is a range of releases, in which () means no bound; then there are no `values`.
    """

    __slots__ = ('fact', 'values', 'negated', 'span')

    def __init__(self, fact: str, values: 'Tuple[str, ...]', negated: bool, span: 'Optional[Span]' = None) -> None:
        self.fact = fact
        self.values = values
        self.negated = negated
        self.span = span

    def met_by(self, host: 'HostFacts') -> 'Answer':
        value = getattr(host, self.fact)
        if value is None:
            return None
        if self.span is not None:
            vendor, first, end = self.span
            release = release_of(value, host.os_like, vendor)
            return None if release is None else release != () and first <= release and (not end or release < end)
        # `rhel` and `rhel-8` both speak of rhel-8.10.
        parts = tuple(entry + end for entry in self.values for end in '-.') if self.fact == 'os' else ()
        return (value in self.values or value.startswith(parts)) != self.negated


class Policy:
    """A whole, valid policy; `deadline` is in seconds.

    `sha256` is the hex digest of the file it was read from; if there are several, it is what
    `sha256sum FILE... | sha256sum` prints. `files` are those files in the order in which they count; `source` is the
    main one: the others are what it extends, and its drop-ins. `origins` is where each setting got its value.
    `audit_until` (YYYY-MM-DD, or '') is the last day of mode audit; `mode` is that of one day, see `on`.
    `language` is that of refusals; `texts` has what they need of it, see policy/languages, and `untranslated` says why
    it has nothing.
    """

    __slots__ = (
        'name mode failure deadline audit_required rules waivers sha256 source files origins audit_until language '
        'texts untranslated'
    ).split()

    def __init__(
        self,
        name: str,
        mode: str,
        failure: str,
        deadline: float,
        audit_required: bool,
        rules: 'Tuple[Rule, ...]',
        sha256: str,
        source: str,
        waivers: 'Tuple[Waiver, ...]' = (),
        files: 'Tuple[str, ...]' = (),
        origins: 'Optional[Dict[str, Origin]]' = None,
        audit_until: str = '',
        language: str = 'en',
        texts: 'Optional[Dict[str, str]]' = None,
        untranslated: str = '',
    ) -> None:
        self.name = name
        self.mode = mode
        self.failure = failure
        self.deadline = deadline
        self.audit_required = audit_required
        self.rules = rules
        self.waivers = waivers
        self.sha256 = sha256
        self.source = source
        self.files = files
        self.origins = origins or {}
        self.audit_until = audit_until
        self.language = language
        self.texts = texts or {}
        self.untranslated = untranslated

    def on(self, day: str) -> 'Policy':
        """The policy with the mode of a day (YYYY-MM-DD)."""
        mode = mode_on(day, self.audit_until) if self.audit_until else self.mode
        if mode == self.mode:
            return self
        values = {name: getattr(self, name) for name in self.__slots__ if name != 'mode'}
        return Policy(mode=mode, **values)

    @property
    def mode_in_words(self) -> str:
        """The mode, and until when it holds if it ends by itself."""
        return 'audit until %s' % self.audit_until if self.audit_until and self.mode == 'audit' else self.mode

    def settings(self) -> 'Dict[str, Union[str, float, bool]]':
        """The settings that matter to the hook itself, under their names in the file."""
        return {
            'mode': self.mode,
            'failure': self.failure,
            'deadline': self.deadline,
            'audit': self.audit_required,
        }

    def fields(self) -> 'List[Tuple[str, str]]':
        """What audit records say of the policy."""
        ends = [('VIRT_GUARD_AUDIT_UNTIL', self.audit_until)] if self.audit_until and self.mode == 'audit' else []
        return [
            ('VIRT_GUARD_MODE', self.mode),
            *ends,
            ('VIRT_GUARD_POLICY', self.name),
            ('VIRT_GUARD_POLICY_SHA256', self.sha256),
        ]

    def rules_at(self, at: str) -> 'Tuple[Rule, ...]':
        """The rules in use that are judged at ADMISSION, at START or at RUNTIME."""
        return tuple(rule for rule in self.rules if rule.at == at and rule.action != 'off')

    def rules_of_start(self) -> 'Tuple[Rule, ...]':
        """The rules in use that are judged on a domain as it starts, or runs: those at ADMISSION and at START."""
        return tuple(rule for rule in self.rules if rule.at != RUNTIME and rule.action != 'off')

    def needed_facts(self, at: str = ADMISSION) -> 'Set[str]':
        """The host facts that these rules ask for; for ADMISSION, also those at START."""
        rules = self.rules_of_start() if at == ADMISSION else self.rules_at(at)
        return {condition.fact for rule in rules for condition in rule.host}


class HostFacts:
    """What rules may ask about the host. A fact that cannot be read is None.

    `arch` is the kernel's name of the machine (x86_64), `container` the container technology the host itself runs in
    or 'none', `os` the ID and VERSION_ID of os-release joined with '-' (rhel-8.10). `probe(name, subject)` answers a
    rule's probe about one matched node; `asking` is the id of that rule. `evidence` tells, for a fact that is not
    obvious, what shows it; `os_like` is ID_LIKE of os-release.
    """

    __slots__ = ('arch', 'container', 'os', 'probe', 'evidence', 'os_like', 'asking')

    def __init__(
        self,
        arch: 'Optional[str]',
        container: 'Optional[str]',
        os: 'Optional[str]',
        probe: 'Callable[[str, str], Answered]',
        evidence: 'Optional[Dict[str, str]]' = None,
        os_like: 'Sequence[str]' = (),
    ) -> None:
        self.arch = arch
        self.container = container
        self.os = os
        self.probe = probe
        self.evidence = evidence or {}
        self.os_like = os_like
        self.asking = ''


class Verdict:
    """The result for one domain: the decision and everything that led to it, on the day `today` (YYYY-MM-DD)."""

    __slots__ = ('domain_name', 'uuid', 'policy', 'findings', 'today')

    def __init__(
        self, domain_name: str, uuid: str, policy: Policy, findings: 'Sequence[Finding]' = (), today: str = ''
    ) -> None:
        self.domain_name = domain_name
        self.uuid = uuid
        self.policy = policy
        self.findings = tuple(findings)
        self.today = today

    @property
    def decision(self) -> str:
        """`deny` where a rule denies, else `error` where a rule could not be evaluated, else `admit`."""
        statuses = {finding.status for finding in self.findings}
        if DENY in statuses:
            return DENY
        return ERROR if ERROR in statuses else ADMIT

    @property
    def outcome(self) -> str:
        """What the policy's mode makes of the decision."""
        return WOULD_DENY if self.decision == DENY and self.policy.mode == 'audit' else self.decision

    def rule_ids(self, *statuses: str) -> 'Tuple[str, ...]':
        """The ids of the rules with a finding of one of `statuses`, each once, in the policy's order."""
        return tuple(dict.fromkeys(f.rule.id for f in self.findings if f.status in statuses))

    def more(self) -> 'Dict[str, int]':
        """How many findings were counted but not kept: rule -> number, for rules that have such findings."""
        counts: 'Dict[str, int]' = {}
        for finding in self.findings:
            if finding.more:
                counts[finding.rule.id] = counts.get(finding.rule.id, 0) + finding.more
        return counts
