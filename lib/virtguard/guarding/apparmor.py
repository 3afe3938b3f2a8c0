# SPDX-License-Identifier: Apache-2.0
"""Which files an AppArmor profile allows to be executed, read from its text as apparmor_parser reads it.

This is for hosts where aa-exec cannot ask the kernel. Only execution is judged, and only paths without links, as in the
kernel. The answer is UNKNOWN if the text does not decide it: a condition, a rule in a later version of the language, or
a profile that the new process would need.
"""

import itertools
import os
import re

from .apparmor_globs import ProfileError, expand, glob_to_regex, without_double_slashes
from .host_files import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Pattern, Tuple

    from .host_files import FileTree

    Statement = Tuple[str, List[str]]  # _OPEN, _CLOSE or _RULE, and its words; a quoted word keeps its first quote

DIRECTORY_OF_PROFILES = '/etc/apparmor.d'
YES, NO, UNKNOWN = 'yes', 'no', 'unknown'

_OPEN, _CLOSE, _RULE = '{', '}', ','
_MAX_FILES, _MAX_DEPTH = 500, 20
# Names that apparmor_parser ignores in a directory.
_NOT_PROFILES = re.compile(
    r'\..*|README|.*(~|\.dpkg-(new|old|dist|bak|remove)|\.(pacsave|pacnew|rpmnew|rpmsave|orig|rej))'
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |\#?include[ \t]+(?P<exists>if[ \t]+exists[ \t]+)?(?P<include><[^>\n]*>|"[^"\n]*"|[^\s,]+)
    |(?P<comment>\#[^\n]*)
    |(?P<variable>[@$]\{?\w+\}?)[ \t]*(?P<sign>\+?=)(?P<values>(?:[^\n\\]|\\.|\\\n)*)
    |(?P<list>(?:[A-Za-z_]+[ \t]*=[ \t]*)?\([^()]*(?:\([^()]*\)[^()]*)*\))
    |(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<open>\{(?=\s|$))
    |(?P<close>\})
    |(?P<end>,)
    |(?P<bare>[A-Za-z_]+(?=,))
    |(?P<word>(?:\\[ \t"!,]|[^ \t\r\n"!,]|,[^ \t\r\n"!,])+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:\\.|[^\s"])+)')
_QUALIFIERS = frozenset(('audit', 'quiet', 'allow', 'deny', 'owner', 'other', 'access', 'prompt'))
_UNCERTAIN = ('owner', 'other', 'prompt')
# Rules that are not about executing.
_OTHER_RULES = frozenset(
    'abi alias capability change_hat change_profile dbus io_uring link mount mqueue network pivot_root ptrace remount '
    'rlimit set signal umount unix unmount userns'.split()
)
_PERMISSIONS = re.compile(r'[rwalkmxiupcUPC]+$')
_EXECUTE = re.compile(r'([pPcCuU]?i|[pPcC][uU]|[pPcCuU])?x')


class Answer:
    """Whether a path may be executed: YES with the mode (ix, PUx) as `detail`, NO, or UNKNOWN with the reason."""

    __slots__ = ('word', 'detail')

    def __init__(self, word: str, detail: str = '') -> None:
        self.word = word
        self.detail = detail


class _Rule:
    """A rule about executing. A `pattern` of None matches every file."""

    __slots__ = ('pattern', 'mode', 'deny', 'doubt')

    def __init__(self, pattern: 'Optional[str]', mode: str, deny: bool, doubt: str) -> None:
        self.pattern = pattern
        self.mode = mode
        self.deny = deny
        self.doubt = doubt


def load_profile(tree: 'FileTree', name: str) -> 'Profile':
    """Find the profile that the kernel knows as `name`, child profiles as `parent//child`.

    :raises ProfileError:
    """
    found, errors = [], []
    # A profile whose name is written with a variable is not found; profiles of daemons hardly ever are.
    for file in tree.names(DIRECTORY_OF_PROFILES) or []:
        path = DIRECTORY_OF_PROFILES + '/' + file
        if _NOT_PROFILES.fullmatch(file) or tree.kind(tree.resolve(path)) == DIRECTORY:
            continue
        text = tree.read(path)
        if text is not None and all(part in text for part in name.split('//')):
            try:
                profile = _Reader(tree).profile(path, name)
            except ProfileError as error:
                errors.append(error)
            else:
                found.extend([profile] if profile else [])
    if errors and not found:
        raise errors[0]
    if not found:
        raise ProfileError('no file in %s declares the profile %s' % (DIRECTORY_OF_PROFILES, name))
    if len(found) > 1:
        raise ProfileError('%s is declared in %s' % (name, ' and in '.join(profile.path for profile in found)))
    return found[0]


class Profile:
    """One profile of one file."""

    def __init__(self, path: str, flags: str) -> None:
        self.path = path
        self.flags = re.split(r'[\s,()=]+', flags)
        self.rules: 'List[_Rule]' = []
        self.doubt = ''
        self.variables: 'Dict[str, List[str]]' = {}
        self.aliases: 'List[Tuple[str, str]]' = []
        self._patterns: 'Dict[str, List[Pattern[str]]]' = {}

    def may_execute(self, path: str) -> Answer:
        """Whether `path`, which has no links in it, may be executed."""
        allowing: 'List[str]' = []
        exact: 'List[str]' = []  # if rules differ in the mode, the one with the exact path counts
        perhaps: 'List[str]' = []
        overriding: 'List[str]' = []
        doubts = [self.doubt] if self.doubt else []
        denied = False
        wanted = _bytewise(path)
        for rule in self.rules:
            try:
                matches = rule.pattern is None or any(
                    pattern.fullmatch(wanted) for pattern in self._compiled(rule.pattern)
                )
            except ProfileError as error:
                doubts.append(str(error))
                continue
            if not matches:
                continue
            if rule.doubt:
                kinds = overriding if 'priority' in rule.doubt else doubts if rule.deny else perhaps
                kinds.append(rule.doubt)
            elif rule.deny:
                denied = True
            else:
                allowing.append(rule.mode)
                exact.extend([rule.mode] if rule.pattern == path else [])
        if denied and not overriding:
            return Answer(NO)
        modes = sorted(set(exact or allowing))
        certain = [mode for mode in modes if mode[:-1] not in ('p', 'P', 'c', 'C')]
        if not certain:
            doubts.extend(perhaps)
        if modes and not certain:
            doubts.append('it needs a profile of its own (%s)' % modes[0])
        if overriding or doubts:
            return Answer(UNKNOWN, (overriding + doubts)[0])
        return Answer(YES, certain[0]) if certain else Answer(NO)

    def _compiled(self, pattern: str) -> 'List[Pattern[str]]':
        if pattern not in self._patterns:
            texts = [without_double_slashes(text) for text in expand(pattern, self.variables)]
            for old, new in self.aliases:
                texts.extend([new + text[len(old) :] for text in texts if text.startswith(old)])
            self._patterns[pattern] = [glob_to_regex(_bytewise(text)) for text in texts]
        return self._patterns[pattern]


class _Reader:
    """Reads one file of profiles and the files that it includes."""

    def __init__(self, tree: 'FileTree') -> None:
        self._tree = tree
        self._files = 0
        self._variables: 'Dict[str, List[str]]' = {}
        self._aliases: 'List[Tuple[str, str]]' = []

    def profile(self, path: str, name: str) -> 'Optional[Profile]':
        profile: 'Optional[Profile]' = None
        # For each open block: the name of the profile, or None if it is not one, and the words before its brace.
        blocks: 'List[Tuple[Optional[str], List[str]]]' = []
        inside: 'Optional[str]' = None
        for kind, words in self._statements(path, 0):
            if kind == _OPEN:
                above = [block for block, _ in blocks if block is not None]
                own = self._name(words, above[-1] if above else '', name)
                blocks.append((own, words))
                inside = own or inside
                if own == name and profile is None:
                    profile = Profile(path, ' '.join(word for word in words if '(' in word))
            elif kind == _CLOSE and blocks:
                blocks.pop()
                around_it = [block for block, _ in blocks if block is not None]
                inside = around_it[-1] if around_it else None
            elif kind == _RULE and profile is not None and inside == name:
                around = [word for block, before in blocks if block is None for word in before]
                self._add(profile, around, words)
            elif kind == _RULE and words[0] == 'alias' and len(words) == 4:
                self._aliases.append((_unquoted(words[1]), _unquoted(words[3])))
        if profile is not None:
            profile.variables = dict(self._variables, profile_name=[name])
            profile.aliases = self._aliases
        return profile

    def _name(self, words: 'List[str]', parent: str, wanted: str) -> 'Optional[str]':
        """The kernel's name of a profile with these words before its brace; None if the block is not a profile."""
        if not words or words[0] in _QUALIFIERS or words[0] in ('if', 'else'):
            return None
        if words[0] in ('profile', 'hat') and len(words) > 1:
            name = words[1]
        else:
            name = words[0][1:] if words[0].startswith('^') else words[0]
        prefix = parent + '//' if parent else ''
        try:
            names = [prefix + text for text in expand(_unquoted(name), self._variables)]
        except ProfileError:
            names = [prefix + _unquoted(name)]
        return wanted if wanted in names else names[0]

    def _add(self, profile: Profile, around: 'List[str]', words: 'List[str]') -> None:
        conditional = [word for word in around if word in ('if', 'else')]
        try:
            rule = _parse_rule([word for word in around if word in _QUALIFIERS] + words)
        except ProfileError as error:
            profile.doubt = profile.doubt or str(error)
            return
        if rule is not None:
            rule.doubt = 'a rule under a condition' if conditional else rule.doubt
            profile.rules.append(rule)

    def _statements(self, path: str, depth: int) -> 'Iterator[Statement]':
        self._files += 1
        text = self._tree.read(path)
        if text is None:
            raise ProfileError('%s cannot be read' % path)
        if self._files > _MAX_FILES or depth > _MAX_DEPTH:
            raise ProfileError('%s: too many files are included' % path)
        words: 'List[str]' = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup
            if kind == 'include' and not words:
                for file in self._included(match.group('include'), bool(match.group('exists'))):
                    yield from self._statements(file, depth + 1)
            elif kind == 'values' and not words:
                self._set(match.group('variable'), match.group('sign'), match.group('values'))
            elif kind == 'open':
                yield _OPEN, words
                words = []
            elif kind == 'close':
                yield _CLOSE, []
                words = []
            elif kind == 'end':
                if words:
                    yield _RULE, words
                words = []
            elif kind == 'quoted':
                words.append(match.group()[:-1])
            elif kind not in ('space', 'comment'):
                words.append(match.group())

    def _set(self, variable: str, sign: str, values: str) -> None:
        name = variable.strip('@${}')
        parts = [match.group(1) or match.group(2) or '' for match in _VALUE.finditer(values.replace('\\\n', ' '))]
        parts = list(itertools.takewhile(lambda part: not part.startswith('#'), parts))
        self._variables[name] = (self._variables.get(name, []) if sign == '+=' else []) + parts

    def _included(self, name: str, if_exists: bool) -> 'List[str]':
        path = name.strip('<>"')
        if not path.startswith('/'):
            path = DIRECTORY_OF_PROFILES + '/' + path
        names = self._tree.names(path)
        if names is not None:
            files = [path + '/' + name for name in names if not _NOT_PROFILES.fullmatch(name)]
            return [file for file in files if self._tree.names(file) is None]
        return [] if if_exists and self._tree.read(path) is None else [path]


def _unquoted(word: str) -> str:
    return word[1:] if word.startswith('"') else word


def _bytewise(text: str) -> str:
    """One character for each byte, because ? and sets match bytes."""
    return os.fsencode(text).decode('latin-1')


def _parse_rule(words: 'List[str]') -> 'Optional[_Rule]':
    """The rule in a statement; None if it is not about executing.

    :raises ProfileError: it is not understood
    """
    statement = ' '.join(words)
    qualifiers = []
    while words and (words[0] in _QUALIFIERS or words[0].startswith('priority=')):
        qualifiers.append(words[0])
        words = words[1:]
    if words and words[0] in _OTHER_RULES:
        return None
    deny = 'deny' in qualifiers
    doubts = [word for word in qualifiers if word in _UNCERTAIN or word.startswith('priority=')]
    doubt = 'a rule with %s' % doubts[0] if doubts else ''
    if words in (['file'], ['all']):
        return _Rule(None, 'ix', deny, doubt)
    words = [word for word in words if word not in ('safe', 'unsafe')]
    words = words[1:] if words[:1] == ['file'] else words
    words = words[:-2] if len(words) > 2 and words[-2] == '->' else words
    if len(words) == 2:
        for path, permissions in (words, words[::-1]):
            if path.startswith(('/', '@{', '"')) and _PERMISSIONS.match(permissions):
                execute = _EXECUTE.search(permissions)
                return _Rule(_unquoted(path), execute.group(), deny, doubt) if execute else None
    raise ProfileError('a rule that virt-guard does not understand: ' + statement)
