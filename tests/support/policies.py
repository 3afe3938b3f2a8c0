# SPDX-License-Identifier: Apache-2.0
"""Policies: one of a single file, from its bytes; and edits of a policy's text, as an administrator makes them: each
changes one value, and what stands around it stays."""

import re
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from virtguard.model import Policy

Edit = Callable[[str], str]


def load_policy(data: bytes, source: str) -> 'Policy':
    """Read a policy that is one file, by nothing that a host knows; `source` is its name in messages."""
    from virtguard.policy.layer import read_layer  # who only edits a text need not have the library at hand
    from virtguard.policy.merge import merge_layers

    return merge_layers([read_layer(data, source)])


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
