# SPDX-License-Identifier: Apache-2.0
"""What the tests of the hook share: calls that are not waited for, and how one is refused without a verdict."""

import re
import subprocess

from installation import ENVIRONMENT

# An expression whose evaluation takes minutes inside libxml2, where no Python signal handler runs.
ENDLESS_RULE = """
  - id: endless
    title: endless
    action: deny
    match: /domain[count(//*[count(//*[count(//*) > 1]) > 1]) = 0]
    why: It never ends.
    remedy: none
"""


def start_hook(installed, name, operation, env=ENVIRONMENT):
    return subprocess.Popen(
        [str(installed.hook), name, operation, 'begin', '-'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd='/',
    )


def refused(result):
    """The text of a refusal without a verdict, after asserting what holds for each."""
    assert (result.returncode, result.stdout) == (2, b'')
    text = result.stderr.decode('ascii')
    assert 'Traceback' not in text
    assert re.match(r"virt-guard: domain '.*' could not be judged: .+", text.splitlines()[0])
    return text
