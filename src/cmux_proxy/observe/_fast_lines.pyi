class FastLines:
    def __init__(self, format_name: str, full_size: int) -> None: ...
    def add(
        self,
        client: str,
        kind: str,
        method: bytes,
        request_line: bytes,
        minor: int,
        status: int,
        upstream: tuple[str, int] | None,
        workspace: str,
        received: int,
        sent: int,
        seconds: float,
        first_byte: float,
        is_reused: bool,
        error: str,
        /,
    ) -> bool: ...
    def count(self) -> int: ...
    def take(self) -> bytes: ...
