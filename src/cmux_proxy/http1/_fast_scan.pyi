from collections.abc import Mapping

# Method, target, minor version, end of the start line, end of the head, the head without its
# cuts; then the parameters of Fields, in their order.
RequestFacts = tuple[
    bytes, bytes, int, int, int, bytes,
    int, int | None, bytes | None, bytes | None, bytes | None, bytes | None,
    tuple[tuple[bytes, bytes], ...],
]  # fmt: skip
# Status, minor version, the two ends, the head without its cuts; then the parameters of Fields that
# a response has.
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
