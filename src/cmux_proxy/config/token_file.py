"""A file with one token per line; lines that begin with # are comments."""

import os
import stat
from collections.abc import Iterable
from typing import Final

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Tokens(list[str]):
    """The tokens of a file; `is_public` if every user of the machine may read it."""

    def __init__(self, tokens: Iterable[str], path: str, is_public: bool) -> None:
        super().__init__(tokens)
        self.path = path
        self.is_public = is_public

    @property
    def warning(self) -> str:
        """A warning about a file that every user may read; empty for any other."""
        if not self.is_public:
            return ""
        return f"every user of this machine can read the tokens in {self.path!r}; chmod it to 600"


def read_tokens(path: str) -> Tokens:
    """Return the tokens of a file; raise OSError, or ValueError with one clause."""
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        content = file.read().removeprefix(_BYTE_ORDER_MARK)
    try:
        text = content.decode("ascii").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path!r} has bytes that are not ASCII") from None
    lines = [line.strip() for line in text.split("\n")]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ValueError(f"{path!r} has no token in it")
    return Tokens(tokens, path, stat.S_ISREG(mode) and bool(mode & stat.S_IROTH))
