# SPDX-License-Identifier: Apache-2.0
"""The few calls of libvirt's client library that ask a guest agent which system runs.

By ctypes: where a daemon runs, so is its library, but not its binding for Python. And what virsh prints is text, in
which a guest that answers with line ends could tell whatever it likes.

A call blocks as long as the daemon does, and nothing in this process ends it: see asking.
"""

import ctypes

from ...errors import GuardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    from ...health.guest_agents import RunningGuest

LIBRARY = 'libvirt.so.0'
URI = b'qemu:///system'
# What is asked for; the library's names for them begin with "os.".
_FIELDS = ('id', 'name', 'pretty-name', 'version', 'version-id', 'variant-id')
_OS = 1 << 1  # VIR_DOMAIN_GUEST_INFO_OS
_STRING = 7  # VIR_TYPED_PARAM_STRING
_LONGEST = 512  # bytes of a field that are taken
_NEEDED = '5.10'  # the first libvirt that has virDomainAgentSetResponseTimeout


class _Value(ctypes.Union):
    _fields_ = [('number', ctypes.c_ulonglong), ('real', ctypes.c_double), ('text', ctypes.c_char_p)]


class _Parameter(ctypes.Structure):  # virTypedParameter
    _fields_ = [('field', ctypes.c_char * 80), ('type', ctypes.c_int), ('value', _Value)]


class Libvirt:
    """A connection to the daemon of this host.

    :raises GuardError: the library is not there or too old, or the daemon does not take the connection
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            hint = 'libvirt-libs has it on RHEL, libvirt0 on Debian and Ubuntu'
            raise GuardError("libvirt's library cannot be loaded: %s" % error, hint) from None
        try:
            self._set_patience = library.virDomainAgentSetResponseTimeout
            self._guest_info = library.virDomainGetGuestInfo
        except AttributeError:
            raise GuardError(
                'libvirt is older than %s, and cannot give up a guest agent that hangs' % _NEEDED
            ) from None
        pointer = ctypes.POINTER(_Parameter)
        self._set_patience.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
        self._guest_info.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.POINTER(pointer),
            ctypes.POINTER(ctypes.c_int),
            ctypes.c_uint,
        ]
        self._message = _function(library, 'virGetLastErrorMessage', ctypes.c_char_p)
        self._find = _function(
            library, 'virDomainLookupByUUIDString', ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p
        )
        self._free_domain = _function(library, 'virDomainFree', ctypes.c_int, ctypes.c_void_p)
        self._free_values = _function(library, 'virTypedParamsFree', None, pointer, ctypes.c_int)
        self._new_values = pointer
        connect = _function(library, 'virConnectOpen', ctypes.c_void_p, ctypes.c_char_p)
        self._connection = connect(URI)
        if not self._connection:
            raise GuardError('libvirt cannot be asked: %s' % self._said())

    def ask(self, guest: 'RunningGuest', seconds: int) -> 'Dict[str, bytes]':
        """What the guest's agent says of the system, as far as it says something; each value is cut.

        libvirt waits `seconds` for each of its answers, or less if somebody has said so. That holds until the domain
        ends, so it is put back.

        :raises GuardError: why there is no answer
        """
        domain = self._find(self._connection, guest.uuid.encode())
        if not domain:
            raise GuardError(self._said())
        try:
            changes = not 0 <= guest.patience <= seconds
            if changes and self._set_patience(domain, seconds, 0) < 0:
                raise GuardError(self._said())
            try:
                return self._system(domain)
            finally:
                if changes:
                    self._set_patience(domain, guest.patience, 0)
        finally:
            self._free_domain(domain)

    def _system(self, domain: 'Any') -> 'Dict[str, bytes]':
        values, count = self._new_values(), ctypes.c_int(0)
        if self._guest_info(domain, _OS, ctypes.byref(values), ctypes.byref(count), 0) < 0:
            raise GuardError(self._said())
        found = {}
        try:
            for number in range(count.value):
                name = values[number].field.decode('ascii', 'replace')
                if name.startswith('os.') and name[3:] in _FIELDS and values[number].type == _STRING:
                    found[name[3:]] = (values[number].value.text or b'')[:_LONGEST]
        finally:
            self._free_values(values, count)
        return found

    def _said(self) -> str:
        return str((self._message() or b'').decode('utf-8', 'replace')) or 'no reason is given'


def _function(library: ctypes.CDLL, name: str, result: 'Any', *arguments: 'Any') -> 'Any':
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function
