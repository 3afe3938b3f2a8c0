# SPDX-License-Identifier: Apache-2.0
"""The `virt-guard` command: what it calls, and how it reports errors.

Exit status: 0 admitted, 1 something is denied, 2 something could not be judged. Findings go to standard output,
errors to standard error.
"""

import os
import signal
import sys
import time

from .. import wording
from ..errors import GuardError
from ..libraries import blame
from ..policy.installation import Installation, not_installed
from ..policy.problems import PolicyError
from .exit_status import INTERRUPTED, NOT_JUDGED
from .language import ask_for
from .parser import build_parser
from .terminal import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence


def main(argv: 'Optional[Sequence[str]]' = None, installation: Installation = not_installed()) -> int:  # noqa: B008
    """Run the command; `installation` says where the installation has its policy. Returns the exit status."""
    # If the reader of a pipe has seen enough, the program ends silently, as any filter does.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Waivers expire by the host's own calendar, as in the hook, whatever time zone the caller has set.
    os.environ.pop('TZ', None)
    time.tzset()
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        if words[:1] == ['__complete']:
            from .completing.answer import run

            return run(words[1:], installation)
        arguments = build_parser().parse_args(words)
        if getattr(arguments, 'language', None):
            ask_for(arguments.language)
        return int(arguments.run(arguments, installation))
    except PolicyError as error:
        for problem in error.problems:
            complain(str(problem))
        return NOT_JUDGED
    except GuardError as error:
        complain('%s: %s' % (wording.PROGRAM, error))
        return NOT_JUDGED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        complain('%s: %s' % (wording.PROGRAM, blame(error)))
        return NOT_JUDGED
