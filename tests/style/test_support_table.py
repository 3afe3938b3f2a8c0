# SPDX-License-Identifier: Apache-2.0
"""doc/support-table.md says what the shipped policies do, release by release."""

import re

import pytest
import support_table
from virtguard.policy import load
from virtguard.policy.installation import profiles

COLUMNS = [title for title, _, _ in support_table.COLUMNS]


def rows():
    """Rule id -> the cell of each column, as the page has it."""
    text = support_table.TABLE.read_text(encoding='utf-8')
    lines = [line[2:-2].split(' | ') for line in text.splitlines() if line.startswith('| `')]
    found = {re.match('`(.*?)`', cells[0]).group(1): dict(zip(COLUMNS, cells[1:])) for cells in lines}
    assert len(found) == len(lines)
    return found


def test_the_support_table_is_current():
    shown, made = support_table.TABLE.read_text(encoding='utf-8').splitlines(), support_table.render().splitlines()
    assert shown == made, 'a policy was changed; renew it: python3 tests/support_table.py'


def test_every_profile_of_a_vendor_has_a_column():
    # RHV's is the list of RHEL 8, of which nobody can say what applies there; those about isolation are of no vendor.
    others = {'rhv-4', 'kvm-baseline', 'kvm-restricted'}
    assert {name for _, name, _ in support_table.COLUMNS} == set(profiles()) - others


@pytest.mark.parametrize('title, name, releases', support_table.COLUMNS, ids=COLUMNS)
def test_the_support_table_has_each_rule_in_use(title, name, releases):
    cells = {id: row[title] for id, row in rows().items()}
    actions = {rule.id: rule.action for rule in load.as_if_in_force(profiles()[name]).rules}
    for id, cell in cells.items():
        said = cell.replace('*', '').split()[0]
        assert said in ('-', 'supported', actions.get(id)), (id, cell)
    unconditional = [rule.id for rule in load.as_if_in_force(profiles()[name]).rules if not rule.host]
    for id in unconditional:
        if actions[id] != 'off':
            assert cells[id].replace('*', '').split()[0] == actions[id], id


@pytest.mark.parametrize(
    'rule, column, cell',
    [
        ('virtiofs', 'RHEL 8', '**deny** L'),
        ('virtiofs', 'RHEL 10.0', 'supported '),
        ('multifd-migration', 'RHEL 9.0 to 9.3', '**deny** L'),
        ('multifd-migration', 'RHEL 9.4 and newer', 'supported'),
        ('multifd-migration', 'RHEL 10.0', 'warn N (aarch64; supported on other hosts)'),
        ('multifd-migration', 'RHEL 10.1 and newer', 'supported'),
        ('scsi-generic-io', 'RHEL 10.0', 'warn N'),
        ('scsi-generic-io', 'RHEL 10.1 and newer', 'supported'),
        ('unsupported-disk', 'SLES 15', 'warn D (x86_64; sles-15.4 to sles-15.5)'),
        ('internal-snapshot', 'RHEL 9.0 to 9.3', '-'),
        ('host-architecture', 'RHEL 8', '**deny** L (not x86_64, ppc64le, s390x)'),
        ('arm64-technology-preview', 'RHEL 9.0 to 9.3', 'warn D (aarch64)'),
    ],
)
def test_what_a_support_engineer_reads(rule, column, cell):
    assert rows()[rule][column].startswith(cell)
