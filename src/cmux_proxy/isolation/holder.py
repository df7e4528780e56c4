"""The process that holds one workspace's network namespace, and lets commands enter it.

It lives in the namespace and ends after the workspace's last command; it watches each command by
its pidfd. `entering.py` starts it; `messages.py` has its protocol.
"""

import contextlib
import os
import selectors
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from cmux_proxy.isolation import namespace, outbound
from cmux_proxy.isolation.dns_forwarder import read_loopback_nameservers, start_dns_forwarders
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.messages import Message, receive, send
from cmux_proxy.isolation.proc_net import read_listening_ports
from cmux_proxy.isolation.registry import Registry

# Seconds between attempts to end while a command may be about to enter.
_EXIT_RETRY_INTERVAL: Final = 0.05
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class NamespaceHolder:
    """Serves one listening socket until the last command has ended."""

    def __init__(self, address: str, listener: socket.socket, outer_user: int) -> None:
        self._address = address
        self._listener = listener
        self._outer_user = outer_user
        self.selector = selectors.DefaultSelector()
        # For each pidfd, the process id and the name under which the command entered.
        self._commands: dict[int, tuple[int, str]] = {}
        self._channels = 0
        self.failure: str | None = None
        self.outbound_problem: str | None = None
        listener.setblocking(False)
        self.watch(listener, self._accept)

    def watch(self, file: Any, callback: Callable[[Any], None]) -> None:
        """Call `callback` with `file` whenever the file is readable."""
        self.selector.register(file, selectors.EVENT_READ, callback)

    def serve(self) -> None:
        """Serve until there are neither commands nor channels."""
        is_finished = False
        while not is_finished:
            timeout = _EXIT_RETRY_INTERVAL if self._is_idle() else None
            for key, _events in self.selector.select(timeout):
                key.data(key.fileobj)
            is_finished = self._is_idle() and self._unregister()

    def _is_idle(self) -> bool:
        return not self._commands and not self._channels

    def _unregister(self) -> bool:
        """Remove the socket, unless a process has the lock, since it may be about to enter."""
        with Registry.open() as registry:
            if not registry.try_lock():
                return False
            registry.remove(self._address)
            return True

    def _accept(self, listener: socket.socket) -> None:
        try:
            channel, _ = listener.accept()
        except OSError:
            return  # the client has gone, or there is no descriptor left for the moment
        self._channels += 1
        self.watch(channel, self._receive)

    def _receive(self, channel: socket.socket) -> None:
        try:
            message = receive(channel)
            self._respond(channel, message)
        except (OSError, EOFError, ValueError):
            self.selector.unregister(channel)
            channel.close()
            self._channels -= 1

    def _respond(self, channel: socket.socket, message: Message) -> None:
        request = message.fields.get("ask")
        if request == "join" and self.failure is None and message.descriptors:
            self._admit_command(channel, message)
            return
        message.close()
        if self.failure is not None:
            send(channel, {"error": self.failure})
        elif request == "socket" and message.fields.get("family") in _FAMILIES:
            self._send_socket(channel, message.fields["family"])
        elif request == "status":
            send(channel, self._status())
        else:
            send(channel, {"error": "not understood"})

    def _admit_command(self, channel: socket.socket, message: Message) -> None:
        pidfd, *surplus = message.descriptors
        self._commands[pidfd] = (message.fields.get("pid", 0), message.fields.get("name", ""))
        self.watch(pidfd, self._command_ended)
        Message({}, surplus).close()
        namespaces = namespace.open_namespaces(self._outer_user)
        response = Message({"note": self.outbound_problem}, namespaces)
        try:
            send(channel, response.fields, response.descriptors)
        finally:
            response.close()

    def _command_ended(self, pidfd: int) -> None:
        self.selector.unregister(pidfd)
        os.close(pidfd)
        del self._commands[pidfd]

    def _send_socket(self, channel: socket.socket, family: int) -> None:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                send(channel, {}, [sock.fileno()])
        except OSError as error:
            send(channel, {"error": str(error)})

    def _status(self) -> dict[str, Any]:
        return {
            "namespace": namespace.net_namespace_id(),
            "commands": list(self._commands.values()),
            "ports": read_listening_ports(),
        }


def hold_namespace(
    address: str, listener: socket.socket, network: outbound.OutboundNetwork | None
) -> None:
    """Create the namespace and serve it; where that fails, send the reason to all clients."""
    holder = NamespaceHolder(address, listener, namespace.user_namespace_id())
    try:
        namespace.create_namespace()
        if network is not None:
            holder.outbound_problem = network.request_start()
            if holder.outbound_problem is None:
                start_dns_forwarders(holder.selector, read_loopback_nameservers())
    except IsolationError as error:
        holder.failure = str(error)
    holder.serve()


def main(address: str, descriptor: str, mode: str) -> None:
    """Fork the holder of a workspace, and start its outbound network where `mode` is "outbound"."""
    listener = socket.socket(fileno=int(descriptor))
    network = outbound.OutboundNetwork() if mode == "outbound" else None
    outer_user = namespace.user_namespace_id()
    holder = os.fork()
    if holder == 0:
        hold_namespace(address, listener, network)
    elif network is not None:
        listener.close()
        network.start_for(holder, outer_user)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
