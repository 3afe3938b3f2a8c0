# SPDX-License-Identifier: Apache-2.0
"""The process of a user that polkit is asked about."""

import os
import pwd
import signal
import subprocess

from support.capabilities import missing
from virtguard.commands.polkit.asking import UserProcess


def test_a_user_who_stops_it_holds_nobody_up():
    if os.geteuid() != 0:
        missing('only root becomes another user')
    user = pwd.getpwnam('nobody')
    signal.alarm(60)  # instead of waiting for ever
    try:
        with UserProcess(user):
            (process,) = subprocess.check_output(['pgrep', '-P', str(os.getpid()), '-u', 'nobody']).split()
            subprocess.check_call(['setpriv', '--reuid=nobody', '--clear-groups', 'kill', '-STOP', process.decode()])
    finally:
        signal.alarm(0)
