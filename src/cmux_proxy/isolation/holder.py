"""The process that keeps one workspace's network namespace, and whom others ask to be let in.

It lives in the namespace, and for as long as a command of the workspace does; a command that was
let in is watched by its pidfd. `entering.py` starts it; `messages.py` has what it answers.
"""

import contextlib
import os
import selectors
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from cmux_proxy.isolation import namespace, outbound
from cmux_proxy.isolation.dns_forwarder import forward_names
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.messages import Message, receive, send
from cmux_proxy.isolation.proc_net import listening_ports
from cmux_proxy.isolation.registry import Registry

# Somebody may be about to enter; after so many seconds it is known whether he has.
_LOOK_AGAIN_AFTER: Final = 0.05
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class Keeper:
    """Serves one listening socket until the last command has ended."""

    def __init__(self, address: str, listener: socket.socket, outer_user: int) -> None:
        self._address = address
        self._listener = listener
        self._outer_user = outer_user
        self.selector = selectors.DefaultSelector()
        # By pidfd, the process and the name under which it entered.
        self._commands: dict[int, tuple[int, str]] = {}
        self._channels = 0
        self.failure: str | None = None
        self.note: str | None = None
        listener.setblocking(False)
        self.watch(listener, self._accept)

    def watch(self, file: Any, callback: Callable[[Any], None]) -> None:
        """Have `callback` called with `file` whenever that can be read."""
        self.selector.register(file, selectors.EVENT_READ, callback)

    def serve(self) -> None:
        """Answer until nobody is left."""
        is_left = False
        while not is_left:
            for key, _events in self.selector.select(self._patience()):
                key.data(key.fileobj)
            is_left = self._is_idle() and self._leaves()

    def _is_idle(self) -> bool:
        return not self._commands and not self._channels

    def _patience(self) -> float | None:
        return _LOOK_AGAIN_AFTER if self._is_idle() else None

    def _leaves(self) -> bool:
        """Remove the socket; but not while somebody has the lock, who may be about to enter."""
        with Registry.open() as registry:
            if not registry.locks_at_once():
                return False
            registry.remove(self._address)
            return True

    def _accept(self, listener: socket.socket) -> None:
        try:
            channel, _ = listener.accept()
        except OSError:
            return  # who asked is gone, or descriptors are short for a moment
        self._channels += 1
        self.watch(channel, self._hear)

    def _hear(self, channel: socket.socket) -> None:
        try:
            message = receive(channel)
            self._answer(channel, message)
        except (OSError, EOFError, ValueError):
            self.selector.unregister(channel)
            channel.close()
            self._channels -= 1

    def _answer(self, channel: socket.socket, message: Message) -> None:
        ask = message.fields.get("ask")
        if ask == "join" and self.failure is None and message.descriptors:
            self._let_in(channel, message)
            return
        message.close()
        if self.failure is not None:
            send(channel, {"error": self.failure})
        elif ask == "socket" and message.fields.get("family") in _FAMILIES:
            self._give_socket(channel, message.fields["family"])
        elif ask == "status":
            send(channel, self._status())
        else:
            send(channel, {"error": "not understood"})

    def _let_in(self, channel: socket.socket, message: Message) -> None:
        pidfd, *others = message.descriptors
        self._commands[pidfd] = (message.fields.get("pid", 0), message.fields.get("name", ""))
        self.watch(pidfd, self._command_ended)
        Message({}, others).close()
        answer = Message({"note": self.note}, namespace.open_namespaces(self._outer_user))
        try:
            send(channel, answer.fields, answer.descriptors)
        finally:
            answer.close()

    def _command_ended(self, pidfd: int) -> None:
        self.selector.unregister(pidfd)
        os.close(pidfd)
        del self._commands[pidfd]

    def _give_socket(self, channel: socket.socket, family: int) -> None:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                send(channel, {}, [sock.fileno()])
        except OSError as error:
            send(channel, {"error": str(error)})

    def _status(self) -> dict[str, Any]:
        return {
            "namespace": namespace.net_namespace(),
            "commands": list(self._commands.values()),
            "ports": listening_ports(),
        }


def keep(address: str, listener: socket.socket, exits: outbound.Exits | None) -> None:
    """Make the namespace and serve it; where that fails, tell whoever asks."""
    keeper = Keeper(address, listener, namespace.user_namespace())
    try:
        namespace.make_namespace()
        if exits is not None:
            keeper.note = exits.wait()
            if keeper.note is None:
                forward_names(keeper.selector)
    except IsolationError as error:
        keeper.failure = str(error)
    keeper.serve()


def main(address: str, descriptor: str, wants_outbound: str) -> None:
    """Leave the process that started this one, and keep a workspace."""
    listener = socket.socket(fileno=int(descriptor))
    exits = outbound.Exits() if wants_outbound == "outbound" else None
    outer_user = namespace.user_namespace()
    keeper = os.fork()
    if keeper == 0:
        keep(address, listener, exits)
    elif exits is not None:
        listener.close()
        exits.open_for(keeper, outer_user)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
