# SPDX-License-Identifier: Apache-2.0
"""What runs each command, imported when it is called. The modules are named for the commands."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..policy.installation import Installation


def check(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .check import check as run

    return run(arguments, installation)


def scan(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .check import scan as run

    return run(arguments, installation)


def watch(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .watch import run

    return run(arguments, installation)


def tell_status(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .status import run

    return run(arguments, installation)


def report(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .report import run

    return run(arguments, installation)


def write_metrics(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .metrics import run

    return run(arguments, installation)


def list_rules(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.rules import list_rules as run

    return run(arguments, installation)


def explain(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    if arguments.domain is not None:
        from .explain_domain import run
    else:
        from .policies.rules import explain as run
    return run(arguments, installation)


def check_policy(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.policy import check as run

    return run(arguments, installation)


def edit_policy(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.policy_edit import run

    return run(arguments, installation)


def show_policy(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.policy import show_effective as run

    return run(arguments, installation)


def test_policy(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.fixtures import run

    return run(arguments, installation)


def diff_policies(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.policy_diff import run

    return run(arguments, installation)


def compile_policy(arguments: 'argparse.Namespace', installation: 'Installation') -> int:
    from .policies.policy import compile_in_force as run

    return run(arguments, installation)
