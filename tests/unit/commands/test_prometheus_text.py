# SPDX-License-Identifier: Apache-2.0
"""The text that Prometheus reads."""

from virtguard.commands.output.prometheus_text import COUNTER, GAUGE, Metric, exposition


def test_a_metric_with_and_without_labels():
    plain = Metric('up', GAUGE, 'Whether.').add(1)
    labelled = Metric('seen_total', COUNTER, 'How many.').add(2, rule='tcg', status='deny').add(0, rule='b', status='')
    assert exposition([plain, labelled]).decode() == (
        '# HELP up Whether.\n# TYPE up gauge\nup 1\n'
        '# HELP seen_total How many.\n# TYPE seen_total counter\n'
        'seen_total{rule="tcg",status="deny"} 2\nseen_total{rule="b",status=""} 0\n'
    )


def test_whatever_a_site_writes_stays_in_its_label():
    metric = Metric('a', GAUGE, 'x\ny\\\udc80').add(1, ticket='a"b\\c\nd', other='\u00e4\udcff')
    head, _, line = exposition([metric]).splitlines()
    assert head == b'# HELP a x\\ny\\\\\\\\udc80'
    assert line == b'a{ticket="a\\"b\\\\c\\nd",other="\xc3\xa4\\\\udcff"} 1'


def test_a_metric_without_a_value_is_left_out():
    assert exposition([Metric('a', GAUGE, 'x')]) == b''
