# SPDX-License-Identifier: Apache-2.0
"""Edits of a policy's text, as an administrator makes them: each changes one value, and what stands around it stays."""

import re
from typing import Callable

Edit = Callable[[str], str]


def setting(key: str, value: str) -> Edit:
    """Give a setting at the top of the policy another value, which is YAML."""
    return _substitution(r'^(%s:\s+)(?:\{[^}]*\}|\S+)' % key, value)


def action(rule: str, value: str) -> Edit:
    """Give a rule of the policy another action, which is YAML: off needs quotes."""
    return _substitution(r'^(  - id: %s\n(?:    .*\n)*?    action: )\S+' % re.escape(rule), value)


def _substitution(pattern: str, value: str) -> Edit:
    def edit(text: str) -> str:
        text, count = re.subn(pattern, lambda match: match.group(1) + value, text, flags=re.MULTILINE)
        assert count == 1, '%d matches of %r in the policy' % (count, pattern)
        return text

    return edit
