"""Tokens in the fields Authorization and Proxy-Authorization.

Parses bytes and compares them. Does not know which tokens are valid.
"""

import binascii
import hmac
from collections.abc import Sequence


def token_of(value: bytes) -> bytes:
    """Return the token of a Bearer field value or the password of a Basic one, otherwise b"".

    Bearer is RFC 6750 section 2.1, Basic is RFC 7617 section 2.
    """
    scheme, _, encoded = value.partition(b" ")
    encoded = encoded.strip(b" ")
    if scheme.lower() == b"bearer":
        return encoded
    if scheme.lower() != b"basic":
        return b""
    try:
        return binascii.a2b_base64(encoded, strict_mode=True).partition(b":")[2]
    except binascii.Error:
        return b""


def is_one_of(given: bytes, tokens: Sequence[bytes]) -> bool:
    """Return whether `given` is one of the tokens, in a time that does not depend on which."""
    # `any` would stop at the first match, and the time would show how many tokens were compared.
    return True in [hmac.compare_digest(given, token) for token in tokens]
