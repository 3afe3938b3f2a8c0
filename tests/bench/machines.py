# SPDX-License-Identifier: Apache-2.0
"""Throwaway machines (see tests/live/machine.py) in which commands are measured."""

import sys
from typing import Optional

import environment
from measuring import Driver

sys.path[:0] = [str(environment.CHECKOUT / place) for place in ('lib', 'tests', 'tests/live', 'tests/installed')]

from machine import Machine, unavailable  # noqa: E402

__all__ = ['MeasuringMachine', 'unavailable']


class MeasuringMachine(Machine):
    """A machine with a driver inside, so that the way into it takes no part in what is measured."""

    _driver: Optional[Driver] = None

    def __enter__(self) -> 'MeasuringMachine':
        self.start()
        return self

    def start(self) -> None:
        super().start()
        self._driver = Driver(self.popen)

    def stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()
            self._driver = None
        super().stop()

    @property
    def driver(self) -> Driver:
        assert self._driver is not None
        return self._driver

    def install(self) -> None:
        """Install virt-guard by its own installer; the policy is compiled then."""
        self.run([environment.CHECKOUT / 'install.sh', '--no-deps', '--python', environment.PYTHON])
