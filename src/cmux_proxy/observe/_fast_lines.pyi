from collections.abc import Callable

from cmux_proxy.observe.record import Record

def monotonic() -> float: ...

class FastLines:
    dropped: int
    is_begun: bool
    def __init__(
        self,
        format_name: str,
        begin: Callable[[], object],
        hand_over: Callable[[], bool],
        full_size: int,
    ) -> None: ...
    def __call__(self, record: Record) -> None: ...
    def put(self, record: Record) -> None: ...
    def add(
        self,
        client: str,
        kind: str,
        method: bytes,
        request_line: bytes,
        protocol: str,
        status: int,
        target: tuple[str, int] | None,
        workspace: str,
        received: int,
        sent: int,
        started: float,
        first_byte: float | None,
        ended: float,
        is_reused: bool,
        error: str,
        /,
    ) -> None: ...
    def size(self) -> int: ...
    def take(self) -> bytes: ...
