import socket

from cmux_proxy.net._reactor import Reactor
from cmux_proxy.net.stream import FirstOwner

def adopt(reactor: Reactor, sock: socket.socket, owner: FirstOwner) -> None: ...
