# SPDX-License-Identifier: Apache-2.0
"""Where verdicts are told, and in which formats: on standard output, and in any number of files at once.

The text about a domain is made in the process that judges it (`verdict`, `next_start`, `failure`), and is written by
the one that was called, in which an Outputs is a context: if something ends the work early, what has been written stays
a whole document that says so; if that is no error to tell of, as Ctrl-C, the files stay as they were.
"""

import json
import os
import signal

from ... import model, wording
from ...errors import GuardError
from ..exit_status import Tally
from ..replaced_file import ReplacedFile
from ..terminal import give_up_output, show, wants_colour
from .formats import verdict_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Iterable, List, Optional, Sequence, Tuple, TypeVar, Union

    from .verdict_format import VerdictFormat

    Self = TypeVar('Self', bound='Outputs')


class StandardOutput:
    """If its reader has seen enough, the files are written all the same."""

    def __init__(self) -> None:
        self._is_read = True

    def open(self) -> None:
        pass

    def write(self, text: str) -> None:
        if not self._is_read:
            return
        try:
            show(text)
        except BrokenPipeError:
            give_up_output()
            self._is_read = False

    def close(self) -> None:
        pass

    def discard(self) -> None:
        pass


class Outputs:
    """`tally` counts what was decided about the domains."""

    def __init__(
        self, own: 'Optional[VerdictFormat]', files: 'Sequence[Tuple[VerdictFormat, str]]', at: 'Sequence[str]'
    ) -> None:
        """
        :param own: what is told on standard output; None: nothing
        :param files: what is told in files, and their paths
        :param at: when the rules are judged: model.ADMISSION, START, RUNTIME
        """
        self.tally = Tally()
        self._own = own
        self._files = files
        self._at = at
        self._formats = ([] if own is None else [own]) + [format_ for format_, _ in files]
        self._places: 'List[Union[StandardOutput, ReplacedFile]]' = []
        self._is_under_way = False

    def verdict(self, file: str, verdict: model.Verdict) -> str:
        return _packed([format_.verdict(file, verdict) for format_ in self._formats])

    def next_start(self, file: str, verdict: model.Verdict, when: 'Sequence[str]') -> str:
        return _packed([format_.next_start(file, verdict, when) for format_ in self._formats])

    def failure(self, file: str, error: str, line: int = 0) -> str:
        return _packed([format_.failure(file, error, line) for format_ in self._formats])

    def __enter__(self: 'Self') -> 'Self':
        return self

    def begin(self, policy: model.Policy) -> None:
        """
        :raises GuardError: a file cannot be written
        """
        if self._files:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        if self._own is not None:
            self._places.append(StandardOutput())
        for _, path in self._files:
            self._places.append(ReplacedFile(path))  # before it is opened: Ctrl-C may come at any time
            self._places[-1].open()
        rules = [rule for at in self._at for rule in policy.rules_at(at)]
        self._write(format_.begin(policy, rules) for format_ in self._formats)
        self._is_under_way = True

    def add(self, text: str, decisions: 'Iterable[str]') -> None:
        """Take the text on some domains, and what was decided about each; '' stands for a file that was skipped."""
        for decision in decisions:
            self.tally.add(decision)
        if not text:
            return
        if len(self._formats) == 1:
            self._write([self._formats[0].add(text)])
            return
        for line in text.splitlines():
            self._write(format_.add(told) for format_, told in zip(self._formats, json.loads(line)))

    def end(self, *lines: str) -> None:
        """Print what is left, and lines that tell people how much was judged; by default the tally."""
        self._end(self._formats, lines or (self.tally.in_words(),))

    def __exit__(self, kind: 'Optional[type]', error: 'Optional[BaseException]', trace: object) -> None:
        try:
            if isinstance(error, GuardError) and self._is_under_way:
                reason = str(error)
                documents = [format_ if format_.one_document else None for format_ in self._formats]
                self._write(format_.add(format_.failure('', reason)) if format_ else '' for format_ in documents)
                self._end(documents, (wording.escape(reason),))
        finally:
            while self._places:
                self._places.pop().discard()

    def _end(self, formats: 'Sequence[Optional[VerdictFormat]]', lines: 'Sequence[str]') -> None:
        self._is_under_way = False
        for format_, place in zip(formats, self._places):
            for piece in () if format_ is None else format_.end(self.tally, lines):
                place.write(piece)
        for place in self._places:
            place.close()

    def _write(self, texts: 'Iterable[str]') -> None:
        for place, text in zip(self._places, texts):
            if text:
                place.write(text)


def _packed(texts: 'List[str]') -> str:
    """The texts about one domain in all formats, as one."""
    if len(texts) == 1:
        return texts[0]
    return json.dumps(texts) + '\n' if any(texts) else ''


def chosen_outputs(
    arguments: 'argparse.Namespace', show_admitted: bool
) -> 'Tuple[Optional[VerdictFormat], List[Tuple[VerdictFormat, str]]]':
    """What --format and --output ask for: the format of standard output, and those of files, with their paths. A file
    without a format of its own takes that of --format, and standard output tells people.

    :raises GuardError: a file is named twice
    """
    files = []
    seen = set()
    for name, path in arguments.output:
        if os.path.abspath(path) in seen:
            raise GuardError('--output: %s is named twice' % path)
        seen.add(os.path.abspath(path))
        files.append((verdict_format(name or arguments.format)(False, show_admitted), path))
    own = arguments.format if all(name is not None for name, _ in arguments.output) else 'text'
    return verdict_format(own)(wants_colour(), show_admitted), files
