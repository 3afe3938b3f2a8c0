# SPDX-License-Identifier: Apache-2.0
"""What people read when a domain does not start. libvirt passes it on as it is, to terminals and web pages."""

import pytest
from support import made
from support.made import verdict
from virtguard import model, wording

UUID = '6f3b1c52-8a4e-4c0b-9a57-2d1f6b0c7e11'
# Characters that would end a line, move a cursor, hide text or break an encoder.
NASTY = 'a\nb\r\x1b[31m\x07\x00\x7f\x85\u2028\u202e\ufeff\udcff\ud800é漢\U0001f600'


def finding(id, status='deny', line=1, evidence='<x a="1">', message=None, remedy='mend it', **fields):
    return made.finding(made.rule('/domain', id, remedy=remedy, **fields), status, '/domain/x', line, evidence, message)


def assert_clean(text):
    """Printable lines, within the limit."""
    assert len(text.encode('utf-8')) <= 4096
    assert text.endswith('\n')
    assert '\n\n' not in text
    assert all(line.isprintable() for line in text[:-1].split('\n'))


def test_refusal():
    text = wording.refusal(verdict(finding('tcg', line=3), finding('virtiofs', line=0, remedy='use\n  NFS')))
    assert text == (
        "virt-guard: domain 'payroll' denied by policy 'example': tcg, virtiofs\n"
        '  (1) [tcg] title of tcg: <x a="1"> (line 3 of virsh dumpxml); remedy: mend it.\n'
        '  (2) [virtiofs] title of virtiofs: <x a="1">; remedy: use NFS.\n'
        '  more: virt-guard explain tcg virtiofs; to permit it for a while: '
        'virt-guard waiver add payroll tcg virtiofs\n'
    )


@pytest.mark.parametrize('name', ['two words', '$(reboot)', '-n', 'web-ü', 'a;b', ''])
def test_a_name_that_a_shell_would_read_is_not_in_a_command(name):
    one = verdict(finding('a'), domain_name=name)
    assert wording.refusal(one).endswith(': virt-guard waiver add %s a\n' % made.UUID)
    one.uuid = '`reboot`'
    assert wording.refusal(one).endswith(': virt-guard waiver add DOMAIN a\n')


def test_no_waiver_is_offered_where_none_would_help():
    assert wording.refusal(verdict(finding('a'), finding('b', waivable=False))).endswith(
        '  more: virt-guard explain a b\n'
    )


def test_a_finding_that_stands_for_many():
    many = finding('a')
    many.more = 12
    assert '(1) [a] title of a: <x a="1"> (line 1 of virsh dumpxml), and 12 more; remedy: mend it.' in wording.refusal(
        verdict(many)
    )


def test_a_refusal_is_readable_where_white_space_is_folded():
    """As Cockpit shows it, in one paragraph."""
    text = ' '.join(wording.refusal(verdict(finding('tcg'), finding('virtiofs', remedy='use NFS.'))).split())
    assert text.startswith("virt-guard: domain 'payroll' denied by policy 'example': tcg, virtiofs (1) [tcg] title")
    assert ' remedy: mend it. (2) [virtiofs] title' in text
    assert ' remedy: use NFS. more: virt-guard explain ' in text


def test_a_refusal_speaks_of_what_denies():
    text = wording.refusal(verdict(finding('a', 'warn'), finding('b'), finding('c', 'unknown'), finding('b', line=7)))
    assert text.splitlines()[0].endswith(': b')
    assert text.splitlines()[-1].startswith('  more: virt-guard explain b; ')
    assert '[a]' not in text
    assert '[c]' not in text
    assert '(line 1 of' in text
    assert '(line 7 of' in text


def test_a_refusal_because_of_an_error():
    text = wording.refusal(verdict(finding('a', 'error', 0, '', 'the rule could not be evaluated: Invalid type')))
    assert text == (
        "virt-guard: domain 'payroll' could not be judged by policy 'example': a\n"
        '  (1) [a] the rule could not be evaluated: Invalid type.\n'
        '  more: virt-guard explain a\n'
    )


@pytest.mark.parametrize(
    'statuses, enforce, audit',
    [
        ([], 'admitted by {}', 'admitted by {}'),
        (['warn'], 'admitted by {}, with warnings: r0', 'admitted by {}, with warnings: r0'),
        (['unknown', 'warn'], 'admitted by {}, with warnings: r0, r1', 'admitted by {}, with warnings: r0, r1'),
        (['deny'], 'denied by {}: r0', 'would be denied (mode audit) by {}: r0'),
        (['warn', 'deny', 'error', 'deny'], 'denied by {}: r1, r3', 'would be denied (mode audit) by {}: r1, r3'),
        (['error'], 'could not be judged by {}: r0', 'could not be judged by {}: r0'),
        (['warn', 'error'], 'could not be judged by {}: r1', 'could not be judged by {}: r1'),
    ],
)
def test_headline(statuses, enforce, audit):
    result = verdict(*[finding('r%d' % number, status) for number, status in enumerate(statuses)])
    for mode, expected in (('enforce', enforce), ('audit', audit)):
        assert wording.headline(result, mode) == "domain 'payroll' " + expected.format("policy 'example'")


def test_failure():
    assert wording.failure('payroll', 'no policy') == "virt-guard: domain 'payroll' could not be judged: no policy\n"
    assert wording.failure('payroll', 'no policy', 'install it').splitlines()[1] == '  next: install it'


def test_failure_in_another_language():
    texts = {
        "domain '%s' could not be judged: %s": '%s ? %s',
        'no %s': 'ohne %s',
        'wait': 'warten',
        'next: %s': 'dann: %s',
    }
    reason = model.Phrase('no %s', 'path\n')
    assert wording.failure('vm', reason, 'wait', texts) == 'virt-guard: vm ? ohne path\\n\n  dann: warten\n'


def test_names_are_shown_as_they_are():
    text = wording.refusal(verdict(finding('a', evidence='<x a="漢">', remedy='ändern'), domain_name='ünïcödé'))
    assert text.startswith("virt-guard: domain 'ünïcödé' denied by policy 'example': a\n")
    assert '<x a="漢"> (line 1 of virsh dumpxml); remedy: ändern.' in text
    assert wording.failure('日本', 'ja', 'nein').startswith("virt-guard: domain '日本' could not")


QEMU_ARG = '/domain/qemu:commandline/qemu:arg[2]/@value'


@pytest.mark.parametrize(
    'match, path, remedy',
    [
        ('/domain/devices/tpm | /domain/qemu:commandline/qemu:arg/arg:tpmdev', '/domain/devices/tpm', 'use\n another'),
        ('/domain/devices/tpm | /domain/qemu:commandline/qemu:arg/arg:tpmdev', QEMU_ARG, 'argument'),
        ('/domain/devices/tpm | /domain/qemu:commandline/qemu:env', '/domain/qemu:commandline/qemu:env', 'variable'),
        (
            '/domain/devices/interface/teaming | /domain/qemu:override//qemu:property',
            '/domain/qemu:override/qemu:device/qemu:frontend/qemu:property',
            'property',
        ),
        # Rules that look there alone, or at all that is there, say themselves what to do.
        ('/domain/qemu:commandline/qemu:arg/arg:device', QEMU_ARG, 'use\n another'),
        ('/domain/devices/emulator | /domain/qemu:commandline', '/domain/qemu:commandline', 'use\n another'),
    ],
)
def test_a_remedy_fits_the_place(match, path, remedy):
    one = model.Rule('a', 'T', 'deny', 'w', 'use\n another', match=match)
    found = model.Finding(one, 'deny', path, 3, '<x>', 'T')
    expected = 'use another' if remedy == 'use\n another' else 'remove this ' + remedy
    assert found.remedy.startswith(expected)
    assert '; remedy: %s.' % found.remedy in wording.refusal(verdict(found))


def test_a_cut_is_between_characters():
    for length in range(3900, 4000):
        text = wording.failure('x' + '漢' * length, 'no policy')
        assert_clean(text)
        assert '\ufffd' not in text


@pytest.mark.parametrize('where', ['domain_name', 'name', 'evidence', 'message', 'remedy'])
def test_control_characters_do_not_get_into_the_text(where):
    fields = {where: NASTY}
    settings = {key: fields.pop(key) for key in ('domain_name', 'name') if key in fields}
    for status in ('deny', 'error'):
        text = wording.refusal(verdict(finding('a', status, **fields), **settings))
        assert_clean(text)
        assert len(text.splitlines()) <= 4
    assert_clean(wording.failure(NASTY, NASTY, NASTY))
    assert len(wording.failure(NASTY, NASTY, NASTY).splitlines()) == 2


@pytest.mark.parametrize(
    'text, expected',
    [
        ('plain text', 'plain text'),
        ('a\nb\tc', 'a\\nb\\tc'),
        ('\x1b[31m', '\\x1b[31m'),
        ('\x9b31m', '\\x9b31m'),
        ('\u202e', '\\u202e'),
        ('\udcff', '\\udcff'),
        ('é漢', 'é漢'),
    ],
)
def test_escape(text, expected):
    assert wording.escape(text) == expected
    assert wording.ascii_only(wording.escape(text)).isprintable()


def test_ascii_only():
    assert wording.ascii_only('é漢\U0001f600\udcff') == '\\xe9\\u6f22\\U0001f600\\udcff'


# The limit


@pytest.mark.parametrize('count', [1, 5, 20, 30, 40, 1000])
@pytest.mark.parametrize('evidence', ['<x>', '<x a="%s">' % ('y' * 190), 'é' * 200])
def test_many_findings(count, evidence):
    text = wording.refusal(verdict(*[finding('rule-%d' % number, evidence=evidence) for number in range(count)]))
    assert_clean(text)
    lines = text.splitlines()
    assert lines[0].startswith("virt-guard: domain 'payroll' denied by policy 'example': rule-0")
    assert '(1) [rule-0] title of rule-0: ' in text or count == 1000
    assert lines[-1].startswith('  more: virt-guard ')
    if count == 1000:
        assert lines[-2].startswith('  (shortened: ')
    # Whole lines, or none.
    assert all(line.endswith('; remedy: mend it.') for line in lines[1:-2])


def test_a_text_just_below_the_limit_is_whole():
    for length in range(3600, 4200):
        text = wording.failure('payroll', 'x' * length)
        assert_clean(text)
        assert (text == "virt-guard: domain 'payroll' could not be judged: %s\n" % ('x' * length)) == (
            '(shortened' not in text
        )
    assert '(shortened' not in wording.failure('payroll', 'x' * 3600)


@pytest.mark.parametrize('domain', ['x' * 100000, 'é' * 100000, '\x1b' * 100000])
def test_a_name_without_end(domain):
    """The first line is shortened too, and still says whose it is and what it is about."""
    for text in (
        wording.refusal(verdict(finding('tcg'), domain_name=domain)),
        wording.failure(domain, 'no policy', 'wait'),
    ):
        assert_clean(text)
        assert text.startswith("virt-guard: domain '")


def test_the_limit_leaves_room_for_the_line_that_the_hook_may_add():
    text = wording.refusal(verdict(*[finding('rule-%d' % number) for number in range(1000)]))
    assert len(text + '  note: no audit record could be written\n') <= 4096


@pytest.mark.parametrize('name', [made.UUID.upper(), '0' * 32])
def test_a_name_that_is_a_uuid_would_stand_for_another_domain(name):
    one = verdict(finding('a'), domain_name=name)
    assert wording.refusal(one).endswith(': virt-guard waiver add %s a\n' % made.UUID)
