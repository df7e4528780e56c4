r"""The text in which the corpus spells bytes; tests/corpus/README.md describes it.

Line ends in the file are layout and are ignored; \r \n \t \0 \\ and \xHH are the bytes they name.
"""

import re

_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.?))", re.DOTALL)
_SHORT = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def unescape(text: str) -> bytes:
    """Return the bytes that a corpus text spells; raise ValueError for an unknown escape."""
    spelled = text.replace("\r", "").replace("\n", "").encode("ascii")
    return _ESCAPE.sub(_byte, spelled)


def _byte(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes.fromhex(match[1].decode())
    if match[2] not in _SHORT:
        raise ValueError(f"unknown escape {match[0]!r}")
    return _SHORT[match[2]]
