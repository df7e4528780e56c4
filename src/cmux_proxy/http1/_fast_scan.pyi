from collections.abc import Mapping

# Method, target, minor version, the start line's end, the head's end, the head without its cuts;
# then what the constructor of Fields takes, in its order.
RequestFacts = tuple[
    bytes, bytes, int, int, int, bytes,
    int, int | None, bytes | None, bytes | None, bytes | None, bytes | None,
    tuple[tuple[bytes, bytes], ...],
]  # fmt: skip
# The same with the status, and with those fields only that mean something in a response.
ResponseFacts = tuple[int, int, int, int, bytes, int, int | None, bytes | None, bytes | None]

class FastScan:
    def __init__(
        self,
        kinds: Mapping[bytes, int],
        options: Mapping[bytes, int],
        limits: tuple[int, int, int],
        prefix: bytes,
        suffix: bytes,
    ) -> None: ...
    def request(self, buffer: bytes) -> RequestFacts | None: ...
    def response(self, buffer: bytes) -> ResponseFacts | None: ...
