# SPDX-License-Identifier: Apache-2.0
"""What libvirt's own XML library accepts: libxml2, called as libvirt calls it (virXMLParseHelper in src/util/virxml.c),
so without lxml, and without what the guard makes of lxml's errors."""

import ctypes
import ctypes.util

_NOERROR, _NOWARNING, _NONET = 1 << 5, 1 << 6, 1 << 11
_OPTIONS = _NONET | _NOERROR | _NOWARNING


class Libxml2:
    """The system's libxml2."""

    def __init__(self):
        name = ctypes.util.find_library('xml2')
        assert name, 'there is no libxml2 for libvirt to use'
        self._library = ctypes.CDLL(name)
        self._library.xmlReadMemory.restype = ctypes.c_void_p
        self._library.xmlReadMemory.argtypes = [
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        self._library.xmlFreeDoc.argtypes = [ctypes.c_void_p]

    def accepts(self, data):
        """Whether libvirt would get a document of these bytes."""
        document = self._library.xmlReadMemory(data, len(data), b'domain.xml', None, _OPTIONS)
        if document:
            self._library.xmlFreeDoc(document)
        return bool(document)
