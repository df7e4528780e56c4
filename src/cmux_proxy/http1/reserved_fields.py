"""Which fields of a request are the proxy's own; their names come from whoever builds a scanner."""

from typing import Final


class ReservedFields:
    """Fields that are the proxy's own: no peer has them forwarded. All names are in lower case.

    Those whose names begin with `prefix` and end with `suffix`, and those in `reported`, are
    reported; those in `cut` are not. Without a prefix there is no family.
    """

    __slots__ = ("cut", "prefix", "reported", "suffix")

    def __init__(
        self,
        prefix: bytes,
        suffix: bytes,
        reported: tuple[bytes, ...] = (),
        cut: tuple[bytes, ...] = (),
    ) -> None:
        self.prefix = prefix
        self.suffix = suffix
        self.reported = reported
        self.cut = cut


NO_FAMILY: Final = ReservedFields(b"", b"")
