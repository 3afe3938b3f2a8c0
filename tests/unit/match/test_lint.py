# SPDX-License-Identifier: Apache-2.0
"""Names and values that no domain can have: what is said of each, where, and what is not to be said."""

import pytest
from virtguard import model
from virtguard.match.lint import lint_match
from virtguard.match.relaxng import load_schema

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
def test_matches_in_which_the_linter_finds_no_mistake(match):
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
def test_names_around_a_running_domain_are_not_checked(match):
    assert [mistake.message for mistake in lint_match(match, SCHEMA, at=model.RUNTIME)] == []
