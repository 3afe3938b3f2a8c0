# SPDX-License-Identifier: Apache-2.0
"""The names that --format knows. What has them is in `formats`: the parser, which each TAB makes, needs no more."""

FORMAT_NAMES = ['text', 'jsonl']  # those that every command offers
VERDICT_FORMATS = [*FORMAT_NAMES, 'json', 'sarif', 'junit', 'gitlab', 'github', 'markdown', 'xccdf']
