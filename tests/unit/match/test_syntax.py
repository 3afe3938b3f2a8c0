# SPDX-License-Identifier: Apache-2.0
"""The syntax tree of an expression: that each part knows where it stands."""

import pytest
from virtguard.match.syntax import parse


def offsets(node):
    """The text at the offset of every step that was written as one, and of every literal."""
    found = [(node.offset, "'%s'" % node.text)] if node.kind == 'literal' else []
    for step in node.steps:
        if (step.axis, step.test) not in (('self', 'node()'), ('parent', 'node()')):
            found.append((step.offset, step.test))
        for predicate in step.predicates:
            found += offsets(predicate)
    for operand in node.operands:
        found += offsets(operand)
    return found


@pytest.mark.parametrize(
    'expression, count',
    [
        ('/domain/devices/disk', 3),
        ("/domain[@type = 'kvm' or 'x' = name]/devices/*", 7),
        ("count(/domain/devices/disk[not(source/@file)]) > 3 or contains(/domain/name, 'x')", 8),
        ('(/domain/devices/disk | /domain/devices/tpm)[2]/@model', 7),
        ('/domain/child::qemu:commandline/descendant::text()', 3),
    ],
)
def test_offsets(expression, count):
    found = offsets(parse(expression))
    assert len(found) == count
    for offset, text in found:
        text = text[:-2] if text.endswith('()') else text
        assert expression[offset : offset + len(text)] == text


def test_offset_of_short_steps():
    (step,) = parse('/domain/name[. = ..]').steps[1].predicates[0].operands[1].steps
    assert (step.axis, step.offset) == ('parent', 17)
