# SPDX-License-Identifier: Apache-2.0
"""SHA-256 without hashlib, whose import (OpenSSL) costs more than the digest. Pure: no I/O."""

try:
    from _sha256 import sha256  # to Python 3.11; absent where the distribution allows OpenSSL's only
except ImportError:
    try:
        from _sha2 import sha256  # from Python 3.12
    except ImportError:
        from hashlib import sha256


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of `data` as 64 hexadecimal digits."""
    return str(sha256(data).hexdigest())
