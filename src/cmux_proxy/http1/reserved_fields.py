"""Which request fields belong to the proxy itself and are never forwarded.

Does not know their names; the caller that builds a scanner passes them in.
"""

from typing import Final


class ReservedFields:
    """The names of the fields that the proxy reads and cuts; all are in lower case.

    Reserved are all names that begin with `prefix` and end with `suffix`, and those in `names`:
    they are cut and listed in `Fields.reserved`. Fields in `cut_only` are cut and not listed.
    An empty prefix reserves no name.
    """

    __slots__ = ("cut_only", "names", "prefix", "suffix")

    def __init__(
        self,
        prefix: bytes,
        suffix: bytes,
        names: tuple[bytes, ...] = (),
        cut_only: tuple[bytes, ...] = (),
    ) -> None:
        self.prefix = prefix
        self.suffix = suffix
        self.names = names
        self.cut_only = cut_only


NO_RESERVED_FIELDS: Final = ReservedFields(b"", b"")
