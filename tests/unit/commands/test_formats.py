# SPDX-License-Identifier: Apache-2.0
"""The formats of the command's output: each can say everything, and the options know exactly these."""

import pytest
from virtguard.commands.exit_status import ADMITTED, DENIED, NOT_JUDGED, Tally
from virtguard.commands.output.format_names import FORMAT_NAMES, VERDICT_FORMATS
from virtguard.commands.output.formats import FORMATS, verdict_format
from virtguard.commands.output.output_format import OutputFormat
from virtguard.commands.output.verdict_format import VerdictFormat
from virtguard.commands.parser import build_parser


def test_every_format_option_offers_every_format():
    offered = {
        parser.prog.partition(' ')[2]: (option.choices, option.default)
        for parser in build_parser().everything()
        for option in parser._actions
        if '--format' in option.option_strings
    }
    # `report` tells of records, not of verdicts, and has formats of its own; three commands tell nothing but verdicts.
    assert offered.pop('report') == (['text', 'html', 'jsonl'], None)
    assert [offered.pop(name) for name in ('check', 'scan', 'watch')] == [(VERDICT_FORMATS, 'text')] * 3
    assert {'status', 'rules', 'policy diff', 'waiver list'} <= set(offered)
    assert all(told == (list(FORMATS), 'text') for told in offered.values()), offered
    assert list(FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize('name', VERDICT_FORMATS)
def test_a_format_can_be_made_for_every_command(name):
    wanted = OutputFormat if name in FORMATS else VerdictFormat
    assert isinstance(verdict_format(name)(colour=True, show_admitted=False), wanted)


def test_a_format_that_leaves_something_out_is_refused():
    class Silent(OutputFormat):
        def verdict(self, source, verdict):
            return ''

    with pytest.raises(TypeError, match='abstract'):
        Silent(False, True)


@pytest.mark.parametrize(
    'decisions, skipped, status, text',
    [
        ([], 0, ADMITTED, '0 domains'),
        (['admit'], 0, ADMITTED, '1 domain: 1 admitted'),
        (['admit', 'deny', '', 'admit', ''], 0, DENIED, '3 domains: 2 admitted, 1 denied; 2 other files skipped'),
        (['error', 'deny'], 1, NOT_JUDGED, '2 domains: 1 denied, 1 not judged; 1 other file skipped'),
    ],
)
def test_tally(decisions, skipped, status, text):
    tally = Tally()
    for decision in decisions:
        tally.add(decision)
    tally.skipped += skipped
    assert (tally.exit_status, str(tally), tally.total) == (status, text, len(list(filter(None, decisions))))
