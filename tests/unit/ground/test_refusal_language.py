# SPDX-License-Identifier: Apache-2.0
"""A refusal in the policy's language: the same facts, whole, readable, and within the limit, which counts bytes."""

import pytest
from support import made
from virtguard import model, wording
from virtguard.journal import verdict_fields
from virtguard.policy.catalog import read_catalog
from virtguard.policy.files import read_policy_file
from virtguard.policy.installation import catalogs

PATH = catalogs()['ja']
JAPANESE = {entry.text: entry.translation for entry in read_catalog(read_policy_file(PATH), PATH)}
RULE = made.rule('/domain/x', 'tcg', title='TCG software emulation', remedy='remove this variable from\n <qemu:x>')


def refusal(*findings, name='payroll', texts=JAPANESE):
    verdict = made.verdict(*findings, domain_name=name)
    verdict.policy.texts = texts
    return wording.refusal(verdict)


def test_a_whole_refusal():
    waived = made.finding(RULE, line=7, more=2)
    expired = model.Phrase('its waiver by %s expired on %s', 'operations', '2026-01-31')
    waived.message = model.Phrase('%s (%s)', model.Phrase(RULE.title), expired)
    own = made.finding(made.rule('/domain/y', 'own', title="the site's own", remedy='ask us.'), line=0)
    assert refusal(waived, own) == (
        "virt-guard: ドメイン 'payroll' はポリシー 'example' により拒否されました: tcg, own\n"
        '  (1) [tcg] TCG によるソフトウェアエミュレーション (operations による例外許可は 2026-01-31 に期限切れ): '
        '<x a="1"> (virsh dumpxml の 7 行目)、ほか 2 件。対処: remove this variable from <qemu:x>。\n'
        # What a site has written itself stays as it is.
        '  (2) [own] the site\'s own: <x a="1">。対処: ask us。\n'
        '  詳細: virt-guard explain tcg own / 一時的に許可する場合: virt-guard waiver add payroll tcg own\n'
    )


def test_an_error_in_a_rule():
    error = made.finding(RULE, model.ERROR, message=model.Phrase('the rule could not be evaluated: %s', 'x'), line=0)
    assert refusal(error) == (
        "virt-guard: ドメイン 'payroll' はポリシー 'example' で判定できませんでした: tcg\n"
        '  (1) [tcg] ルールを評価できません: x: <x a="1">.\n'
        '  詳細: virt-guard explain tcg\n'
    )


NAMES = {
    'short': 'payroll',
    'as long as a file': '漢' * 85,
    'too long': 'é' + '\U0001f600' * 999,
    'hostile': '名\n\x1b' * 400,
}


@pytest.mark.parametrize('name', sorted(NAMES))
@pytest.mark.parametrize('count', [1, 9, 40])
def test_the_limit_counts_bytes_and_cuts_no_character(name, count):
    """A note that no record could be written may still follow, within the 4 KiB that libvirt passes on."""
    findings = [made.finding(RULE, line=line + 1, evidence='<名 a="%s">' % ('値' * 60)) for line in range(count)]
    text = refusal(*findings, name=NAMES[name])
    data = text.encode('utf-8')
    assert len(data) <= wording.REFUSAL_BYTES
    assert data.decode('utf-8') == text
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("virt-guard: ドメイン '")
    if name in ('short', 'as long as a file'):
        assert lines[0].endswith(' により拒否されました: tcg')
    # What is shown is whole, and what is left out is counted.
    assert all(line.endswith('。') for line in lines[1:-1] if '(省略' not in line)
    shown = [line for line in lines[1:-1] if line.startswith('  (') and '(省略' not in line]
    assert ('(省略あり: 全 %d 行)' % (count + 1) in text) == (len(shown) < count)


def test_the_record_stays_english():
    verdict = made.verdict(made.finding(RULE))
    verdict.policy.texts = JAPANESE
    assert [value.encode('ascii') for _, value in verdict_fields(verdict)]
