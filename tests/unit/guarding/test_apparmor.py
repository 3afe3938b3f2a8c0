# SPDX-License-Identifier: Apache-2.0
"""What a profile's text lets a daemon execute: the language, Debian's profile of libvirtd, and apparmor_parser's word.

Debian's text itself is read where its package is installed. For both releases there is a table of the rules about
executing that matter, in our words: each was compared with what apparmor_parser 3.0.8 makes of libvirt-daemon-system
9.0.0-4+deb12u2 (Debian 12) and 11.3.0-3+deb13u3 (Debian 13), which are alike in these.
"""

import os
import pathlib
import random

import pytest
from support.capabilities import missing
from support.paths import CHECKOUT
from virtguard.guarding.apparmor import NO, UNKNOWN, YES, load_profile
from virtguard.guarding.apparmor_globs import ProfileError, expand, glob_to_regex
from virtguard.guarding.host_files import FileTree

from .apparmor_dfa import compile_profiles, need_parser

PROGRAM = '/usr/sbin/virt-guard-hook'
OLD_PROGRAM = '/usr/libexec/virt-guard/qemu'

DEBIAN_RULES = """
    / r,
    /** rwmkl,
    /bin/* PUx,
    /sbin/* PUx,
    /usr/bin/* PUx,
    /usr/sbin/* PUx,
    /usr/lib/libvirt/* PUxr,
    /etc/libvirt/hooks/** rmix,
    audit deny /{usr/,}sbin/apparmor_parser rwxl,
"""
# What the daemon executes, without links. Where its rule is of a kind that lets the new program run unconfined (PUx),
# what that program executes is its own affair; so the rest counts for a program in hooks/, which runs as the daemon.
EXECUTED = {
    PROGRAM: 'PUx',
    '/etc/libvirt/hooks/qemu': 'ix',
    '/etc/libvirt/hooks/qemu.d/00-virt-guard': 'ix',
    '/bin/sh': 'PUx',
    '/usr/bin/dash': 'PUx',
    '/usr/bin/bash': 'PUx',
    '/usr/bin/python3.11': 'PUx',
    '/usr/bin/python3.13': 'PUx',
    '/usr/bin/timeout': 'PUx',
    '/usr/bin/logger': 'PUx',
    '/usr/bin/ls': 'PUx',
    '/bin/ls': 'PUx',
    '/usr/bin/grep': 'PUx',
    '/usr/bin/tr': 'PUx',
    '/usr/bin/tail': 'PUx',
    '/usr/bin/readlink': 'PUx',
}
NOT_EXECUTED = (
    OLD_PROGRAM,
    '/usr/lib/virt-guard/qemu',
    '/usr/sbin/virt-guard/hook',
    '/usr/libexec/platform-python',
    '/usr/local/bin/python3',
    '/opt/python/bin/python3',
    '/root/venv/bin/python',
    '/usr/sbin/apparmor_parser',
)


class Tree:
    """A directory of profiles to fill."""

    def __init__(self, root):
        self.root = root

    def write(self, path, text=''):
        file = self.root / 'etc/apparmor.d' / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(text))

    def rules(self, rules, preamble=''):
        self.write('usr.sbin.libvirtd', '%s\nprofile libvirtd /usr/sbin/libvirtd {\n%s\n}\n' % (preamble, rules))

    def load(self, name='libvirtd'):
        return load_profile(FileTree(str(self.root)), name)

    def answer(self, path, name='libvirtd'):
        answer = self.load(name).may_execute(path)
        return answer.word if answer.word != YES else answer.detail


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


# Rules


@pytest.mark.parametrize(
    'rules, path, expected',
    [
        ('', '/usr/bin/a', NO),
        ('/usr/bin/a ix,', '/usr/bin/a', 'ix'),
        ('/usr/bin/a r,', '/usr/bin/a', NO),
        ('/usr/bin/a rwmkl,', '/usr/bin/a', NO),
        # Either order, with and without its keyword, and with what does not matter here.
        ('ix /usr/bin/a,', '/usr/bin/a', 'ix'),
        ('file ix /usr/bin/a,', '/usr/bin/a', 'ix'),
        ('file /usr/bin/a rmix,', '/usr/bin/a', 'ix'),
        ('audit allow file /usr/bin/a rmix,', '/usr/bin/a', 'ix'),
        ('/usr/bin/a\n  rmix\n  ,', '/usr/bin/a', 'ix'),
        ('/usr/bin/b r,/usr/bin/a ix,', '/usr/bin/a', 'ix'),
        ('"/usr/bin/b" r,"/usr/bin/a" ix,capability kill,ux /usr/bin/c,', '/usr/bin/c', 'ux'),
        ('/usr/bin/b r,#/usr/bin/a ix,', '/usr/bin/a', NO),
        ('file,', '/usr/bin/a', 'ix'),
        ('allow all,', '/usr/bin/a', 'ix'),
        # How: what has a fallback does not depend on another profile.
        ('/usr/bin/a PUx,', '/usr/bin/a', 'PUx'),
        ('/usr/bin/a rpux -> helper,', '/usr/bin/a', 'pux'),
        ('/usr/bin/a Pix,', '/usr/bin/a', 'Pix'),
        ('/usr/bin/a CUx -> child,', '/usr/bin/a', 'CUx'),
        ('/usr/bin/a ux,', '/usr/bin/a', 'ux'),
        ('/usr/bin/a unsafe Ux,', '/usr/bin/a', 'Ux'),
        ('/usr/bin/a px,', '/usr/bin/a', UNKNOWN),
        ('/usr/bin/a Px -> helper,', '/usr/bin/a', UNKNOWN),
        ('/usr/bin/a Cx -> child,', '/usr/bin/a', UNKNOWN),
        # The rule that names a path counts before one of a pattern.
        ('/usr/bin/* PUx,\n/usr/bin/a ix,', '/usr/bin/a', 'ix'),
        ('/usr/bin/* PUx,\n/usr/bin/a px,', '/usr/bin/a', UNKNOWN),
        # What is denied is denied, wherever the rule stands.
        ('/usr/bin/* ix,\ndeny /usr/bin/a x,', '/usr/bin/a', NO),
        ('audit deny /usr/bin/a wxl,\n/usr/bin/* ix,', '/usr/bin/a', NO),
        ('deny /usr/bin/a w,\n/usr/bin/* ix,', '/usr/bin/a', 'ix'),
        ('deny file,\n/usr/bin/* ix,', '/usr/bin/a', NO),
        # Under conditions that are not looked into.
        ('owner /usr/bin/a ix,', '/usr/bin/a', UNKNOWN),
        ('owner /usr/bin/a ix,\n/usr/bin/* ix,', '/usr/bin/a', 'ix'),
        ('deny owner /usr/bin/a x,\n/usr/bin/* ix,', '/usr/bin/a', UNKNOWN),
        ('priority=1 /usr/bin/a ix,\ndeny /usr/bin/* x,', '/usr/bin/a', UNKNOWN),
        ('if $site {\n/usr/bin/a ix,\n}', '/usr/bin/a', UNKNOWN),
        ('deny {\n/usr/bin/a x,\n}\n/usr/bin/* ix,', '/usr/bin/a', NO),
        # A language to come.
        ('sometimes /usr/bin/a ix,', '/usr/bin/a', UNKNOWN),
        ('/usr/bin/a zx,', '/usr/bin/a', UNKNOWN),
        # What is about something else, and has commas and braces.
        (
            'capability,\nnetwork inet stream,\nmount options=(rw, move) /dev/ -> /x{,y}/*,\numount /dev/,\n'
            'ptrace (read, trace) peer=@{profile_name},\nsignal (send) set=("kill", "term") peer=unconfined,\n'
            'unix (send, receive) type=stream addr=none peer=(label=x addr=none),\nset rlimit core <= 10M,\n'
            'dbus send bus=system path=/org/x{,/**} member={Hello,Add} peer=(name=org.x),\nuserns,\n'
            'change_profile -> libvirt-[0-9a-f]*-[0-9a-f]*,\nlink /usr/bin/b -> /usr/bin/c,\n/usr/bin/a ix,',
            '/usr/bin/a',
            'ix',
        ),
        # Comments, and what looks like one.
        ('# /usr/bin/a ix,', '/usr/bin/a', NO),
        ('/usr/bin/b r, # /usr/bin/a ix,', '/usr/bin/a', NO),
        ('/usr/bin/a#b ix,', '/usr/bin/a#b', 'ix'),
        # Quotes and escapes.
        ('"/usr/bin/a b" ix,', '/usr/bin/a b', 'ix'),
        ('ix "/usr/bin/a b",', '/usr/bin/a b', 'ix'),
        ('/usr/bin/a\\ b ix,', '/usr/bin/a b', 'ix'),
        ('/usr/bin/a\\,b ix,', '/usr/bin/a,b', 'ix'),
        ('/usr/bin/a\\040b ix,', '/usr/bin/a b', 'ix'),
        ('/usr/bin/\\* ix,', '/usr/bin/*', 'ix'),
        ('/usr/bin/\\* ix,', '/usr/bin/a', NO),
        ('/usr/bin/\\a ix,', '/usr/bin/a', UNKNOWN),
        # Bytes: ? is half of a letter.
        ('/usr/bin/\u00e4 ix,', '/usr/bin/\u00e4', 'ix'),
        ('/usr/bin/? ix,', '/usr/bin/\u00e4', NO),
        ('/usr/bin/?? ix,', '/usr/bin/\u00e4', 'ix'),
    ],
)
def test_rules(tree, rules, path, expected):
    tree.rules(rules)
    assert tree.answer(path) == expected


@pytest.mark.parametrize(
    'name, other', [('libvirtd', '/usr/sbin/libvirtd'), ('/usr/sbin/libvirtd', 'libvirtd'), ('a name', 'name')]
)
def test_a_profile_is_known_by_its_name(tree, name, other):
    head = name if name.startswith('/') else 'profile "%s" /usr/sbin/libvirtd flags=(attach_disconnected,audit)' % name
    tree.write('any', head + ' {\n  /usr/bin/a ix,\n}\nprofile another {\n  /usr/bin/b ix,\n}\n')
    assert tree.answer('/usr/bin/a', name) == 'ix'
    assert tree.answer('/usr/bin/b', name) == NO
    with pytest.raises(ProfileError, match='declares the profile'):
        tree.load(other)


def test_rules_of_a_child_are_its_own(tree):
    tree.rules(
        '  /usr/bin/a ix,\n  profile child {\n    /usr/bin/b ix,\n  }\n  ^hat {\n    /x ix,\n  }\n  /usr/bin/c ix,'
    )
    assert [tree.answer('/usr/bin/' + name) for name in 'abc'] == ['ix', NO, 'ix']
    assert [tree.answer('/usr/bin/' + name, 'libvirtd//child') for name in 'abc'] == [NO, 'ix', NO]
    assert tree.answer('/x', 'libvirtd//hat') == 'ix'


def test_variables(tree):
    tree.rules(
        '@{BIN}/* ix,\n@{lib}/@{name}/x ix,\n/@{profile_name}/x ix,',
        preamble='@{BIN} = /usr/bin/ /usr/sbin # not /bin\n@{root}="/usr" /srv\n@{lib}=@{root}/lib\n'
        '@{lib} += /lib\\\n  /lib64\n@{name}="a b"\n',
    )
    profile = tree.load()
    allowed = '/usr/bin/x', '/usr/sbin/x', '/usr/lib/a b/x', '/srv/lib/a b/x', '/lib/a b/x', '/lib64/a b/x'
    assert [profile.may_execute(path).word for path in allowed] == [YES] * 6
    assert profile.may_execute('/libvirtd/x').word == YES
    assert [profile.may_execute(path).word for path in ('/bin/x', '/usr/a b/x', '/lib/x')] == [NO] * 3


def test_a_variable_that_is_not_defined_leaves_it_open(tree):
    tree.rules('@{none}/y ix,\n/usr/bin/a ix,\n/usr/bin/c r,\ndeny /usr/bin/b x,')
    answer = tree.load().may_execute('/usr/bin/c')
    assert (answer.word, answer.detail) == (UNKNOWN, 'the variable @{none} is not defined')
    assert tree.answer('/usr/bin/b') == NO


def test_variables_that_lead_to_each_other_are_an_error():
    values = {'a': ['@{b}', '@{b}'], 'b': ['@{a}', '@{a}'], 'many': ['%d' % number for number in range(100)]}
    with pytest.raises(ProfileError, match='too many values'):
        expand('/@{a}', values)
    with pytest.raises(ProfileError, match='too many values'):
        expand('/@{loop}', {'loop': ['x@{loop}']})
    assert len(expand('/@{many}', values)) == 100
    with pytest.raises(ProfileError, match='too many values'):
        expand('/@{many}@{many}', values)


def test_aliases(tree):
    tree.rules('/usr/bin/* ix,', preamble='alias /usr/ -> /mnt/usr/,\n')
    assert [tree.answer(path) for path in ('/usr/bin/a', '/mnt/usr/bin/a', '/mnt/bin/a')] == ['ix', 'ix', NO]


# Files


def test_includes(tree, tmp_path):
    tree.rules(
        '#include <abstractions/one>\ninclude if exists <local/none>\n  include if exists <local/site>\n'
        '#include "%s/etc/apparmor.d/two"\ninclude <more>' % ''
    )
    tree.write('abstractions/one', '/usr/bin/one ix,\n  include <abstractions/deeper>\n')
    tree.write('abstractions/deeper', '/usr/bin/deeper ix,\n')
    tree.write('local/site', '/usr/bin/site PUx,\ndeny /usr/bin/one x,\n')
    tree.write('two', '/usr/bin/two ix,\n')
    tree.write('more/a', '/usr/bin/more ix,\n')
    tree.write('more/a.dpkg-old', '/usr/bin/old ix,\n')
    tree.write('more/.hidden', '/usr/bin/old ix,\n')
    names = 'one deeper site two more old'.split()
    assert [tree.answer('/usr/bin/' + name) for name in names] == [NO, 'ix', 'PUx', 'ix', 'ix', NO]


def test_a_file_that_is_missing_leaves_it_open(tree):
    tree.rules('/usr/bin/a ix,\n#include <local/usr.sbin.libvirtd>')
    with pytest.raises(ProfileError, match='local/usr.sbin.libvirtd cannot be read'):
        tree.load()
    # Another profile is not touched by that.
    tree.write('other', 'profile other {\n  /usr/bin/a ix,\n} # libvirtd\n')
    assert tree.answer('/usr/bin/a', 'other') == 'ix'


def test_files_that_include_each_other_come_to_an_end(tree):
    tree.rules('include <one>')
    tree.write('one', 'include <two>\n')
    tree.write('two', 'include <one>\n')
    with pytest.raises(ProfileError, match='too many files'):
        tree.load()


def test_a_file_that_is_not_a_profile_is_skipped(tree):
    tree.rules('/usr/bin/a ix,')
    for name in ('usr.sbin.libvirtd.dpkg-old', 'usr.sbin.libvirtd~', '.usr.sbin.libvirtd', 'x.rpmsave', 'README'):
        tree.write(name, 'profile libvirtd {\n  /usr/bin/b ix,\n}\n')
    assert [tree.answer('/usr/bin/a'), tree.answer('/usr/bin/b')] == ['ix', NO]
    tree.write('again', 'profile libvirtd {\n  /usr/bin/b ix,\n}\n')
    with pytest.raises(ProfileError, match='libvirtd is declared in .*/again and in .*/usr.sbin.libvirtd'):
        tree.load()


# Patterns


def matches(glob, text):
    """The same language once more, without regular expressions: by trying everything."""
    if not glob:
        return not text
    char, rest = glob[0], glob[1:]
    if char == '\\':
        return text[:1] == rest[0] and matches(rest[1:], text[1:])
    if char == '{':
        depth, parts, part = 1, [], ''
        while depth:
            length = 2 if rest[0] == '\\' else 1
            char, rest = rest[:length], rest[length:]
            depth += {'{': 1, '}': -1}.get(char, 0)
            if depth and not (char == ',' and depth == 1):
                part += char
            else:
                parts.append(part)
                part = ''
        return any(matches(part + rest, text) for part in parts)
    if char == '*':
        deep = rest.startswith('*')
        rest = rest[1:] if deep else rest
        ends = range(len(text) + 1)
        return any(matches(rest, text[end:]) for end in ends if deep or '/' not in text[:end])
    if char == '?':
        return text[:1] not in ('', '/') and matches(rest, text[1:])
    return text[:1] == char and matches(rest, text[1:])


def random_glob(choose, depth=0):
    pieces = ['a', 'b', '.', '+', '-', '/', '/a', '*', '**', '?', '\\*', '\\?', '\\{', '\\,', '^', '(', '|', '$']
    if depth < 2:
        pieces += ['{}'] * 3
    text = ''
    for _ in range(choose.randrange(1 - depth % 2, 5)):
        piece = choose.choice(pieces)
        if piece == '{}':
            inner = [random_glob(choose, depth + 1) for _ in range(choose.randrange(2, 4))]
            piece = '{%s}' % ','.join(inner)
        text += piece
    return text


def random_path(choose):
    return '/' + ''.join(choose.choice('aab./*?{,^(|$+-') for _ in range(choose.randrange(6)))


def test_patterns_against_trying_everything():
    choose = random.Random(10)
    seen = {True: 0, False: 0}
    for _ in range(1500):
        # Where a whole name is a star, it is not empty: apart, below.
        glob = '/x' + random_glob(choose).replace('/*', '/').replace('{*', '{').replace(',*', ',')
        for _ in range(8):
            path = '/x' + random_path(choose)[1:]
            expected = matches(glob, path)
            seen[expected] += 1
            assert bool(glob_to_regex(glob).fullmatch(path)) == expected, (glob, path)
    assert seen[True] > 300


@pytest.mark.parametrize(
    'glob, yes, no',
    [
        ('/usr/bin/*', '/usr/bin/a /usr/bin/.a', '/usr/bin/ /usr/bin /usr/bin/a/ /usr/bin/a/b'),
        ('/usr/bin/**', '/usr/bin/a /usr/bin/a/ /usr/bin/a/b', '/usr/bin/ /usr/bin'),
        ('/usr/*/b', '/usr/a/b', '/usr//b /usr/b /usr/a/a/b'),
        ('/usr/**/b', '/usr/a/b /usr/a/a/b', '/usr/b'),
        ('/usr/a*', '/usr/a /usr/ab', '/usr/a/ /usr/a/b'),
        ('/{usr/,}{s,}bin/*', '/usr/sbin/a /bin/a /sbin/a', '/usr/a /usrbin/a'),
        ('/a{,b,c{d,e}}', '/a /ab /acd /ace', '/ac /abc'),
        ('/[ab][^ab][0-9a-f]', '/ac0 /bcf', '/aa0 /acg /c'),
    ],
)
def test_patterns(glob, yes, no):
    assert [bool(glob_to_regex(glob).fullmatch(path)) for path in yes.split()] == [True] * len(yes.split())
    assert [bool(glob_to_regex(glob).fullmatch(path)) for path in no.split()] == [False] * len(no.split())


@pytest.mark.parametrize('glob', ['/a{b', '/a[b', '/[*?]', '/[a&&b]', '/[z-a]', '/\\n'])
def test_patterns_that_are_not_understood(glob):
    with pytest.raises(ProfileError):
        glob_to_regex(glob)


def test_patterns_against_apparmor_parser():
    need_parser()
    choose = random.Random(3)
    globs = ['/' + random_glob(choose).lstrip('/') for _ in range(120)]
    globs += ['/' + name + rest for name in ('[ab]', '[^a]', '[a-c.]', '[0-9a-f]') for rest in ('', '*', '/**', '{,b}')]
    rules = ['profile p%d {\n  "%s" ix,\n}\n' % (number, glob) for number, glob in enumerate(globs)]
    automata = compile_profiles(''.join(rules))
    for number, glob in enumerate(globs):
        automaton = automata['p%d' % number]
        pattern = glob_to_regex(glob)
        paths = {random_path(choose) for _ in range(30)} | {glob, glob.replace('*', 'a').replace('?', 'b')}
        for path in paths:
            path = '/' + path.lstrip('/')
            if '//' not in path:
                assert bool(pattern.fullmatch(path)) == (automaton.may_execute(path) == 'yes'), (glob, path)


# Debian's profile of libvirtd


def check_debian(may_execute):
    assert {path: may_execute(path) for path in EXECUTED} == EXECUTED
    assert {path: may_execute(path) for path in NOT_EXECUTED} == dict.fromkeys(NOT_EXECUTED, NO)


def test_debians_rules_cover_what_the_daemon_executes(tree):
    """The one that would have caught it: the old program has no rule, and every start of a domain failed."""
    tree.rules(DEBIAN_RULES)
    check_debian(tree.answer)


def test_the_program_is_where_install_puts_it():
    assert 'program=$root%s\n' % PROGRAM in (CHECKOUT / 'install.sh').read_text(encoding='utf-8')


def automaton_of_the_table():
    need_parser()
    return compile_profiles('profile libvirtd /usr/sbin/libvirtd {\n%s\n}\n' % DEBIAN_RULES)['libvirtd']


def test_apparmor_parser_says_the_same_of_the_table():
    may_execute = automaton_of_the_table().may_execute
    assert {path for path in EXECUTED if may_execute(path) != 'yes'} == set()
    assert {path for path in NOT_EXECUTED if may_execute(path) != 'no'} == set()


def programs():
    """Files of this machine, and what could be there: of each directory the name itself, one below, and two below."""
    for directory in ('/usr/bin', '/usr/sbin', '/usr/lib/libvirt', '/usr/libexec', '/usr/local/bin', '/etc/libvirt'):
        names = os.listdir(directory) if os.path.isdir(directory) else []
        for path in (directory, directory + '/x', directory + '/x/y', *(directory + '/' + name for name in names)):
            yield path


def test_debians_own_text_says_the_same():
    path = pathlib.Path('/etc/apparmor.d/usr.sbin.libvirtd')
    if not path.exists():
        missing('%s is not installed (package libvirt-daemon-system)' % path)
    need_parser()  # its package has the abstractions, too
    profile = load_profile(FileTree(), 'libvirtd')

    def may_execute(path):
        answer = profile.may_execute(path)
        return answer.detail if answer.word == YES else answer.word

    check_debian(may_execute)
    # And apparmor_parser finds in it what we find.
    automaton = compile_profiles(path.read_text(encoding='utf-8'))['libvirtd']
    words = {'yes': YES, 'no': NO, 'owner': UNKNOWN}
    differing = {name for name in programs() if words[automaton.may_execute(name)] != profile.may_execute(name).word}
    assert differing == set()
