# SPDX-License-Identifier: Apache-2.0
"""The patterns of AppArmor's profiles: variables, and globs as regular expressions. Pure: no I/O."""

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Pattern

_MAX_NESTING, _MAX_EXPANSIONS = 200, 1000
_VARIABLE = re.compile(r'@\{(\w+)\}')
_PLAIN_SET = re.compile(r'(-|[A-Za-z0-9/.]-[A-Za-z0-9/.]|[A-Za-z0-9_/.:@+,% ])+')


class ProfileError(Exception):
    """The profile cannot be read or understood."""


def expand(text: str, variables: 'Dict[str, List[str]]') -> 'List[str]':
    """The texts that result from all values of the variables in a text.

    :raises ProfileError: a variable is not defined, or there are too many texts
    """
    done: 'List[str]' = []
    todo = [(text, 0)]
    while todo:
        text, depth = todo.pop()
        match = _VARIABLE.search(text)
        if match is None:
            done.append(text)
            continue
        values = variables.get(match.group(1))
        if values is None:
            raise ProfileError('the variable %s is not defined' % match.group())
        if depth > _MAX_NESTING or len(done) + len(todo) + len(values) > _MAX_EXPANSIONS:
            raise ProfileError('too many values of the variable %s' % match.group())
        todo.extend([(text[: match.start()] + value + text[match.end() :], depth + 1) for value in values])
    return done


def without_double_slashes(path: str) -> str:
    """Merge slashes as apparmor_parser does. Exactly two at the beginning stay: POSIX gives them their own meaning."""
    first = 1 if path.startswith('//') and not path.startswith('///') else 0
    return path[:first] + re.sub('//+', '/', path[first:])


def glob_to_regex(glob: str) -> 'Pattern[str]':
    """A pattern of apparmor.d(5) as a regular expression for whole paths.

    :raises ProfileError: a brace or bracket is not closed, or an escape or set is not understood
    """
    parts, depth, at = [], 0, 0
    while at < len(glob):
        char, rest = glob[at], glob[at + 1 :]
        at += 1
        if char == '\\' and rest:
            octal = re.match('[0-7]{3}', rest)
            if rest[0].isalnum() and not octal:
                raise ProfileError('%s: an escape that virt-guard does not know' % glob)
            parts.append(re.escape(chr(int(octal.group(), 8)) if octal else rest[0]))
            at += 3 if octal else 1
        elif char == '*':
            stars = 2 if rest.startswith('*') else 1
            after = rest.lstrip('*')
            # A whole name is never empty: /* is not the directory itself.
            if glob[: at - 1].endswith('/') and (not after or after.startswith('/')):
                parts.append('[^/]')
            parts.append('[^/]*' if stars == 1 else '[^\\0]*')
            at += stars - 1
        elif char == '?':
            parts.append('[^/]')
        elif char == '[':
            end = rest.find(']', 1)
            if end < 0:
                raise ProfileError('%s: a bracket is not closed' % glob)
            negated = rest.startswith('^')
            inside = rest[1:end] if negated else rest[:end]
            if not _PLAIN_SET.fullmatch(inside):
                raise ProfileError('%s: a set of characters that virt-guard does not know' % glob)
            parts.append('[%s%s]' % ('^' if negated else '', inside))
            at += end + 1
        elif char == '{':
            depth += 1
            parts.append('(?:')
        elif char == '}' and depth:
            depth -= 1
            parts.append(')')
        elif char == ',' and depth:
            parts.append('|')
        else:
            parts.append(re.escape(char))
    if depth:
        raise ProfileError('%s: a brace is not closed' % glob)
    try:
        return re.compile(''.join(parts))
    except re.error as error:
        raise ProfileError('%s: %s' % (glob, error)) from None
