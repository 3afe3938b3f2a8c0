# SPDX-License-Identifier: Apache-2.0
"""libvirt's own schema of domains as the host has it, and which libvirt the host has. Executes nothing."""

import glob
import os
import re

from ..errors import NotAFileError
from ..trust import read_file
from .relaxng import Schema, SchemaError, load_schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .. import model

_DIRECTORY = '/usr/share/libvirt/schemas'
_DOMAIN = 'domain.rng'
_MAX_BYTES = 16 * 1024 * 1024
_FILE_NAME = re.compile(r'\w[\w.-]*\Z')
# libvirt's meson.build: libvirt.so.0.(1000 * major + minor).micro
_LIBRARY = re.compile(r'libvirt\.so\.0\.(\d+)\.(\d+)\Z')


def read_schema(root: str = '') -> 'Optional[Schema]':
    """The schema of domains; None where the host has none.

    :param root: '' for the host, or a directory that stands for its /
    :raises SchemaError: there is one, but it cannot be read
    """
    directory = root + _DIRECTORY
    if not os.path.lexists(os.path.join(directory, _DOMAIN)):
        return None
    return load_schema(_DOMAIN, lambda name: _read(directory, name))


def _read(directory: str, name: str) -> bytes:
    path = os.path.join(directory, name)
    if not _FILE_NAME.match(name):
        raise SchemaError('a schema in %s includes %r, which is elsewhere' % (directory, name))
    try:
        data = read_file(path, _MAX_BYTES)
    except NotAFileError as error:
        raise SchemaError(error.message) from None
    except OSError as error:
        raise SchemaError('cannot read %s: %s' % (path, error.strerror)) from None
    if len(data) > _MAX_BYTES:
        raise SchemaError('%s is larger than %d bytes' % (path, _MAX_BYTES))
    return data


def libvirt_version(root: str = '') -> 'Optional[model.Version]':
    """The version of the host's libvirt, from the name of its library; None if there is not exactly one."""
    versions = set()
    for directory in ('/usr/lib', '/usr/lib64', '/usr/lib/*'):
        for link in glob.glob(glob.escape(root) + directory + '/libvirt.so.0'):
            found = _LIBRARY.match(os.path.basename(os.path.realpath(link)))
            if found:
                age, micro = map(int, found.groups())
                versions.add((age // 1000, age % 1000, micro))
    return versions.pop() if len(versions) == 1 else None
