# SPDX-License-Identifier: Apache-2.0
"""What tests need of the machine, found out by trying: what it does not have skips with its reason, and fails in CI."""

import functools
import os
import subprocess
from typing import NoReturn, Optional

import pytest


def missing(reason: str) -> 'NoReturn':
    if os.environ.get('CI'):
        pytest.fail('missing in CI: ' + reason, pytrace=False)
    pytest.skip(reason)


def need_mount_namespaces() -> None:
    """For tests that mount something over a directory of the host, which the host must not see."""
    if os.geteuid() != 0:
        missing('needs root, for a mount namespace')
    _need('mount namespaces', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/run')


def need_user_namespaces() -> None:
    _need('user namespaces', '--user', '--map-root-user', 'true')


def _need(what: str, *arguments: str) -> None:
    reason = _refusal(arguments)
    if reason is not None:
        missing('no %s here: %s' % (what, reason))


@functools.lru_cache(maxsize=None)
def _refusal(arguments: 'tuple[str, ...]') -> Optional[str]:
    """What `unshare ARGUMENTS` complains of, or None."""
    result = subprocess.run(['unshare', *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return None if result.returncode == 0 else result.stderr.decode('utf-8', 'replace').strip() or 'unshare fails'
