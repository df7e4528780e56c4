from collections.abc import Callable

from cmux_proxy.net.splice import Remaining
from cmux_proxy.net.stream import Stream

class NativePipe:
    is_able: bool
    limited_buffer: memoryview
    def __init__(self, is_wanted: bool, limited_size: int) -> None: ...
    def start(
        self,
        source: Stream,
        sink: Stream,
        body: Remaining | None,
        count_moved: Callable[[int], None],
    ) -> None: ...
    def is_open(self) -> bool: ...
    def close(self) -> None: ...
