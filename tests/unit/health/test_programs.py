# SPDX-License-Identifier: Apache-2.0
"""The lines of a program as they come; its failure, its silence and its end."""

import subprocess

import pytest
from virtguard.health.programs import ProgramError, lines_of_program

LONGEST = 1000


def lines(script, seconds=120.0):
    return lines_of_program(['sh', '-c', script], seconds, LONGEST)


def test_lines_come_while_the_program_runs():
    found = lines('echo one; echo; printf two; exec sleep 1000')
    assert [next(found), next(found)] == [b'one', b'']
    found.close()  # and the program has ended: else this would wait for it


def test_all_lines_and_the_last_without_its_end():
    assert list(lines('seq 100000; printf end')) == [str(n).encode() for n in range(1, 100001)] + [b'end']


def test_a_long_line_is_cut_and_the_next_one_is_whole():
    long, following, last = lines('head -c 3000000 /dev/zero; echo; echo following; head -c 5000 /dev/zero')
    assert (len(long), following, len(last)) == (LONGEST, b'following', LONGEST)


def test_a_status_comes_after_the_lines():
    found = lines('echo one; echo what is wrong >&2; exit 3')
    assert next(found) == b'one'
    with pytest.raises(ProgramError, match='^what is wrong$'):
        next(found)


def test_much_on_standard_error_does_not_stop_it():
    with pytest.raises(ProgramError) as caught:
        list(lines('head -c 1000000 /dev/zero >&2; echo last >&2; exit 1'))
    assert str(caught.value).endswith('last') and len(str(caught.value)) < 5000


def test_silence_has_an_end():
    with pytest.raises(subprocess.TimeoutExpired):
        list(lines('exec sleep 1000', 0.2))


def test_a_program_that_is_not_there():
    with pytest.raises(OSError):
        list(lines_of_program(['/nowhere/program'], 9.0, LONGEST))
