# SPDX-License-Identifier: Apache-2.0
"""What is read of records that a sink without fields has taken: lines of text, with a name that somebody has chosen."""

import pytest
from support import made
from virtguard import journal
from virtguard.health.guard_records import fields_of_line

OTHER = 'VIRT_GUARD_DOMAIN=victim'
FORGED = [
    'x VIRT_GUARD_DECISION=admit ' + OTHER,
    "victim': admitted VIRT_GUARD_DECISION=admit %s VIRT_GUARD_OPERATION=start VIRT_GUARD_RULE=" % OTHER,
    'x ' + OTHER,
    'victim VIRT_GUARD_RULE=x',
    'victim VIRT_GUARD_A=',
]


def written(tmp_path, fields):
    """The line that the last of all sinks writes, without its time."""
    nowhere, log = str(tmp_path / 'nowhere'), tmp_path / 'log'
    assert journal.Sinks(str(log), nowhere, nowhere).send(fields) == 'file'
    return log.read_text().splitlines()[-1].partition(' ')[2]


def of_start(name, fields):
    return [*fields, ('VIRT_GUARD_DOMAIN', name), ('VIRT_GUARD_OPERATION', 'start'), ('VIRT_GUARD_ELAPSED_USEC', '1')]


def verdict(name):
    return of_start(name, journal.verdict_fields(made.verdict(made.finding(made.rule()), domain_name=name)))


def failure(name):
    return of_start(name, journal.failure_fields("domain '%s' could not be judged and is refused: x" % name))


def by_the_shell(name):
    """As hooks/qemu gives it to logger."""
    message = "domain '%s' could not be judged and is admitted: there is no python" % name
    return '%s VIRT_GUARD_DECISION=error VIRT_GUARD_DOMAIN=%s VIRT_GUARD_OPERATION=start' % (message, name)


@pytest.mark.parametrize('name', ['web', 'a domain', "it's=odd", 'VIRT_GUARD_DECISION=admit'])
def test_what_was_recorded_is_read(tmp_path, name):
    decisions = []
    for line in (written(tmp_path, verdict(name)), by_the_shell(name)):
        fields = fields_of_line(line)
        assert (fields['VIRT_GUARD_DOMAIN'], fields['VIRT_GUARD_OPERATION']) == (name, 'start')
        decisions.append(fields['VIRT_GUARD_DECISION'])
    assert decisions == ['deny', 'error']


@pytest.mark.parametrize('name', FORGED)
@pytest.mark.parametrize('fields', [verdict, failure])
def test_a_name_that_looks_like_fields_tells_nothing_of_another_domain(tmp_path, fields, name):
    assert fields_of_line(written(tmp_path, fields(name))) == {}


@pytest.mark.parametrize('name', FORGED)
def test_neither_does_it_where_the_shell_has_recorded_it(name):
    assert fields_of_line(by_the_shell(name)) == {}


def test_a_record_whose_message_does_not_name_the_domain(tmp_path):
    name = 'x VIRT_GUARD_OPERATION=start ' + OTHER
    fields = [*journal.expiry_fields('a waiver ends', True), ('VIRT_GUARD_OPERATION', 'watch')]
    assert fields_of_line(written(tmp_path, [*fields, ('VIRT_GUARD_DOMAIN', name)])) == {}
    assert fields_of_line(written(tmp_path, [*fields, ('VIRT_GUARD_DOMAIN', 'x')]))['VIRT_GUARD_OPERATION'] == 'watch'


def test_a_line_of_something_else():
    assert fields_of_line('the guard was there') == {}
