# SPDX-License-Identifier: Apache-2.0
"""Names and values that no domain can have: what is said of each, where, and what is not to be said."""

import pytest
from virtguard import model
from virtguard.commands.policy import look_closer
from virtguard.errors import GuardError, PolicyError
from virtguard.match.lint import lint_match
from virtguard.match.relaxng import load_schema
from virtguard.policy import load
from virtguard.policy.layer import read_layer
from virtguard.policy.lint import lint_policy
from virtguard.policy.merge import merge_layers

SCHEMA = load_schema(
    'domain.rng',
    lambda name: (
        b"""
<grammar xmlns='http://relaxng.org/ns/structure/1.0'>
  <start><element name='domain'>
    <attribute name='type'><choice><value>kvm</value><value>qemu</value></choice></attribute>
    <interleave>
      <element name='name'><text/></element>
      <element name='vcpu'><optional><attribute name='current'/></optional><data type='int'/></element>
      <element name='on_poweroff'><choice><value>destroy</value><value>restart</value></choice></element>
      <element name='features'><optional><element name='acpi'><empty/></element></optional></element>
      <element name='pm'>
        <element name='suspend-to-mem'><ref name='enabled'/></element>
        <element name='suspend-to-disk'><ref name='enabled'/></element>
      </element>
      <element name='metadata'><zeroOrMore><ref name='any'/></zeroOrMore></element>
      <element name='devices'>
        <element name='disk'>
          <attribute name='type'><choice><value>file</value><value>block</value></choice></attribute>
          <choice>
            <element name='source'><attribute name='file'/></element>
            <element name='source'>
              <attribute name='dev'/>
              <element name='reservations'><attribute name='managed'><ref name='yesno'/></attribute></element>
            </element>
          </choice>
          <optional><ref name='chain'/></optional>
        </element>
        <element name='interface'>
          <attribute name='type'><choice><value>bridge</value><value>vhostuser</value></choice></attribute>
          <element name='teaming'><empty/></element>
        </element>
        <element name='hostdev'>
          <element name='address'><attribute name='bus'/></element>
        </element>
      </element>
      <element name='commandline' ns='http://libvirt.org/schemas/domain/qemu/1.0'>
        <element name='arg'><attribute name='value'/></element>
      </element>
    </interleave>
  </element></start>
  <define name='enabled'><attribute name='enabled'><ref name='yesno'/></attribute></define>
  <define name='yesno'><choice><value>yes</value><value>no</value></choice></define>
  <define name='chain'><element name='backingStore'>
    <element name='format'><attribute name='type'/></element><optional><ref name='chain'/></optional>
  </element></define>
  <define name='any'><element><anyName/><zeroOrMore><choice>
    <attribute><anyName/></attribute><text/><ref name='any'/>
  </choice></zeroOrMore></element></define>
</grammar>"""
    ),
)
# The place of the mistake, in the expressions below.
HERE = '«'
NEWER = 'if a newer libvirt has it, say so with since'

MISTAKES = [
    # Elements.
    ('/domain/pm/«suspend-to-ram', 'no <suspend-to-ram> under <pm>', 'did you mean <suspend-to-mem>?'),
    ('/domain/«disk', 'no <disk> under <domain>', 'it is known under <devices>'),
    ('/domain/vcpu/«xyzzy', 'no <xyzzy> under <vcpu>', NEWER),
    ('/domain/child::«xyzzy/disk', 'no <xyzzy> under <domain>', NEWER),
    ('//«suspend-to-ram', 'no <suspend-to-ram> in any domain', 'did you mean <suspend-to-mem>?'),
    ('/domain//«xyzzy', 'no <xyzzy> under <domain>', NEWER),
    ('/domain/descendant::disk/descendant::«reservation', 'no <reservation> under <disk>', '<reservations>?'),
    ('/domain/devices/*/«teeming', 'no <teeming> under <disk>, <hostdev> or <interface>', 'did you mean <teaming>?'),
    ('/domain/pm/*/«enabled', 'no <enabled> under <suspend-to-disk> or <suspend-to-mem>', 'did you mean @enabled?'),
    ('/domain/devices/*[self::«dusk]', 'no <dusk> among <disk>, <hostdev> or <interface>', 'did you mean <disk>?'),
    ('/domain/devices/disk/following-sibling::«tpm', 'no <tpm> under <disk>', NEWER),
    ('/domain/devices/disk/parent::«device', 'no <device> above <disk>', 'did you mean <devices>?'),
    ('/domain/devices/disk/../«pm', 'no <pm> under <devices>', 'it is known under <domain>'),
    ('/domain/pm/../../«devices', 'no <devices> in any domain', 'it is known under <domain>'),
    ('/domain/devices/disk/backingStore/backingStore/«source', 'no <source> under <backingStore>', 'under <disk>'),
    ('/domain/qemu:commandline/«qemu:args', 'no <qemu:args> under <qemu:commandline>', 'did you mean <qemu:arg>?'),
    ('/domain/«commandline', 'no <commandline> under <domain>', 'did you mean <qemu:commandline>?'),
    ('/domain/«qemu:name', 'no <qemu:name> under <domain>', 'did you mean <name>?'),
    ('/domain/devices/interface/«type', 'no <type> under <interface>', 'did you mean @type?'),
    ('/domain/features/acpi/«*', 'no <*> under <acpi>', ''),
    ('/domain/pm/«libosinfo:*', 'no <libosinfo:*> under <pm>', ''),
    # Attributes.
    ('/domain/pm/*[@«enable]', 'no @enable on <suspend-to-disk> or <suspend-to-mem>', 'did you mean @enabled?'),
    ('/domain/@«name', 'no @name on <domain>', 'did you mean <name>?'),
    ('/domain/pm/@«enabled', 'no @enabled on <pm>', 'it is known on <suspend-to-disk> or <suspend-to-mem>'),
    ('/domain/pm/@«*', 'no @* on <pm>', ''),
    ('//@«xyzzy', 'no @xyzzy in any domain', NEWER),
    ('/domain/@type/../@«typ', 'no @typ on <domain>', 'did you mean @type?'),
    # Values.
    ("/domain/devices/interface[@type = «'vhost-user']", "type of <interface> is never 'vhost-user'", "'vhostuser'?"),
    ("/domain/devices/interface[«'vhost-user' = @type]", "type of <interface> is never 'vhost-user'", "'vhostuser'?"),
    ("/domain/devices/disk[@type != «'blok']", "type of <disk> is never 'blok'", "did you mean 'block'?"),
    ("/domain/@type[. = «'xen']", "@type is never 'xen'", 'known are: kvm, qemu'),
    ("/domain[devices/disk/@type = «'blok']", "type of <disk> is never 'blok'", "did you mean 'block'?"),
    ("/domain[on_poweroff = «'destoy']", "<on_poweroff> is never 'destoy'", "did you mean 'destroy'?"),
    ("/domain/on_poweroff[. = «'destoy']", "<on_poweroff> is never 'destoy'", "did you mean 'destroy'?"),
    ("/domain/on_poweroff[text() = «'destoy']", "any node is never 'destoy'", "did you mean 'destroy'?"),
    ("/domain/features/acpi[. = «'on']", "<acpi> is never 'on'", 'it has no text'),
    ("/domain/pm/*[@enabled = «'']", "enabled of <suspend-to-disk> or <suspend-to-mem> is never ''", 'no, yes'),
    # Names as texts.
    ("/domain/*[name() = «'devises']", "<devices>, <features> and 6 others is never named 'devises'", "'devices'?"),
    ("/domain/pm/*/@*[name() = «'enable']", "@enabled is never named 'enable'", "did you mean 'enabled'?"),
    ("/domain/*[local-name() = 'pm' or «'xen' = local-name()]", "is never named 'xen'", 'known are: commandline, dev'),
    # Wherever an expression may stand.
    ('/domain[not(pm/«suspend)]', 'no <suspend> under <pm>', 'did you mean <suspend-to-mem>?'),
    ('/domain[name or @type and not(«title)]', 'no <title> under <domain>', NEWER),
    ('count(/domain/devices/«dsk) > 2', 'no <dsk> under <devices>', 'did you mean <disk>?'),
    ('/domain[name | «title]', 'no <title> under <domain>', NEWER),
    ("/domain[contains(pm/«suspend, 'x')]", 'no <suspend> under <pm>', 'did you mean <suspend-to-mem>?'),
    ('(/domain/devices/disk | /domain/devices/interface)[source]/@«typ', 'no @typ on', 'did you mean @type?'),
    ('(//disk)[@«typ]', 'no @typ on <disk>', 'did you mean @type?'),
    ('/domain[number(vcpu/@«currant) > -1 + 2]', 'no @currant on <vcpu>', 'did you mean @current?'),
    ('/domain/name | /domain/«nam', 'no <nam> under <domain>', 'did you mean <name>?'),
    ('/domain[vcpu = devices/disk/@«sze]', 'no @sze on <disk>', NEWER),
    # Conditions narrow what a step may be.
    ('/domain/devices/*[teaming]/«source', 'no <source> under <interface>', 'it is known under <disk>'),
    ("/domain/devices/*[@type = 'vhostuser']/«source", 'no <source> under <interface>', 'it is known under <disk>'),
    ('/domain/devices/*[self::disk or self::interface]/«address', 'no <address> under <disk> or', 'under <hostdev>'),
    ('/domain/devices/*[self::disk][«teaming]', 'no <teaming> under <disk>', 'it is known under <interface>'),
    ('/domain/devices/*[«source and teaming]', 'no <disk>, <hostdev> or <interface> can meet this condition', ''),
    # One node, two values.
    ("/domain/devices/disk[@type = 'file'][@type = «'block']", "@type cannot be 'file' and 'block' at once", 'with or'),
    ("/domain/devices/disk[@type = 'file' and «'block' = @type]", "@type cannot be 'file' and 'block'", 'with or'),
    ("/domain/name[. = 'a'][2][. = «'b']", "one node cannot be 'a' and 'b' at once", 'join them with or'),
]


@pytest.mark.parametrize('match, message, hint', MISTAKES)
def test_mistake(match, message, hint):
    (mistake,) = lint_match(match.replace(HERE, ''), SCHEMA)
    assert mistake.offset == match.index(HERE)
    assert message in mistake.message
    assert hint in mistake.hint and bool(hint) == bool(mistake.hint)
    assert mistake.value is None


@pytest.mark.parametrize(
    'match',
    [
        '/domain',
        '/*',
        '/domain/name/text()',
        '/domain/devices/disk/source/@file',
        "/domain/@type[. = 'kvm' or . = 'qemu']",
        '/domain[not(devices)][vcpu = 4]/pm/*[@enabled]',
        "/domain/on_poweroff[. = ' restart ']",
        "/domain/name[. = 'x' or . = '']",
        '/domain/devices/disk//backingStore/format/@type',
        '/domain/devices//@type/../source',
        '//disk | //@enabled | //reservations/..',
        '/domain/pm/suspend-to-mem/ancestor::domain[name]',
        '/domain/devices/disk/source/preceding-sibling::backingStore',
        '/domain/descendant-or-self::node()/self::disk',
        # libvirt's parser is less strict than its schema about which attributes of one element go together.
        '/domain/devices/disk/source[reservations][@file]',
        '/domain/devices//*[reservations][not(@dev or @file)]',
        "/domain/devices/disk[@type = 'file']/source/@dev",
        # Anything may be in metadata, and nothing is known of what an expression reckons.
        "/domain/metadata/libosinfo:libosinfo/libosinfo:os[@id = 'x']/@version",
        "/domain/metadata//any[thing = 'x']/@at",
        '//libosinfo:os',
        "/domain/*[name() = 'pm' or local-name() = 'commandline' or name() = 'q:commandline']",
        "/domain/metadata/*[name() = 'any' or local-name() = 'thing']",
        "/domain['name' = 'name' or 'x' != 'name' or name() = string(@type)]",
        "/domain[name(*) = 'any' or string-length(name()) = 2 or starts-with(name(), 'thing')]",
        "/domain/devices/disk/@*[name() = 'type' and . = 'file']",
        '/domain/devices/disk/following::anything',
        "/domain/devices/disk[position() = last()][substring(@type, 1, 1) = 'x']",
        '/domain/devices/disk[1 = 2][true()]',
        # The guard's own reading of QEMU's arguments.
        "/domain/qemu:commandline/qemu:arg/arg:device[@driver = 'x'][contains(@any, 'y')]/@thing",
        "/domain/qemu:commandline/qemu:arg/*[self::arg:netdev or self::arg:net]/@*[name() = 'x']",
        '/domain/qemu:commandline//arg:*/@driver',
        '/domain/qemu:commandline/qemu:arg/arg:device/../@value',
        # Two nodes can have two values.
        "/domain[devices/disk/@type = 'file'][devices/disk/@type = 'block']",
        "/domain/pm/*[@enabled = 'yes' or @enabled = 'no']",
        "/domain/pm[*/@enabled = 'yes'][*/@enabled = 'no']",
        "/domain/metadata/*[@* = 'a'][@* = 'b']",
    ],
)
def test_no_mistake(match):
    assert [mistake.message for mistake in lint_match(match, SCHEMA)] == []


def test_an_argument_has_no_elements_of_libvirt():
    (mistake,) = lint_match('/domain/qemu:commandline/qemu:arg/qemu:env', SCHEMA)
    assert mistake.message.startswith('no <qemu:env> under <qemu:arg>')


def test_all_mistakes_at_once():
    match = "/domain/devises/disk[@typ] | /domain/pm/*[@enable = 'maybe' or @enabled = 'maybe']"
    assert [mistake.message.partition(" in libvirt's")[0] for mistake in lint_match(match, SCHEMA)] == [
        'no <devises> under <domain>',
        'no @enable on <suspend-to-disk> or <suspend-to-mem>',
        "enabled of <suspend-to-disk> or <suspend-to-mem> is never 'maybe'",
    ]


def test_nested_conditions_take_no_time():
    """Each of them is asked of each element: the answers are kept."""
    match = '//*'
    for _ in range(20):
        match = '//*[.%s]' % match
    assert lint_match(match, SCHEMA) == []


@pytest.mark.parametrize(
    'match, values, message, hint',
    [
        ('/domain/@type', ['kvm', 'qemuu'], "type of <domain> is never 'qemuu'", "did you mean 'qemu'?"),
        ('/domain/devices/interface/@type', ['tap', 'bridge'], "type of <interface> is never 'tap'", 'known are: '),
        ('/domain/on_poweroff', ['restart', 'halt'], "<on_poweroff> is never 'halt'", 'known are: destroy, restart'),
        ('/domain/@type | /domain/devices/disk/@type', ['kvm', 'file', 'fil'], "@type is never 'fil'", "'file'?"),
    ],
)
def test_values_of_a_rule(match, values, message, hint):
    (mistake,) = lint_match(match, SCHEMA, values)
    assert message in mistake.message
    assert hint in mistake.hint
    assert values[mistake.value] in mistake.message


@pytest.mark.parametrize(
    'match, values',
    [
        ('/domain/name', ['x']),
        ('/domain/@type | /domain/name', ['x']),
        ('/domain/metadata/libosinfo:libosinfo/@id', ['x']),
        ('/domain/devices/hostdev/address', ['0000:03:00.0']),
    ],
)
def test_values_that_may_be(match, values):
    assert lint_match(match, SCHEMA, values) == []


@pytest.mark.parametrize(
    'match, newer',
    [
        ('/domain/devices/crypto/backend[@model]', 'crypto'),
        ('/domain/qemu:deprecation/@behavior', 'qemu:deprecation'),
        ("/domain/vcpu[@placement = 'static']", 'placement'),
        ('/domain/pm[@x or @enabled or y]', 'x enabled y'),
        ("/domain/devices/interface[@type = 'vdpa']/teaming", 'vdpa'),
        ("/domain/devices/interface[@type = 'vdpa']/source", 'vdpa source'),
        ('/domain/throttlegroups/throttlegroup[*[not(self::group_name)] > 0]', 'throttlegroups'),
    ],
)
def test_names_that_the_schema_need_not_know(match, newer):
    assert lint_match(match, SCHEMA, newer=newer.split()) == []
    assert lint_match(match, SCHEMA)


def test_values_that_the_schema_need_not_know():
    assert lint_match('/domain/@type', SCHEMA, ['bhyve'], newer=['bhyve']) == []


@pytest.mark.parametrize(
    'match, message',
    [
        ('/transition/after/domstatus/domain/pm/suspend-to-ram', 'no <suspend-to-ram> under <pm>'),
        ("/transition/*/domstatus/domain[@type = 'xen']", "type of <domain> is never 'xen'"),
        ('/transition[before/domstatus/domain/devices/dsk]', 'no <dsk> under <devices>'),
        ('/transition/befor/domstatus', 'no <befor> under <transition>'),
    ],
)
def test_mistakes_in_rules_of_running_domains(match, message):
    (mistake,) = lint_match(match, SCHEMA, at=model.RUNTIME)
    assert message in mistake.message


@pytest.mark.parametrize(
    'match',
    [
        "/transition/after/domstatus[job[@async = 'snapshot']/@flags or @state = 'running']/domain/devices/disk",
        "/transition[not(before/domstatus/taint[@flag = 'x'])]/after/domstatus/taint[@flag = 'x']",
        "/transition/after/domstatus/domain/devices/interface[actual/@type = 'hostdev']",
        "/transition/after/domstatus/domain/pm[@autoGenerated = 'no']",
        '/transition/after/domainsnapshot[not(@x)]/domain/devices/anything',
        '//domain/devices/disk',
        '//blockjob[@type]',
        '/transition/after/domstatus/domain/vcpu[@current < /transition/before/domstatus/domain/vcpu/@current]',
    ],
)
def test_of_what_is_around_a_running_domain_nothing_is_known(match):
    assert [mistake.message for mistake in lint_match(match, SCHEMA, at=model.RUNTIME)] == []


# --- in a policy ----------------------------------------------------------------------------------------------------

POLICY = """\
policy: example
rules:
  - id: one
    title: the first
    action: deny
    match: /domain/devices/disk
    why: because
    remedy: do something else
  - id: two
    title: the second
    action: "off"
    at: runtime
    match: >-
      /transition/after
      /domstatus/domain/pm
    why: because
    remedy: do something else
"""
MATCH = 'match: /domain/devices/disk'


def lint(old, new, version=None):
    """The problems of the policy above, changed."""
    assert POLICY.count(old) == 1
    return lint_files({'policy.yaml': POLICY.replace(old, new)}, version)


def lint_files(texts, version=None):
    files = {source: text.encode() for source, text in texts.items()}
    policy = merge_layers([read_layer(data, source) for source, data in files.items()])
    return [str(problem) for problem in lint_policy(policy, files, SCHEMA, version)]


@pytest.mark.parametrize(
    'old, new, problem',
    [
        (
            MATCH,
            'match: /domain/pm/suspend-to-ram',
            "6:23: match: no <suspend-to-ram> under <pm> in libvirt's schema (did you mean <suspend-to-mem>?)",
        ),
        (MATCH, 'match: /domain/devices[false()]', '6:12: match: nothing can match it, whatever a domain has'),
        (
            MATCH,
            'match: "/domain/devices/interface[@type = \'vhost-user\']"',
            "6:47: match: type of <interface> is never 'vhost-user' in libvirt's schema (did you mean 'vhostuser'?)",
        ),
        (
            MATCH,
            'match: >-\n      /domain\n      /disk',
            "6:12: match: no <disk> under <domain> in libvirt's schema (it is known under <devices>)",
        ),
        (
            '/domstatus/domain/pm',
            '/domstatus/domain/pmm',
            "13:12: match: no <pmm> under <domain> in libvirt's schema (did you mean <pm>?)",
        ),
        (
            MATCH,
            'match: /domain/@type\n    values: [kvm, qemuu]',
            "7:19: values: type of <domain> is never 'qemuu' in libvirt's schema (did you mean 'qemu'?)",
        ),
        (
            MATCH,
            'match: /domain/@type\n    values:\n      - kvm\n      - "no-such"',
            "9:9: values: type of <domain> is never 'no-such' in libvirt's schema (known are: kvm, qemu)",
        ),
        (
            MATCH,
            MATCH + '\n    since: {dsk: 4.4.0}',
            "7:12: since has 'dsk', which the rule does not use (did you mean 'disk'?)",
        ),
        (
            MATCH,
            "match: /domain/devices/disk[@type = 'file'][@type = 'block']",
            "6:57: match: @type cannot be 'file' and 'block' at once (join them with or)",
        ),
    ],
)
def test_problem(old, new, problem):
    assert lint(old, new) == ['policy.yaml:' + problem]


SET = '\n    values: {os-released-before: 2009-01-01}\n'


def test_a_named_set_where_the_schema_has_other_values():
    """It has hundreds of values, and one place."""
    (problem,) = lint(MATCH, 'match: /domain/@type' + SET)
    assert problem.startswith("policy.yaml:7:13: values: type of <domain> is never 'http://")
    assert problem.endswith("' in libvirt's schema (known are: kvm, qemu)")


def test_the_values_of_a_named_set_are_no_words_of_the_policy():
    assert lint(MATCH, MATCH + SET + '    since: {xyzzy: 4.4.0}') == [
        "policy.yaml:8:12: since has 'xyzzy', which the rule does not use (known are: devices, disk, domain)"
    ]


def test_no_problem():
    assert lint(MATCH, MATCH) == []


def test_problems_in_the_order_of_the_file():
    problems = lint(MATCH, 'match: /domain/@typ | /domain/dev\n    since: {x: 1.0}\n')
    assert [problem.split()[0] for problem in problems] == [
        'policy.yaml:6:21:',
        'policy.yaml:6:35:',
        'policy.yaml:7:12:',
    ]


def test_problems_of_drop_ins():
    """Each is a problem of the file that gives the key."""
    site = 'rules:\n  - {id: one, values: [x, qemuu]}\n  - id: two\n    match: /transition/after/domstatus/domain/pmm\n'
    policy = POLICY.replace(MATCH, 'match: /domain/@typ | /domain/@type')
    shown = [
        problem.partition(" in libvirt's")[0] for problem in lint_files({'policy.yaml': policy, 'site.yaml': site})
    ]
    assert shown == [
        'policy.yaml:6:21: match: no @typ on <domain>',
        'site.yaml:4:47: match: no <pmm> under <domain>',
    ]
    shown = lint_files({'policy.yaml': POLICY.replace(MATCH, 'match: /domain/@type'), 'site.yaml': site})
    assert [problem.split()[0] for problem in shown] == ['site.yaml:2:24:', 'site.yaml:2:27:', 'site.yaml:4:47:']


@pytest.mark.parametrize(
    'version, is_problem',
    [(None, False), ((9, 0, 0), False), ((9, 1, 0), True), ((9, 1, 2), True), ((10, 0, 0), True)],
)
def test_since(version, is_problem):
    problems = lint(MATCH, 'match: /domain/devices/crypto\n    since: {crypto: 9.1}', version)
    shown = "policy.yaml:6:28: match: no <crypto> under <devices> in libvirt's schema (%s)" % NEWER
    assert problems == ([shown] if is_problem else [])


def test_since_does_not_excuse_other_names():
    (problem,) = lint(MATCH, 'match: /domain/devices/crypto | /domain/devises\n    since: {crypto: 9.1.0}', (9, 0, 0))
    assert 'no <devises> under <domain>' in problem


SITE = 'rules: [{id: tcg, %s}]\n'
UNCONFIRMED = 'known-from: unconfirmed\n    why'


@pytest.mark.parametrize(
    'action, later, place',
    [
        ('deny', '', 'policy.yaml:7:17'),
        ('warn', '', ''),
        # A site that refuses what is only warned of has decided that.
        ('warn', 'action: deny', ''),
        ('warn', 'action: deny, known-from: unconfirmed', '50-site.yaml:1:45'),
        ('warn', 'action: deny, known-from: list', ''),
        ('deny', 'known-from: unconfirmed, title: t', '50-site.yaml:1:31'),
        ('deny', 'action: warn', ''),
        ('deny', 'known-from: derived, title: t', ''),
    ],
)
def test_what_nothing_confirms_may_only_warn(action, later, place):
    text = POLICY.replace('action: deny', 'action: ' + action).replace('why', UNCONFIRMED, 1)
    texts = {'policy.yaml': text.replace('id: one', 'id: tcg')}
    if later:
        texts['50-site.yaml'] = SITE % later
    files = {source: text.encode() for source, text in texts.items()}
    policy = merge_layers([read_layer(data, source) for source, data in files.items()])
    expected = (
        [place + ": rule 'tcg' denies what is unconfirmed (let it warn, or tell what it is known from)"]
        if place
        else []
    )
    assert [str(problem) for problem in lint_policy(policy, files, None)] == expected
    assert lint_files(texts) == expected


def test_what_nothing_can_match_is_found_without_a_schema():
    text = POLICY.replace(MATCH, 'match: /domain/devices[false()]')
    policy = merge_layers([read_layer(text.encode('utf-8'), 'policy.yaml')])
    problems = lint_policy(policy, {'policy.yaml': text.encode('utf-8')}, None)
    assert [str(problem) for problem in problems] == [
        'policy.yaml:6:12: match: nothing can match it, whatever a domain has'
    ]


def test_files_that_were_changed_meanwhile(tmp_path):
    """What is found in a text that is no longer the policy's would be found in the wrong places."""
    directory = tmp_path / 'usr' / 'share' / 'libvirt' / 'schemas'
    directory.mkdir(parents=True)
    (directory / 'domain.rng').write_text("<element name='domain' xmlns='http://relaxng.org/ns/structure/1.0'/>")
    path = tmp_path / 'policy.yaml'
    path.write_text(POLICY)
    policy = load.single_file(str(path))
    with pytest.raises(PolicyError, match='no <devices> under <domain>'):
        look_closer(policy, str(tmp_path))
    path.write_text(POLICY + '\n')
    with pytest.raises(GuardError, match='changed while they were being checked'):
        look_closer(policy, str(tmp_path))
