# SPDX-License-Identifier: Apache-2.0
"""`virt-guard policy edit`, driven through a real terminal by a user with an editor that is a script."""

import os
import signal
import stat
import threading

import pytest
from installation import DENIED, newly_installed
from support.terminal import Terminal

FINE, AMISS, NOT_JUDGED, INTERRUPTED = 0, 1, 2, 130
POLICY = """\
policy: small
rules:
  - id: tpm-passthrough
    title: TPM passthrough
    action: deny
    match: /domain/devices/tpm/backend[@type = 'passthrough']
    why: w
    remedy: r
"""
WARN = 'rules:\n  - {id: tpm-passthrough, action: warn}\n'
BROKEN = 'rules:\n  - id: tpm-passthrough\n    action: forbid\n'
DECISION = 'Put it in force?'
MENDED = 'Put it in place, and mend the other files next?'
PROBLEM = 'What now?'


@pytest.fixture(scope='module')
def installation(tmp_path_factory):
    installation = newly_installed(tmp_path_factory.mktemp('edited'))
    installation.policy.write_text(POLICY)
    domains = installation.root / 'etc/libvirt/qemu'
    domains.mkdir(parents=True)
    (domains / 'guest.xml').write_bytes(DENIED)
    return installation


class Editing:
    """Edits with scripts: each is a shell script, the file is its "$1"."""

    def __init__(self, installation, directory):
        self._installation = installation
        self._directory = directory
        self._terminals = []
        self.drop_ins = installation.root / 'etc/virt-guard/policy.d'
        self.aside = installation.root / 'etc/virt-guard/policy.edit'
        self.drop_in = self.drop_ins / '50-site.yaml'
        self.kept = self.aside / '50-site.yaml.rejected'

    def text(self, name, text):
        """A file with this text, for an editor to copy."""
        path = self._directory / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def saving(self, *texts):
        """An editor that saves these texts, one in each run, and then the last one always."""
        for number, text in enumerate(texts):
            self.text('text-%d' % number, text)
        count = self._directory / 'count'
        count.write_text('0')
        script = 'n=$(cat {0}); [ $n = {2} ] || echo $((n + 1)) > {0}; cat {1}/text-$n > "$1"'
        return script.format(count, self._directory, len(texts) - 1)

    def start(self, script, *arguments, environment=None, **options):
        editor = self._directory / 'editor'
        editor.write_text('#!/bin/sh\nset -e\n%s\n' % script)
        editor.chmod(0o755)
        environment = dict({'PATH': '/usr/bin:/bin', 'TERM': 'xterm', 'EDITOR': str(editor)}, **(environment or {}))
        terminal = Terminal(
            [str(self._installation.cli), 'policy', 'edit', *arguments], env=environment, cwd='/', **options
        )
        self._terminals.append(terminal)
        return terminal

    def is_clean(self):
        """Whether nothing is left of any edit."""
        return not self.aside.exists()

    def judged(self):
        """The status of the hook for the domain that the shipped policy refuses."""
        return self._installation.run_hook('guest', 'start', DENIED).returncode

    def close(self):
        for terminal in self._terminals:
            terminal.close()


@pytest.fixture
def editing(installation, tmp_path, journal):
    editing = Editing(installation, tmp_path)
    yield editing
    editing.close()
    for directory in (editing.drop_ins, editing.aside):
        for path in sorted(directory.glob('**/*'), reverse=True):
            path.unlink() if not path.is_dir() or path.is_symlink() else path.rmdir()
    if editing.aside.exists():
        editing.aside.rmdir()


def test_a_new_drop_in_comes_into_force(editing, installation, journal):
    assert editing.judged() == 1
    terminal = editing.start(editing.saving(WARN))
    said = terminal.answer(DECISION, 'y')
    assert 'These domains would no longer be refused:\n' in said
    assert "guest.xml: deny -> admit 'guest'" in said
    assert '%s:2' % editing.drop_in in said, 'the cause'
    assert '1 domain: 1 no longer refused\n' in said
    assert terminal.end() == FINE
    assert terminal.shown.endswith(
        '50-site.yaml is in force; domains are judged accordingly from their next start on\n'
    )
    assert editing.drop_in.read_text() == WARN
    assert stat.S_IMODE(editing.drop_in.stat().st_mode) == 0o644
    assert editing.judged() == 0
    assert editing.is_clean()
    changed = [record for record in journal.records() if record['VIRT_GUARD_DECISION'] == ['policy-changed']]
    assert [record['VIRT_GUARD_FILE'] for record in changed] == [[str(editing.drop_in)]]
    assert b'out of date' not in installation.run_cli('policy', 'check').stdout, 'it is compiled'


def test_problems_have_the_lines_of_the_copy_and_the_name_of_the_drop_in(editing):
    terminal = editing.start(editing.saving(BROKEN, WARN), '50-site')
    said = terminal.answer(PROBLEM, 'edit')
    assert '%s:3:13: ' % editing.drop_in in said
    assert not editing.drop_in.exists()
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.drop_in.read_text() == WARN


def test_a_text_is_kept_and_taken_up_again(editing):
    editing.drop_in.write_text('mode: audit\n')
    terminal = editing.start(editing.saving(BROKEN))
    terminal.answer(PROBLEM, 'k')
    assert terminal.end() == AMISS
    assert terminal.shown.endswith('50-site.yaml stays as it was; your text is kept as %s\n' % editing.kept)
    assert (editing.kept.read_text(), editing.drop_in.read_text()) == (BROKEN, 'mode: audit\n')
    terminal = editing.start('sed -i s/forbid/warn/ "$1"')
    assert str(editing.kept) in terminal.answer(PROBLEM, 't')
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.drop_in.read_text() == BROKEN.replace('forbid', 'warn')
    assert editing.is_clean()


def test_what_was_kept_is_not_lost_when_somebody_begins_anew(editing):
    for text in (BROKEN, BROKEN + '#\n'):
        terminal = editing.start(editing.saving(text))
        if editing.kept.exists():
            terminal.answer(PROBLEM, 'b')
        terminal.answer(PROBLEM, 'k')
        assert terminal.end() == AMISS
    assert [path.read_text() for path in sorted(editing.aside.iterdir())] == [BROKEN, BROKEN + '#\n']


@pytest.mark.parametrize('text, question', [(BROKEN, PROBLEM), (WARN, DECISION)])
def test_a_text_is_dropped(editing, text, question):
    terminal = editing.start(editing.saving(text))
    terminal.answer(question, 'd')
    assert terminal.end() == AMISS
    assert not editing.drop_in.exists() and editing.is_clean()


@pytest.mark.parametrize('script', ['true', 'cat "$1" > copy.$$ && mv copy.$$ "$1"', ': > "$1"'])
def test_nothing_has_changed(editing, script):
    terminal = editing.start('cd %s; %s' % (editing.drop_ins.parent.parent, script))
    assert terminal.end() == FINE
    assert terminal.shown == 'nothing has changed in %s\n' % editing.drop_in
    assert not editing.drop_in.exists() and editing.is_clean()


def test_an_empty_text_removes_the_drop_in(editing):
    editing.drop_in.write_text(WARN)
    terminal = editing.start(': > "$1"')
    said = terminal.answer(DECISION, 'y')
    assert 'The text is empty: %s would be removed.\n' % editing.drop_in in said
    assert "guest.xml: admit -> deny 'guest'" in said
    assert terminal.end() == FINE
    assert not editing.drop_in.exists() and editing.judged() == 1


FAILURES = {
    'it fails': ('exit 3', 'failed with status 3'),
    'it is killed': ('kill -9 $$', 'was killed by signal 9'),
    'it removes the copy': ('rm "$1"', 'the editor has removed the copy'),
    'it makes a link of it': ('ln -sf /etc/passwd "$1"', 'the editor has put a link in the place of the copy'),
    'it makes a pipe of it': ('rm "$1"; mkfifo "$1"', 'the editor has left something that is not a regular file'),
    'it makes a directory of it': (
        'rm "$1"; mkdir -p "$1"/x',
        'the editor has left something that is not a regular file',
    ),
}


@pytest.mark.parametrize('what', sorted(FAILURES))
def test_an_editor_that_fails_changes_nothing(editing, what):
    script, said = FAILURES[what]
    editing.drop_in.write_text(WARN)
    terminal = editing.start(script)
    assert terminal.end() == NOT_JUDGED
    assert said in terminal.shown and 'nothing has changed in %s' % editing.drop_in in terminal.shown
    assert editing.drop_in.read_text() == WARN and editing.is_clean()


def test_what_was_written_before_the_editor_failed_is_not_lost(editing):
    terminal = editing.start(editing.saving(WARN, WARN + '#\n') + '\nrm "$1"')
    assert terminal.end() == NOT_JUDGED, 'nothing was ever saved'
    terminal = editing.start(editing.saving(WARN, '') + '\n[ -s "$1" ] || rm "$1"; exit 3')
    assert 'failed with status 3' in terminal.answer(PROBLEM, 'e')
    assert 'has removed the copy' in terminal.answer(PROBLEM, 'k')
    assert terminal.end() == AMISS
    assert editing.kept.read_text() == WARN
    assert not editing.drop_in.exists()


def test_interrupted_at_the_question(editing):
    terminal = editing.start(editing.saving(WARN))
    terminal.wait_for(DECISION)
    terminal.wait_for('(d)rop it: ')
    terminal.type('\x03')
    assert terminal.end() == INTERRUPTED
    assert 'your text is kept as %s\n' % editing.kept in terminal.shown
    assert editing.kept.read_text() == WARN and not editing.drop_in.exists()


def test_the_end_of_the_input_keeps_the_text(editing):
    terminal = editing.start(editing.saving(WARN))
    terminal.wait_for('(d)rop it: ')
    terminal.type('\x04')
    assert terminal.end() == AMISS
    assert editing.kept.read_text() == WARN and not editing.drop_in.exists()


def test_nobody_answers_before_the_question(editing):
    terminal = editing.start(editing.saving(WARN) + '\necho ready; read line')
    terminal.wait_for('ready\n')
    terminal.type('to the editor\ny\n')
    terminal.answer(DECISION, 'what?')
    terminal.wait_for('Type one of these letters: y, e, k, d\n')
    terminal.answer(DECISION, 'D')
    assert terminal.end() == AMISS
    assert not editing.drop_in.exists()


def test_an_interrupt_in_the_editor_does_not_end_the_command(editing):
    script = 'trap "cat %s > \\"\\$1\\"; echo interrupted" INT; echo "type ^C"; read line || read line'
    terminal = editing.start(script % editing.text('text', WARN))
    terminal.wait_for('type ^C\n')
    terminal.type('\x03')
    terminal.wait_for('interrupted\n')
    terminal.type('\n')
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.drop_in.read_text() == WARN


@pytest.mark.parametrize('where', ['at the question', 'in the editor'])
def test_the_terminal_is_closed(editing, where):
    script = editing.saving(WARN)
    terminal = editing.start(script if where == 'at the question' else script + '\necho edited; read line')
    terminal.wait_for('(d)rop it: ' if where == 'at the question' else 'edited\n')
    assert terminal.hang_up() == 128 + signal.SIGHUP
    assert editing.kept.read_text() == WARN and not editing.drop_in.exists()


def test_the_command_is_killed_while_the_editor_runs(editing):
    terminal = editing.start(editing.saving(WARN) + '\necho edited; read line')
    terminal.wait_for('edited\n')
    terminal.process.kill()
    terminal.hang_up()
    terminal = editing.start(editing.saving(BROKEN))
    terminal.answer(PROBLEM, 't')
    terminal.answer(PROBLEM, 'd')
    assert terminal.end() == AMISS
    assert 'your text is kept as %s' % editing.kept in terminal.all


@pytest.mark.parametrize('answer', ['y', 'd'])
def test_what_an_editor_saves_behind_the_back_of_the_command_is_kept(editing, answer):
    terminal = editing.start(editing.saving(WARN))
    terminal.wait_for('(d)rop it: ')
    (editing.aside / '50-site.yaml/50-site.yaml').write_text(WARN + '#\n')
    terminal.type(answer + '\n')
    terminal.end()
    assert editing.kept.read_text() == WARN + '#\n'
    assert editing.drop_in.exists() == (answer == 'y')


def test_two_at_once(editing):
    first = editing.start(editing.saving(WARN))
    first.wait_for('(d)rop it: ')
    second = editing.start('true', environment={'SUDO_USER': 'daemon'})
    assert second.end() == NOT_JUDGED
    holder = 'virt-guard: root (process %d) is editing %s' % (first.process.pid, editing.drop_in)
    assert second.shown.startswith(holder)
    another = editing.start('true', '60-other')
    assert another.end() == FINE, "another drop-in is nobody's"
    first.type('y\n')
    assert first.end() == FINE
    assert editing.drop_in.read_text() == WARN


def test_somebody_else_has_changed_the_drop_in(editing):
    editing.drop_in.write_text('mode: audit\n')
    terminal = editing.start(editing.saving(WARN, WARN))
    terminal.wait_for('(d)rop it: ')
    editing.drop_in.write_text('mode: enforce\n')
    terminal.type('y\n')
    assert 'somebody else has changed the file since it was read' in terminal.answer(PROBLEM, 'e')
    said = terminal.answer(PROBLEM, 'e')
    assert '-mode: audit\n+mode: enforce\n' in said
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.drop_in.read_text() == WARN


def test_another_drop_in_was_changed_after_the_effect_was_shown(editing):
    terminal = editing.start(editing.saving(WARN, WARN))
    terminal.wait_for('(d)rop it: ')
    (editing.drop_ins / '60-other.yaml').write_text('mode: audit\n')
    terminal.type('y\n')
    assert 'another file of the policy was changed meanwhile' in terminal.answer(PROBLEM, 'e')
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE


def test_a_broken_policy_is_mended(editing):
    editing.drop_in.write_text(BROKEN)
    terminal = editing.start('sed -i s/forbid/warn/ "$1"')
    assert 'The policy in force is broken: no domain is judged by it.\n' in terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.judged() == 0


@pytest.mark.parametrize('text', [WARN, ''])
def test_two_broken_drop_ins_are_mended_one_after_the_other(editing, installation, journal, text):
    other = editing.drop_ins / '60-other.yaml'
    for path in (editing.drop_in, other):
        path.write_text(BROKEN)
    terminal = editing.start(editing.saving(text))
    said = terminal.answer(MENDED, 'y')
    assert ('The text is empty' in said) == (not text)
    assert '%s:3:13: ' % other in said and '%s:3:13: ' % editing.drop_in not in said
    assert 'no domain is judged: every start is refused (failure deny), as before.\n' in said
    assert terminal.end() == NOT_JUDGED
    left = 'the policy is still broken: 1 problem in %s' % other
    assert terminal.shown.endswith('%s; next, mend %s: virt-guard policy edit 60-other\n' % (left, other))
    assert editing.drop_in.exists() == bool(text) and editing.is_clean()
    (changed,) = journal.records()
    assert changed['VIRT_GUARD_FILE'] == [str(editing.drop_in)] and changed['MESSAGE'][0].endswith('; ' + left)
    assert not [name for name in changed if name.startswith(('VIRT_GUARD_POLICY', 'VIRT_GUARD_MODE'))]
    assert editing.judged() == NOT_JUDGED
    terminal = editing.start(editing.saving('mode: audit\n'), '60-other')
    terminal.answer(DECISION, 'y')
    assert terminal.end() == FINE
    assert editing.judged() == 0


def test_what_would_be_broken_anew_is_not_put_in_place(editing):
    (editing.drop_ins / '40-broken.yaml').write_text(BROKEN)
    other = editing.drop_ins / '60-other.yaml'
    other.write_text('rules:\n  - {id: ours, action: warn}\n')
    ours = WARN + '  - {id: ours, title: t, action: deny, match: /domain/x, why: w, remedy: r}\n'
    editing.drop_in.write_text(ours)
    terminal = editing.start(editing.saving(WARN, BROKEN))
    said = terminal.answer(PROBLEM, 'e')
    assert '%s:2:5: ' % other in said and '\n50-site.yaml has no problem of its own, but with it other files' in said
    assert '%s:3:13: ' % editing.drop_in in terminal.answer(PROBLEM, 'd')
    assert terminal.end() == AMISS
    assert editing.drop_in.read_text() == ours


def test_policy_edit_needs_a_terminal(editing, installation):
    result = installation.run_cli('policy', 'edit', env={'EDITOR': '/bin/true'})
    assert (result.returncode, result.stdout) == (NOT_JUDGED, b'')
    assert b'policy edit needs a terminal' in result.stderr
    assert b'virt-guard policy check --drop-in FILE' in result.stderr


EDITORS = {
    'with arguments': ('EDITOR', "sed -i -e 's/^#.*//' -e '1s/.*/mode: audit/'", FINE),
    'VISUAL comes first': ('VISUAL', "sed -i '1s/.*/mode: audit/'", FINE),
    'no shell': ('EDITOR', 'sed -i 1s/.*/mode:audit/;touch$IFS/tmp/x', NOT_JUDGED),
    'no such program': ('EDITOR', 'no-such-editor', NOT_JUDGED),
    'half a word': ('EDITOR', "vi 'x", NOT_JUDGED),
    'a relative path': ('EDITOR', 'bin/vi', NOT_JUDGED),
}


@pytest.mark.parametrize('what', sorted(EDITORS))
def test_which_editor(editing, what):
    variable, value, status = EDITORS[what]
    terminal = editing.start('exit 9', environment={variable: value})
    if status == FINE:
        assert 'mode: enforce -> audit\n' in terminal.answer(DECISION, 'y')
    assert terminal.end() == status
    assert editing.drop_in.exists() == (status == FINE)


NAMES = [
    '../x',
    '/etc/passwd',
    'a/b',
    'a\nb',
    '.hidden',
    '',
    '50-site.yml',
    '50-site.yaml.rejected',
    'policy',
    'x' * 99,
]


@pytest.mark.parametrize('name', NAMES, ids=repr)
def test_a_name_that_no_drop_in_has(editing, name):
    terminal = editing.start('exit 9', name)
    assert terminal.end() == NOT_JUDGED
    assert terminal.shown.startswith('virt-guard: ') and terminal.shown.count('\n') == 1
    assert editing.is_clean() and not list(editing.drop_ins.iterdir())


def test_no_start_sees_a_broken_policy(editing, installation):
    """Starts go on beside the edits; none of them is left without a verdict."""
    statuses = []
    stop = threading.Event()

    def start_domains():
        while not stop.is_set():
            statuses.append(installation.run_hook('guest', 'start', DENIED).returncode)

    thread = threading.Thread(target=start_domains)
    thread.start()
    try:
        for texts, answers in (((BROKEN, WARN), 'ey'), ((BROKEN, WARN + '#\n'), 'ey'), (('mode: adit\n', ''), 'ey')):
            terminal = editing.start(editing.saving(*texts))
            terminal.answer(PROBLEM, answers[0])
            terminal.answer(DECISION, answers[1])
            assert terminal.end() == FINE
    finally:
        stop.set()
        thread.join()
    assert statuses and set(statuses) <= {0, 1}


TEXTS = {
    'not UTF-8': (b'mode: audit # caf\xe9\n', ':1:18: not YAML: '),
    'ten megabytes': (b'# a comment\n' * 900000, 'is larger than 1048576 bytes'),
}


@pytest.mark.parametrize('what', sorted(TEXTS))
def test_what_an_editor_may_save(editing, what):
    text, said = TEXTS[what]
    terminal = editing.start(editing.saving(text), environment={'LC_ALL': 'C'})
    assert said in terminal.answer(PROBLEM, 'k')
    assert terminal.end() == AMISS
    assert editing.kept.read_bytes() == text


def plant_link(editing):
    editing.drop_in.symlink_to('/etc/passwd')
    return '%s is a link' % editing.drop_in


def plant_pipe(editing):
    os.mkfifo(str(editing.drop_in))
    return '%s is not a regular file' % editing.drop_in


def open_to_others(editing):
    editing.drop_in.write_text(WARN)
    editing.drop_in.chmod(0o666)
    return '%s can be written by others' % editing.drop_in


def open_directory(editing):
    editing.aside.mkdir()
    editing.aside.chmod(0o777)
    return '%s can be written by others' % editing.aside


def linked_directory(editing):
    editing.aside.mkdir()
    (editing.aside / '50-site.yaml').symlink_to('/etc')
    return '%s is not a directory' % (editing.aside / '50-site.yaml')


@pytest.mark.parametrize('plant', [plant_link, plant_pipe, open_to_others, open_directory, linked_directory])
def test_what_others_may_have_put_there(editing, plant):
    said = plant(editing)
    terminal = editing.start('exit 9')
    assert terminal.end() == NOT_JUDGED
    assert terminal.shown.startswith('virt-guard: ') and said in terminal.shown


def test_a_link_is_not_taken_up(editing):
    (editing.aside / '50-site.yaml').mkdir(parents=True)
    editing.aside.chmod(0o700)
    for path in (editing.kept, editing.aside / '50-site.yaml/50-site.yaml'):
        path.symlink_to('/etc/passwd')
    terminal = editing.start('grep -q "^# What this site decides" "$1"')
    assert terminal.end() == FINE
    assert editing.kept.is_symlink()


@pytest.mark.parametrize('umask', [0o000, 0o077])
def test_modes_do_not_depend_on_the_caller(editing, umask):
    before = os.umask(umask)
    try:
        terminal = editing.start(editing.saving(WARN), environment={'TERM': ''})
    finally:
        os.umask(before)
    terminal.wait_for('(d)rop it: ')
    assert stat.S_IMODE(editing.aside.stat().st_mode) == 0o700
    terminal.type('y\n')
    assert terminal.end() == FINE
    assert stat.S_IMODE(editing.drop_in.stat().st_mode) == 0o644
