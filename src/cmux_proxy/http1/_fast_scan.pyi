from collections.abc import Callable, Mapping

from cmux_proxy.http1.head import RequestHead, ResponseHead, SpanFinder

class FastScan:
    def __init__(
        self,
        kinds: Mapping[bytes, int],
        options: Mapping[bytes, int],
        limits: tuple[int, int, int],
        prefix: bytes,
        suffix: bytes,
        finder: SpanFinder,
        new_head: Callable[..., RequestHead | ResponseHead],
    ) -> None: ...
    def request(self, buffer: bytes) -> RequestHead | None: ...
    def response(self, buffer: bytes) -> ResponseHead | None: ...
