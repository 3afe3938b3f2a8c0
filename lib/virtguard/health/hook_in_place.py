# SPDX-License-Identifier: Apache-2.0
"""The files by which libvirt reaches the guard: the link among its hooks, the program, the interpreter, the package."""

import ast
import os
import re
import shlex
import stat
import subprocess

from .. import __version__
from ..errors import GuardError, NotAFileError
from ..match.libvirt_schema import libvirt_version
from ..policy.installation import installer
from ..trust import check_ownership, directories, is_only_ours, read_file
from .condition import AMISS, NOTE, OK, UNKNOWN, Condition
from .programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional

    from ..policy.installation import Installation

_MAIN, _SECOND = 'qemu', 'qemu.d'
_SEVERAL = (6, 5)  # the version of libvirt that runs more than one hook
_MAX_SIZE = 1 << 20
_VARIABLE = re.compile(r"^(python|lib|policy|log)=('.*)$", re.MULTILINE)
_PATIENCE = 20  # seconds for an interpreter to start
_LOADS = 'import sys; sys.path.insert(0, sys.argv[1]); from virtguard.hook import worker; from virtguard import journal'
_LOOKS = """
import sys
sys.path.insert(0, sys.argv[1])
from virtguard.hook.start_file_maker import look
look(sys.argv[1:], sys.stdout)
"""
# What that answers: how bad it is, and what it means.
_START_FILES = {
    'whole': (OK, 'the start file of %s is whole, and of this package'),
    'missing': (NOTE, 'there is no start file for %s, as after an upgrade of it: each start of a domain takes longer'),
    'outdated': (NOTE, 'the start file of %s is of other sources, and not used: each start of a domain takes longer'),
    'damaged': (AMISS, 'the start file of %s is damaged, and not used: each start of a domain takes longer'),
}


def ways_to_hook(installation: 'Installation') -> 'List[str]':
    """Where among its hooks libvirt finds what leads to ours: links, or the hook of another program that names it."""
    main = os.path.join(installation.hooks, _MAIN)
    links = _our_links(installation)
    return links or ([main] if not os.path.islink(main) and _names_program(main, installation.program) else [])


def _our_links(installation: 'Installation') -> 'List[str]':
    hooks = installation.hooks
    second = os.path.join(hooks, _SECOND)
    names = [os.path.join(second, name) for name in sorted(os.listdir(second))] if os.path.isdir(second) else []
    return [path for path in [os.path.join(hooks, _MAIN), *names] if _leads_to(path, installation.program)]


def examine_hook(installation: 'Installation') -> 'Iterator[Condition]':
    """Everything from the link to the package that it leads to."""
    yield _link(installation)
    program = list(_program(installation))
    yield from program
    if all(condition.state != AMISS for condition in program):
        yield from _what_it_runs(installation)


def _leads_to(link: str, program: str) -> bool:
    return os.path.islink(link) and os.path.realpath(link) == os.path.realpath(program)


def _link(installation: 'Installation') -> Condition:
    main = os.path.join(installation.hooks, _MAIN)
    links = _our_links(installation)
    make = 'ln -sfn %s %s' % (installation.program, main) if os.path.exists(installation.program) else installer()
    if not os.path.isdir(installation.hooks):
        return Condition('link', AMISS, 'libvirt has no hooks: %s is not a directory' % installation.hooks, installer())
    if main in links:
        return Condition('link', OK, '%s leads to %s' % (main, installation.program))
    if links:
        version = libvirt_version(installation.host)
        if version is not None and version[:2] < _SEVERAL:
            text = 'libvirt %d.%d runs only %s, and not %s' % (*version[:2], main, links[0])
            return Condition('link', AMISS, text, make)
        beside = ', beside %s, the hook of another program' % main if os.path.lexists(main) else ''
        return Condition('link', OK, '%s leads to %s%s' % (links[0], installation.program, beside))
    if not os.path.lexists(main):
        return Condition('link', AMISS, 'libvirt calls no hook: there is no %s' % main, make)
    if os.path.islink(main) and not os.path.exists(main):
        target = os.readlink(main)
        return Condition('link', AMISS, '%s leads to %s, which is not there' % (main, target), make)
    if ways_to_hook(installation):
        return Condition('link', NOTE, '%s belongs to another program, and speaks of %s' % (main, installation.program))
    return Condition('link', AMISS, '%s belongs to another program, which does not call the guard' % main, installer())


def _names_program(path: str, program: str) -> bool:
    try:
        return os.fsencode(program) in read_file(path, _MAX_SIZE)
    except (NotAFileError, OSError):
        return False


def _program(installation: 'Installation') -> 'Iterator[Condition]':
    path = installation.program
    try:
        status = os.stat(path)
    except OSError as error:
        yield Condition('program', AMISS, '%s: %s' % (path, error.strerror), installer())
        return
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        yield Condition('program', AMISS, '%s is not a regular file' % path, installer())
    elif not is_only_ours(status):
        text = '%s belongs to uid %d and has mode %04o: others could change it' % (path, status.st_uid, mode)
        yield Condition('program', AMISS, text, 'chown root %s; chmod 755 %s; then read it' % (path, path))
    elif mode & 0o555 != 0o555:
        text = '%s has mode %04o: who must run it cannot' % (path, mode)
        yield Condition('program', AMISS, text, 'chmod 755 %s' % path)
    elif not os.access(path, os.X_OK):
        text = '%s cannot be executed, whatever its mode: its file system is mounted with noexec' % path
        yield Condition('program', AMISS, text, 'mount -o remount,exec %s' % _mount_point(path))
    else:
        yield from _way(path)


def _way(path: str) -> 'Iterator[Condition]':
    try:
        for directory in directories(path):
            check_ownership(directory, os.stat(directory))
    except (GuardError, OSError) as error:
        yield Condition('program', AMISS, 'somebody else could replace %s: %s' % (path, error))
    else:
        yield Condition('program', OK, '%s can be executed, and only root can change it' % path)


def _mount_point(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _what_it_runs(installation: 'Installation') -> 'Iterator[Condition]':
    try:
        text = read_file(installation.program, _MAX_SIZE).decode('utf-8', 'surrogateescape')
        variables = {name: shlex.split(value)[0] for name, value in _VARIABLE.findall(text)}
    except (NotAFileError, OSError, ValueError) as error:
        yield Condition('program', UNKNOWN, '%s cannot be read: %s' % (installation.program, error))
        return
    missing = {'python', 'lib', 'policy', 'log'}.difference(variables)
    if missing:
        text = '%s is not the hook that install.sh writes: it has no %s' % (installation.program, sorted(missing)[0])
        yield Condition('program', AMISS, text, installer())
        return
    if os.path.realpath(variables['policy']) != os.path.realpath(installation.policy):
        text = 'the hook obeys %s, and this command %s' % (variables['policy'], installation.policy)
        yield Condition('program', AMISS, text, installer())
    yield _version(variables['lib'])
    interpreter = _interpreter(variables['python'], variables['lib'])
    yield interpreter
    if interpreter.state == OK:
        yield _start_file(variables['python'], variables['lib'])


def _version(library: str) -> Condition:
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    found = _stated_version(os.path.join(library, 'virtguard', '__init__.py'))
    if found is None:
        return Condition('package', AMISS, 'the hook runs a package in %s, which is not there' % library, installer())
    if os.path.realpath(library) != os.path.realpath(own):
        text = 'the hook runs version %s in %s, and this command is version %s in %s' % (
            found,
            library,
            __version__,
            own,
        )
        return Condition('package', AMISS, text, installer())
    return Condition('package', OK, 'version %s in %s, of hook and command' % (found, library))


def _stated_version(path: str) -> 'Optional[str]':
    try:
        text = read_file(path, _MAX_SIZE).decode('utf-8', 'replace')
    except (NotAFileError, OSError):
        return None
    found = re.search(r'^__version__ = (.*)$', text, re.MULTILINE)
    try:
        return str(ast.literal_eval(found.group(1))) if found else ''
    except (SyntaxError, ValueError):
        return ''


def _interpreter(python: str, library: str) -> Condition:
    """Whether it starts, and loads what a start of a domain needs and what judging in full needs."""
    if not os.access(python, os.X_OK):
        return Condition('interpreter', AMISS, 'there is no %s to run the guard with' % python, installer())
    program = _LOADS + '; from virtguard import libraries; libraries.enable_packages(); import lxml.etree, yaml'
    try:
        result = run_program([python, '-I', '-S', '-B', '-c', program, library], _PATIENCE)
    except subprocess.TimeoutExpired:
        return Condition('interpreter', AMISS, '%s does not end within %d seconds' % (python, _PATIENCE), installer())
    except OSError as error:
        return Condition('interpreter', AMISS, '%s: %s' % (python, error.strerror), installer())
    if result.returncode:
        said = (result.stdout + result.stderr).decode('utf-8', 'backslashreplace')
        lines = said.splitlines() or ['exit status %d' % result.returncode]
        text = '%s cannot run the guard: %s' % (python, lines[-1])
        return Condition('interpreter', AMISS, text, installer())
    return Condition('interpreter', OK, '%s runs the guard, with lxml and PyYAML' % python)


def _start_file(python: str, library: str) -> Condition:
    """The one of the hook's interpreter: another one has another file, so it must look itself."""
    try:
        result = run_program([python, '-I', '-S', '-B', '-c', _LOOKS, library], _PATIENCE)
        state, text = _START_FILES[result.stdout.decode('utf-8', 'replace')]
    except (KeyError, OSError, subprocess.TimeoutExpired):
        return Condition('start-file', UNKNOWN, 'the start file of %s cannot be looked at' % python, installer())
    return Condition('start-file', state, text % python, '' if state == OK else installer())
