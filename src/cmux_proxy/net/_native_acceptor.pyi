import socket
from collections.abc import Callable

from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net.acceptor import Factory, HasRoom

class NativeAcceptor:
    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        factory: Factory,
        has_room: HasRoom,
        on_stopped: Callable[[], None],
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def finish(self) -> None: ...
