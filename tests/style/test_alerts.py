# SPDX-License-Identifier: Apache-2.0
"""The alerts for Prometheus, as promtool sees them: alerts.yml has what each says, and when."""

import re
import subprocess

import pytest
import yaml
from support.paths import CHECKOUT, TESTS
from support.prometheus import find_program

ALERTS, CASES = CHECKOUT / 'data/virt-guard-alerts.yml', TESTS / 'style/alerts.yml'
RULES = yaml.safe_load(ALERTS.read_text(encoding='ascii'))['groups'][0]['rules']


@pytest.mark.parametrize('word, path', [('check', ALERTS), ('test', CASES)], ids=['check', 'test'])
def test_promtool(word, path):
    command = [find_program('promtool'), word, 'rules', str(path)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
    assert result.returncode == 0, result.stdout


def test_every_alert_is_tried_where_it_fires_and_where_it_does_not():
    tried = {(rule['alert'], fires) for rule in RULES for fires in (True, False)}
    cases = [case for test in yaml.safe_load(CASES.read_text())['tests'] for case in test['alert_rule_test']]
    assert {(case['alertname'], bool(case['exp_alerts'])) for case in cases} == tried


def test_every_metric_is_one_that_is_written():
    source = (CHECKOUT / 'lib/virtguard/commands/metrics.py').read_text()
    written = set(re.findall(r"'(virt_guard_[a-z_]+)'", source)) | {
        'virt_guard_%s_domains' % name for name in ('unjudged', 'autostart_refused')
    }
    for rule in RULES:
        assert set(re.findall(r'virt_guard_[a-z_]+', rule['expr'])) <= written


def test_every_alert_ends_with_what_to_type():
    for rule in RULES:
        assert re.search(r': virt-guard [a-z]|virt-guard status\Z', rule['annotations']['description']), rule['alert']
        assert rule['labels']['severity'] in ('critical', 'warning')
