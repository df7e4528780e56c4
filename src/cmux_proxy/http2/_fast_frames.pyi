from collections.abc import Callable

MAX_FAST_HEAD: int

def head_frame(
    stream_id: int,
    is_last: bool,
    head: bytes,
    start: bytes,
    literals: dict[bytes, bytes],
    positions: dict[bytes, int],
    encode_line: Callable[[bytes], bytes],
) -> bytes: ...
