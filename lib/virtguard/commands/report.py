# SPDX-License-Identifier: Apache-2.0
"""`virt-guard report`: for who was not there, whether the guard was on and what it has found, as the records tell."""

import os
import time

from ..errors import GuardError
from ..health.journal_files import JournalFiles
from ..health.journal_reader import oldest_entry, synchronise
from ..host import today
from ..libraries import blame
from ..model import Phrase
from ..reporting.account import Account
from ..reporting.contents import Contents, Origin
from ..reporting.html import html_lines
from ..reporting.json_lines import json_lines
from ..reporting.moments import parse_period
from ..reporting.new_files import NewFile
from ..reporting.pack import Pack
from ..reporting.reading import STANDARD_INPUT, Reading, entries_of_file, entries_of_files, entries_of_journal
from ..reporting.text import text_lines
from ..wording import quoted
from .exit_status import FINE
from .language import language, texts
from .terminal import complain, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Callable, Iterator, Optional

    from ..policy.installation import Installation
    from ..reporting.moments import Period

TEXT, HTML, JSONL = FORMATS = ('text', 'html', 'jsonl')
_PIECE = 1 << 16  # characters


class Report:
    """All that is told of a period, which any format may lay out."""

    def __init__(
        self,
        arguments: 'argparse.Namespace',
        installation: 'Installation',
        keep: 'Optional[Callable[[bytes], None]]' = None,
    ) -> None:
        """
        :param keep: gets each record, as a line
        :raises GuardError: the options make no sense, or the records cannot be read
        """
        self._made = time.time()
        period = parse_period(arguments.since, arguments.until, self._made)
        self._reading = Reading(keep)
        self._account = Account(period)
        is_current = arguments.records is not None or arguments.journal is not None or synchronise()
        files = None if arguments.journal is None else JournalFiles(arguments.journal)
        if arguments.records is not None:
            entries = entries_of_file(arguments.records)
        elif files is not None:
            entries = entries_of_files(files)
        else:
            entries = entries_of_journal(period)
        self._account.add_all(self._reading.records(entries, period))
        self.origin = _origin(arguments, installation, period)
        if files is not None:
            self.origin.unread += ['not all of %s could be read: %s' % damage for damage in files.damaged]
        if not is_current:
            self.origin.unread.append('journald does not answer: the latest records may be missing')
        self._contents = Contents(self._account, self._reading, self.origin, self._made)

    def as_format(self, name: str) -> 'Iterator[str]':
        """The pieces of the text."""
        if name == HTML:
            return html_lines(self._contents, texts(), language())
        if name == JSONL:
            return json_lines(self._account, self._reading, self.origin, self._made, self._contents)
        return text_lines(self._contents, texts())


def run(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    """Write the report. Returns the exit status."""
    if arguments.pack is not None:
        if arguments.format is not None:
            raise GuardError('--format: a pack holds the report in every format', 'leave it out')
        with Pack(arguments.pack) as pack:
            report = Report(arguments, installation, pack.records.write)
            texts = {'report.' + suffix: report.as_format(name) for name, suffix in zip(FORMATS, ('txt', HTML, JSONL))}
            pack.finish(texts, report.origin.present)
        complain('%s: to check it, type: cd %s && sha256sum -c SHA256SUMS' % (arguments.pack, quoted(arguments.pack)))
        return FINE
    file = None if arguments.output is None else NewFile(arguments.output)
    try:
        pieces = Report(arguments, installation).as_format(arguments.format or TEXT)
        for piece in pieces:
            show(piece) if file is None else file.write(piece)
        if file is not None:
            file.close()
    except BaseException:
        if file is not None:
            file.remove()
        raise
    return FINE


def _origin(arguments: 'argparse.Namespace', installation: 'Installation', period: 'Period') -> Origin:
    if arguments.records is not None:
        is_file = arguments.records != STANDARD_INPUT
        return Origin(os.path.abspath(arguments.records) if is_file else Phrase('standard input'))
    if arguments.journal is not None:
        return Origin('the journals in ' + os.path.abspath(arguments.journal), oldest_entry(arguments.journal))
    name, unread, present = Phrase('the journal of this host'), list(_unread(installation)), None
    if installation.installed:
        try:
            from ..reporting.present import look_at_present

            present = look_at_present(installation, today(), period)
        except Exception as error:  # the account of the past is worth more than a library that is broken
            unread.append('what holds now is not known: %s' % blame(error))
    return Origin(name, oldest_entry(), unread, present)


def _unread(installation: 'Installation') -> 'Iterator[str]':
    """What is said of records that neither journald nor syslog took."""
    try:
        size = os.stat(installation.log).st_size
    except OSError:
        return
    text = '%s holds %d bytes of records that journald and syslog did not take: they are not in this report'
    if size:
        yield text % (installation.log, size)
