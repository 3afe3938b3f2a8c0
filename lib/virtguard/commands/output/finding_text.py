# SPDX-License-Identifier: Apache-2.0
"""Text about a finding for documents that other programs read. Others have chosen most of it, such as the owner of a
domain: so it is on one line, and not long."""

from ... import model
from ...waivers import describe
from ...wording import escape, fill, translated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ...wording import Texts

_LONGEST = 1000  # characters; names of files and domains have no other limit than that of their document


def one_line(text: str) -> str:
    """`text` with white space folded, control characters and halves of characters escaped, and no longer than a reader
    can use."""
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1] + '…'
    return escape(' '.join(text.split()))


def seen(finding: model.Finding, texts: 'Optional[Texts]' = None) -> str:
    """What was found, without the domain.

    :param texts: of another language than English
    """
    texts = texts or {}
    text = one_line(translated(texts, finding.message))
    if finding.evidence and finding.status != model.UNKNOWN:
        text += ': ' + one_line(finding.evidence)
    return fill(texts, '%s, and %d more', text, finding.more) if finding.more else text


def followed(verdict: model.Verdict, finding: model.Finding, texts: 'Optional[Texts]' = None) -> str:
    """What follows from it: who permits it, or what to do. `texts` as above."""
    texts = texts or {}
    if finding.status == model.WAIVED and finding.waiver is not None:
        return fill(texts, 'waived: %s', one_line(translated(texts, describe(finding.waiver, verdict.today))))
    return fill(texts, 'remedy: %s', one_line(translated(texts, finding.remedy)))


def whole_text(verdict: model.Verdict, finding: model.Finding) -> str:
    """All of it, for a reader that sees nothing else. Processes of the host belong to no domain."""
    who = "domain '%s': " % one_line(verdict.domain_name) if verdict.domain_name else ''
    return '%s%s; %s' % (who, seen(finding), followed(verdict, finding))
