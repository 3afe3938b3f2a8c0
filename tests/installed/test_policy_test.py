# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy test` as a site uses it for its own rules, and on the project's own cases."""

import os

import pytest
from installation import CHECKOUT, domain_xml

SITE = """\
extends: shipped.yaml
policy: site
rules:
  - id: no-vnc
    title: VNC
    action: deny
    match: /domain/devices/graphics[@type = 'vnc']
    why: the consoles of this site are in the browser
    remedy: remove it
  - {id: virtiofs, action: warn}
"""
CLEAN = domain_xml()
VNC = domain_xml(devices="    <graphics type='vnc'/>\n")
EXPECTED = """\
fail.xml:
  findings: [{rule: no-vnc, status: deny}]
pass.xml:
  findings: []
"""


@pytest.fixture
def site(tmp_path):
    """The policy of a site, and cases of its own rule."""
    (tmp_path / 'shipped.yaml').write_bytes((CHECKOUT / 'policy.yaml').read_bytes())
    (tmp_path / 'site.yaml').write_text(SITE)
    cases = tmp_path / 'cases' / 'no-vnc'
    cases.mkdir(parents=True)
    (cases / 'expected.yaml').write_text(EXPECTED)
    (cases / 'fail.xml').write_bytes(VNC)
    (cases / 'pass.xml').write_bytes(CLEAN)
    return tmp_path


def run(installed, site, *options):
    result = installed.run_cli('policy', 'test', '--policy', 'site.yaml', *options, 'cases', cwd=str(site))
    return result.returncode, result.stdout.decode().splitlines(), result.stderr.decode().splitlines()


def test_the_cases_of_the_shipped_policy(installed):
    result = installed.run_cli(
        'policy', 'test', '--policy', 'policy.yaml', 'tests/cases', cwd=str(CHECKOUT), timeout=120
    )
    assert (result.returncode, result.stderr) == (0, b'')
    (line,) = result.stdout.decode().splitlines()
    assert line.endswith(' cases: all as expected')
    assert int(line.split()[0]) >= 290


def test_a_site_tests_its_own_rules(installed, site):
    assert run(installed, site) == (0, ['2 cases: all as expected'], [])


def test_all_rules_on_demand(installed, site):
    status, lines, _ = run(installed, site, '--all')
    assert status == 1
    (line,) = [line for line in lines if "'virtiofs'" in line]
    assert '/profiles/rhel-8.yaml:' in line.partition(': ')[0] + ':'
    assert line.endswith(": expected a case for rule 'virtiofs' in cases/virtiofs, found none")
    assert lines[-1] == '2 cases: %d failures' % (len(lines) - 1)
    assert not [line for line in lines if "'no-vnc'" in line]


@pytest.mark.parametrize(
    'expected, failures',
    [
        (
            EXPECTED.replace('deny', 'warn'),
            ['fail.xml:16: expected warn [no-vnc], found deny [no-vnc] /domain/devices/g'],
        ),
        (
            EXPECTED.replace('deny', 'deny, line: 15'),
            ['fail.xml:16: expected deny [no-vnc] in line 15, found deny [no-'],
        ),
        (
            EXPECTED.replace('[]', '[{rule: no-vcn, status: deny}]'),
            ["pass.xml: expected deny [no-vcn] (there is no such rule; did you mean 'no-vnc'?), found nothing"],
        ),
        (
            EXPECTED.replace('[{rule: no-vnc, status: deny}]', '[]'),
            [
                'fail.xml:16: expected nothing, found deny [no-vnc] /domain/devices/graphics in line 16: VNC',
                "expected a failing case for rule 'no-vnc' in cases/no-vnc, found none",
            ],
        ),
        (
            'fail.xml: {findings: [{rule: no-vnc, status: deny}]}\n',
            [
                'pass.xml: expected an entry in expected.yaml, found none',
                "expected a passing case for rule 'no-vnc' in cases/no-vnc, found none",
            ],
        ),
        (
            EXPECTED + '  host: {probes: {multipath-device: {/dev/sdb: no}}}\n',
            ["pass.xml: expected the probe multipath-device to be asked about '/dev/sdb', found no rule that asks"],
        ),
        (
            EXPECTED + '  host: {arch: unknown}\n',
            ['pass.xml: expected nothing, found unknown [host-architecture] /domain: this'],
        ),
    ],
)
def test_what_is_not_as_expected(installed, site, expected, failures):
    (site / 'cases/no-vnc/expected.yaml').write_text(expected)
    status, lines, errors = run(installed, site)
    assert (status, errors) == (1, [])
    assert len(lines) == len(failures) + 1, lines
    for line, failure in zip(lines, failures):
        place = 'site.yaml:4: ' if failure.startswith('expected a ') else 'cases/no-vnc/'
        assert line.startswith(place + failure)
    assert lines[-1] == '%d case%s: %d failure%s' % (
        (1, '', 2, 's') if len(expected.splitlines()) == 1 else (2, 's', len(failures), 's' * (len(failures) > 1))
    )


def test_many_findings(installed, site):
    """As many as a case expects are found; of more, a few are told, and how many there are."""
    case = site / 'cases' / 'no-vnc'
    vnc = "<graphics type='vnc'/>\n"
    (case / 'fail.xml').write_bytes(domain_xml(devices=vnc * 40))
    expected = EXPECTED.replace(
        '[{rule: no-vnc, status: deny}]', '[%s]' % ', '.join(['{rule: no-vnc, status: deny}'] * 40)
    )
    (case / 'expected.yaml').write_text(expected)
    assert run(installed, site) == (0, ['2 cases: all as expected'], [])
    (case / 'fail.xml').write_bytes(domain_xml(devices=vnc * 1500))
    status, lines, _ = run(installed, site)
    assert status == 1
    assert len(lines) == 17
    assert lines[-2].endswith('VNC (and 1444 more)')


def test_a_rule_without_cases(installed, site):
    (site / 'cases/no-vnc').rename(site / 'cases/consoles')
    status, lines, _ = run(installed, site)
    assert (status, lines[:-1]) == (1, ["site.yaml:4: expected a case for rule 'no-vnc' in cases/no-vnc, found none"])
    (site / 'site.yaml').write_text(SITE.replace('action: deny', 'action: "off"'))
    (site / 'cases/consoles/expected.yaml').write_text(EXPECTED.replace('[{rule: no-vnc, status: deny}]', '[]'))
    assert run(installed, site)[0] == 0


def test_a_rule_that_a_site_lets_find_something_else_is_its_own(installed, site):
    (site / 'site.yaml').write_text(SITE + '  - {id: tcg, match: "/domain[@type = \'tcg\']"}\n')
    status, lines, _ = run(installed, site)
    assert status == 1
    assert lines[0].endswith(": expected a case for rule 'tcg' in cases/tcg, found none")


def test_the_policy_in_force_demands_cases_of_the_rules_in_its_drop_ins(installed, site):
    drop_ins = installed.policy.with_suffix('.d')
    try:
        (drop_ins / '10-site.yaml').write_text(SITE.replace('extends: shipped.yaml\n', ''))
        command = ['policy', 'test', str(site / 'cases')]
        assert installed.run_cli(*command).stdout == b'2 cases: all as expected\n'
        (site / 'cases/no-vnc/expected.yaml').unlink()
        result = installed.run_cli(*command)
    finally:
        (drop_ins / '10-site.yaml').unlink()
    assert result.returncode == 1
    assert result.stdout.decode().splitlines() == [
        "%s/10-site.yaml:3: expected a case for rule 'no-vnc' in %s/cases/no-vnc, found none" % (drop_ins, site),
        '%s/cases: expected cases, found no expected.yaml below it that has one' % site,
        '0 cases: 2 failures',
    ]


@pytest.mark.parametrize(
    'spoil, errors',
    [
        (
            lambda cases: (cases / 'expected.yaml').write_text('fail.xm: {findings: [1]}\nx.xml: 1\n'),
            ['expected.yaml:1:1: there is no file', 'expected.yaml:1:22: the finding', 'expected.yaml:2:1: there is no']
            + ['expected.yaml:2:8: x.xml is a number'],
        ),
        (lambda cases: (cases / 'fail.xml').write_text('<domain>'), ['fail.xml:1: error: the XML is not well-formed']),
        (lambda cases: (cases / 'fail.xml').write_text('<network/>'), ['fail.xml:1: error: the document is <network>']),
        (lambda cases: (cases / 'fail.xml').unlink(), ["expected.yaml:1:1: there is no file 'fail.xml' here"]),
    ],
)
def test_what_cannot_be_judged(installed, site, spoil, errors):
    spoil(site / 'cases/no-vnc')
    status, _, lines = run(installed, site)
    assert status == 2
    assert len(lines) >= len(errors)
    assert all(line.startswith('cases/no-vnc/' + error) for line, error in zip(lines, errors)), lines


@pytest.mark.parametrize(
    'plant, error',
    [
        (lambda path: os.mkfifo(str(path)), 'the file %s is not a regular file'),
        (lambda path: path.symlink_to('/dev/zero'), 'the file %s is not a regular file'),
        (lambda path: path.symlink_to('nowhere'), 'cannot read the file %s: No such file or directory'),
        (lambda path: path.write_bytes(b'#' * 1048577), 'the file %s is larger than 1048576 bytes'),
    ],
)
def test_an_expected_yaml_that_cannot_be_read_is_named(installed, site, plant, error):
    """Nobody has named it: it was found, so it may be anything, and must be said by name."""
    (site / 'cases/no-vnc/expected.yaml').unlink()
    plant(site / 'cases/no-vnc/expected.yaml')
    assert run(installed, site) == (2, [], ['virt-guard: ' + error % 'cases/no-vnc/expected.yaml'])


def test_a_directory_that_is_not_there(installed, site):
    result = installed.run_cli('policy', 'test', str(site / 'nowhere'))
    assert result.returncode == 2
    assert result.stderr.decode() == 'virt-guard: %s/nowhere: cannot be listed: No such file or directory\n' % site
