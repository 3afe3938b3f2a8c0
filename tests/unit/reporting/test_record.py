# SPDX-License-Identifier: Apache-2.0
"""What is kept of an entry of a journal that somebody else has written, whatever is in it."""

import pytest
from virtguard.reporting.record import Record

from .entries import judged

LONG = 'x' * 100000


def lengths(value):
    """Those of all text in it."""
    if isinstance(value, str):
        return [len(value)]
    return [length for part in value for length in lengths(part)] if isinstance(value, tuple) else []


def test_every_text_is_cut():
    entry = judged(1, 'web')
    kept = ('__REALTIME_TIMESTAMP', '_UID', 'SYSLOG_IDENTIFIER')
    record = Record({name: value if name in kept else LONG for name, value in entry.items()})
    assert record.is_of_guard
    found = [length for name in Record.__slots__ for length in lengths(getattr(record, name))]
    assert len(found) > 20 and max(found) == 600


@pytest.mark.parametrize('field', ['__REALTIME_TIMESTAMP', '_SOURCE_REALTIME_TIMESTAMP'])
@pytest.mark.parametrize('value', ['1' * 21, '1' * 1000000, '9' * 20, '-1', '', 'soon', ['1', '2']])
def test_a_time_that_no_clock_shows(field, value):
    entry = judged(1, 'web', **{field: value})
    if field == '_SOURCE_REALTIME_TIMESTAMP' and not value:
        assert Record(entry).moment == Record(judged(1, 'web')).moment
        return
    with pytest.raises(ValueError):
        Record(entry)
