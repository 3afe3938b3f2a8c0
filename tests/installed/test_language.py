# SPDX-License-Identifier: Apache-2.0
"""A policy whose refusals are in Japanese, as libvirt calls its hook; and the command under a locale."""

import json
import re
import shutil

import pytest
from installation import CHECKOUT, CLEAN, ENVIRONMENT, domain_xml, policy_text
from virtguard.policy.catalog import read_catalog

TPM_AND_BAD_ID = domain_xml(
    devices="    <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>\n"
).replace(
    b'<devices>',
    b"<metadata><l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
    b"<l:os id='https://www.apple.com/macosx/10.7'/></l:libosinfo></metadata>\n  <devices>",
)
TEXTS = {
    entry.text: entry.translation for entry in read_catalog((CHECKOUT / 'data/languages/ja.po').read_bytes(), 'ja.po')
}
TITLE, REMEDY = (TEXTS[text] for text in ('TPM passthrough', "use <backend type='emulator'>, a vTPM served by swtpm"))
REFUSAL = (
    "virt-guard: ドメイン 'guest' はポリシー 'rhel-8' により拒否されました: tpm-passthrough\n"
    '  (1) [tpm-passthrough] TITLE: <backend type="passthrough"> (virsh dumpxml の LINE 行目)。対処: REMEDY。\n'
    '  詳細: virt-guard explain tpm-passthrough / '
    '一時的に許可する場合: virt-guard waiver add guest tpm-passthrough\n'
)


FOR_PROGRAMS = ('json', 'jsonl', 'sarif', 'junit', 'gitlab', 'github', 'xccdf')


@pytest.fixture(scope='module')
def japanese(installed):
    """The installation, with the policy compiled."""
    with installed.with_policy(policy_text() + 'language: ja\n'):
        assert installed.run_cli('policy', 'compile').returncode == 0
        yield installed
    assert installed.run_cli('policy', 'compile').returncode == 0


@pytest.fixture
def uncompiled(japanese):
    compiled = japanese.policy.with_suffix('.compiled')
    kept = compiled.with_suffix('.kept')
    compiled.rename(kept)
    yield japanese
    kept.rename(compiled)


@pytest.fixture
def catalog(japanese):
    path = japanese.tree / 'languages/ja.po'
    kept = path.with_suffix('.kept')
    shutil.copy2(str(path), str(kept))
    yield path
    kept.rename(path)


def refusal_of(installed, xml, operation='start'):
    result = installed.run_hook('guest', operation, xml)
    assert (result.returncode, result.stdout) == (1, b''), result.stderr
    return result.stderr.decode('utf-8')


def expected(installed):
    line = installed.denied[: installed.denied.index(b'<backend')].count(b'\n') + 1
    return REFUSAL.replace('TITLE', TITLE).replace('LINE', str(line)).replace('REMEDY', REMEDY.rstrip('。'))


def test_a_refusal(japanese, journal):
    """libvirt calls with LC_ALL=C; what it shows is UTF-8."""
    assert refusal_of(japanese, japanese.denied) == expected(japanese)
    (record,) = journal.records()
    # What other programs read, and other hosts gather, is the same in every language.
    assert ''.join(value for values in record.values() for value in values).encode('ascii')
    assert record['MESSAGE'] == ["domain 'guest' denied by policy 'rhel-8': tpm-passthrough"]


def test_a_clean_start_says_nothing(japanese, journal):
    result = japanese.run_hook('guest', 'start', CLEAN)
    assert (result.returncode, result.stdout, result.stderr) == (0, b'', b'')
    assert [record['MESSAGE'] for record in journal.records()] == [["domain 'guest' admitted by policy 'rhel-8'"]]


def test_it_is_the_same_where_the_policy_is_read(uncompiled):
    assert refusal_of(uncompiled, uncompiled.denied) == expected(uncompiled)


def test_what_is_left_to_lxml(japanese):
    """The compiled policy hands its rules, and what they are called, to another process."""
    text = refusal_of(japanese, TPM_AND_BAD_ID)
    assert ' により拒否されました: guest-os-macos, tpm-passthrough\n' in text
    assert '[tpm-passthrough] %s: ' % TITLE in text
    assert '対処: %s' % REMEDY in text


def test_what_a_probe_finds(japanese):
    """The compiled policy judges, but in another process."""
    text = refusal_of(japanese, domain_xml(devices='    <emulator>/srv/mine</emulator>\n'))
    assert ' により拒否されました: emulator-unknown\n' in text
    assert '対処: ' in text


def test_the_limit_of_what_libvirt_passes_on(japanese):
    name = '名' * 80
    arguments = "<qemu:arg value='-device'/><qemu:arg value='vhost-user-fs-pci,chardev=%s'/>" % ('値' * 60)
    xml = domain_xml(name=name).replace(b'</domain>', (arguments * 30).encode() + b'</domain>')
    xml = xml.replace(b'</devices>', b'</devices>\n<qemu:commandline>', 1)
    xml = xml.replace(b'</domain>', b'</qemu:commandline></domain>').replace(
        b'<domain ', b"<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ", 1
    )
    result = japanese.run_hook(name, 'start', xml)
    text = result.stderr.decode('utf-8')
    assert result.returncode == 1
    assert 3000 < len(result.stderr) <= 4096
    first, *others, last = text.splitlines()
    assert first.startswith("virt-guard: ドメイン '%s' はポリシー 'rhel-8' により拒否されました: " % name)
    assert '  (省略あり: 全 ' in others[-1]
    assert last.startswith('  詳細: virt-guard explain ')


def test_another_translation_is_told_at_the_next_start(japanese, catalog):
    """The compiled policy is not used any more, until the text is again what it was made of."""
    text = catalog.read_text(encoding='utf-8')
    catalog.write_text(text.replace('msgstr "%s"' % TITLE, 'msgstr "TPM の直接利用"'), encoding='utf-8')
    assert '[tpm-passthrough] TPM の直接利用: ' in refusal_of(japanese, japanese.denied)
    catalog.write_text(text, encoding='utf-8')
    assert refusal_of(japanese, japanese.denied) == expected(japanese)


def test_a_broken_catalog_refuses_nothing_by_itself(japanese, catalog):
    catalog.write_bytes(b'msgid "a"\nmsgstr b\n')
    assert japanese.run_hook('guest', 'start', CLEAN).returncode == 0
    assert refusal_of(japanese, japanese.denied).startswith(
        "virt-guard: domain 'guest' denied by policy 'rhel-8': tpm-passthrough\n"
    )
    for command in (['policy', 'check'], ['rules']):
        result = japanese.run_cli(*command, env=dict(ENVIRONMENT, LC_ALL='ja_JP.UTF-8'))
        assert result.returncode == 0
        assert b'/languages/ja.po:2: ' in result.stdout + result.stderr


def test_a_language_that_there_is_not(installed):
    with installed.with_policy(policy_text() + 'language: jp\n'):
        result = installed.run_cli('policy', 'check')
        assert result.returncode == 2
        assert b": language is 'jp' (known are: en, ja)" in result.stdout


def locale(**variables):
    return {**{name: value for name, value in ENVIRONMENT.items() if name != 'LC_ALL'}, **variables}


@pytest.mark.parametrize(
    'variables, language',
    [
        ({'LANG': 'ja_JP.UTF-8'}, 'ja'),  # which need not exist here
        ({'LANG': 'de_DE.UTF-8', 'LC_ALL': 'ja_JP.UTF-8'}, 'ja'),
        ({'LANG': 'ja_JP.UTF-8', 'LC_ALL': 'C'}, 'en'),
        ({}, 'en'),
        # Without a word on the encoding, an ASCII terminal is one.
        ({'LC_MESSAGES': 'ja_JP', 'LC_CTYPE': 'C', 'PYTHONCOERCECLOCALE': '0'}, None),
    ],
)
def test_the_command_follows_the_locale(japanese, tmp_path, variables, language):
    domain = tmp_path / 'guest.xml'
    domain.write_bytes(japanese.denied)
    result = japanese.run_cli('check', 'guest.xml', cwd=str(tmp_path), env=locale(**variables))
    assert (result.returncode, result.stderr) == (1, b'')
    text = result.stdout.decode('utf-8')
    told = {
        'ja': ['対処: ' + REMEDY, 'ドメイン 1 件: 拒否 1 件'],
        'en': ["remedy: use <backend type='emulator'>, a vTPM served by swtpm", '1 domain: 1 denied'],
    }
    for line in told.get(language or ('ja' if '対処' in text else 'en'), ()):
        assert line in [shown.strip() for shown in text.splitlines()]
    assert ' deny [tpm-passthrough] ' in text


def test_what_other_programs_read_does_not(japanese, tmp_path):
    domain = tmp_path / 'guest.xml'
    domain.write_bytes(japanese.denied)
    told = {}
    for language in ('C', 'ja_JP.UTF-8'):
        outputs = ['--output=%s:%s.%s' % (name, language, name) for name in FOR_PROGRAMS]
        result = japanese.run_cli('check', *outputs, 'guest.xml', cwd=str(tmp_path), env=locale(LANG=language))
        assert result.returncode == 1, result.stderr
        for name in FOR_PROGRAMS:
            text = (tmp_path / ('%s.%s' % (language, name))).read_bytes()
            told.setdefault(name, set()).add(re.sub(rb'time="[^"]*"', b'', text))
    assert [name for name, texts in told.items() if len(texts) > 1] == []
    (rule, *_) = japanese.run_cli('rules', '--format', 'jsonl', env=locale(LANG='ja_JP.UTF-8')).stdout.splitlines()
    assert json.loads(rule.decode('ascii'))['title'] == 'host architecture'


def test_a_page_asks_for_its_language(japanese, tmp_path):
    """Whatever the locale of its session is."""
    domain = tmp_path / 'guest.xml'
    domain.write_bytes(japanese.denied)
    result = japanese.run_cli('check', '--format', 'jsonl', '--language', 'ja', str(domain), env=ENVIRONMENT)
    (finding,) = json.loads(result.stdout.decode('ascii'))['findings']
    assert (finding['rule'], finding['status']) == ('tpm-passthrough', 'deny')
    assert (finding['message'], finding['remedy']) == (TITLE, REMEDY)
    rules = japanese.run_cli('rules', '--format', 'jsonl', '--language', 'ja', env=ENVIRONMENT).stdout.splitlines()
    (rule,) = [
        rule for rule in (json.loads(line.decode('ascii')) for line in rules) if rule['rule'] == 'tpm-passthrough'
    ]
    assert (rule['title'], rule['remedy']) == (TITLE, REMEDY)
    result = japanese.run_cli('explain', '--language', 'en', 'tcg', env=locale(LANG='ja_JP.UTF-8'))
    assert result.stdout.startswith(b'tcg: TCG software emulation (deny)\n')
