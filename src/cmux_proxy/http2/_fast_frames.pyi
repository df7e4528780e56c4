from cmux_proxy.http2.hpack_encoder import HpackEncoder

MAX_FAST_HEAD: int

def head_frame(
    stream_id: int,
    is_last: bool,
    head: bytes,
    size_updates: bytes,
    literals: dict[bytes, bytes],
    positions: dict[bytes, int],
    encoder: HpackEncoder,
) -> bytes: ...
def response_frames(stream_id: int, block: bytes, body: bytes) -> bytes: ...
def frame_header(size: int, kind: int, flags: int, stream_id: int) -> bytes: ...
