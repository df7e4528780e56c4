"""What a program does: to a connection, to its peer, and to the descriptors around it.

Every action may happen between two batches of events, and in any callback within one.
"""

import fcntl
import os
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from cmux_proxy.net.native_loop import NativeLoop
from fuzz.churn.connection import Connection
from fuzz.churn.content import content
from fuzz.churn.peer import End

if TYPE_CHECKING:
    from fuzz.churn.world import World

Action = Callable[["World", Connection, Random], None]

# Duplicates have numbers from here on.
_KEPT: Final = 700
_WRITES: Final = (1, 100, 5000, 100_000)
_MAX_SENT: Final = 100_000


# Our side


def _abort(world: "World", target: Connection, _random: Random) -> None:
    target.is_closed |= not target.is_lost
    target.is_aborted = True
    with world.calling("abort"):
        target.stream.abort()


def _close(world: "World", target: Connection, _random: Random) -> None:
    target.is_closed |= not target.is_lost
    with world.calling("close"):
        target.stream.close()


def _write(world: "World", target: Connection, random: Random) -> None:
    """Write; what is written to a lost connection is ignored."""
    if target.is_ended or (target.is_closed and not target.is_aborted):
        return
    size = random.choice(_WRITES)
    data = content(2 * target.key + 1, target.written, size)
    target.written += size
    with world.calling("write"):
        if random.random() < 0.5:
            target.stream.write(random.choice((bytes, bytearray, memoryview))(data))
        else:
            target.stream.writelines([data[: size // 3], memoryview(data)[size // 3 :]])
    _note_failed_write(world, target)
    if target.stream.get_write_buffer_size() > target.high and not target.is_writing_paused:
        world.fail(f"{target} is not paused, and more waits than its limit")


def _note_failed_write(world: "World", target: Connection) -> None:
    """A write that fails closes the connection; the only reason is a peer that has left."""
    if target.stream.is_closing() and not (target.is_closed or target.is_lost):
        target.is_closed = target.is_aborted = True
        if not target.peer.has_left:
            world.fail(f"{target}: a write fails without a reason")


def _write_eof(world: "World", target: Connection, _random: Random) -> None:
    if target.is_closed:
        return
    target.is_ended = True
    try:
        with world.calling("write_eof"):
            target.stream.write_eof()
    except OSError as error:
        if not target.peer.has_left:
            world.fail(f"{target}: write_eof fails without a reason: {error!r}")


def _pause(world: "World", target: Connection, _random: Random) -> None:
    target.is_paused = True
    with world.calling("pause_reading"):
        target.stream.pause_reading()


def _resume(world: "World", target: Connection, _random: Random) -> None:
    target.is_touched |= target.is_paused
    target.is_paused = False
    with world.calling("resume_reading"):
        target.stream.resume_reading()


def _change_owner(_world: "World", target: Connection, _random: Random) -> None:
    if not target.is_lost:
        owner = target.make_owner()
        owner.stream = target.stream
        target.owner = owner
        target.stream.set_protocol(owner)


def _change_read_size(_world: "World", target: Connection, random: Random) -> None:
    target.stream.max_size = random.choice((target.read_size // 4, target.read_size, 1 << 30))


def _use_socket(world: "World", target: Connection, _random: Random) -> None:
    """Make a socket object of the descriptor, which it must not close."""
    sock = target.stream.get_extra_info("socket")
    number = -1 if sock is None else sock.fileno()
    if target.fd < 0 <= number:
        target.learn_number(number)
    # The descriptor closes after the report of the loss.
    is_open = target.is_number_ours() or not target.is_lost
    if target.fd >= 0 and number != (target.fd if is_open else -1):
        world.fail(f"{target} has the socket {number} and not {target.fd}")


def _raise(_world: "World", target: Connection, _random: Random) -> None:
    """Let its next callback raise."""
    target.will_raise = not target.is_lost


# Its peer


def _send(_world: "World", target: Connection, random: Random) -> None:
    if target.peer.end is End.NONE:
        target.is_touched = True
        parts = random.choice((0, 1, 3)) * target.read_size
        target.peer.send(min(parts + random.choice((0, 1)), _MAX_SENT))


def _send_urgent(world: "World", target: Connection, random: Random) -> None:
    """Send an urgent byte between others: a read ends in front of it."""
    if target.peer.end is End.NONE:
        _send(world, target, random)
        target.peer.send_urgent()
        _send(world, target, random)


def _end(_world: "World", target: Connection, random: Random) -> None:
    """End the half of the peer, behind some bytes at times."""
    if target.peer.end is End.NONE:
        target.is_touched = True
        target.peer.send(random.choice((0, 1, target.read_size)))
        target.peer.leave(End.FIN)


def _leave(_world: "World", target: Connection, random: Random) -> None:
    if not target.peer.has_left:
        target.is_touched = True
        target.peer.leave(random.choice((End.CLOSE, End.RESET)))


def _hold(_world: "World", target: Connection, _random: Random) -> None:
    target.peer.is_held = not target.peer.is_held


# Descriptors


def _keep(_world: "World", target: Connection, _random: Random) -> None:
    """Keep the registration of a descriptor alive, as a child between fork and exec does."""
    if target.fd >= 0 and not target.is_lost:
        target.kept.append(fcntl.fcntl(target.fd, fcntl.F_DUPFD_CLOEXEC, _KEPT))


def _release(_world: "World", target: Connection, _random: Random) -> None:
    if target.kept:
        os.close(target.kept.pop())


def _reuse(world: "World", target: Connection, random: Random) -> None:
    """Open another stream with the number of a connection for which events still come."""
    if target.fd >= 0 and not target.is_lost:
        _keep(world, target, random)
        _abort(world, target, random)
        world.loop.call_soon(_open_and_send, world, target, random)


def _open_and_send(world: "World", target: Connection, random: Random) -> None:
    world.openings.open()
    random.choice((_send, _end, _leave))(world, target, random)


def _open(world: "World", _target: Connection, _random: Random) -> None:
    world.openings.open()


def _open_large(world: "World", _target: Connection, random: Random) -> None:
    world.openings.open_large(random)


def _accept(world: "World", _target: Connection, _random: Random) -> None:
    world.openings.accept()


def _listen_again(world: "World", _target: Connection, _random: Random) -> None:
    world.openings.listen_again()


def _prepare(world: "World", _target: Connection, random: Random) -> None:
    world.openings.prepare(random)


def _watch(world: "World", _target: Connection, _random: Random) -> None:
    world.openings.watch()


def _feed(world: "World", _target: Connection, random: Random) -> None:
    for watched in world.watched:
        watched.feed(random.choice((1, 100)))


def _wait_for_room(world: "World", _target: Connection, random: Random) -> None:
    if world.watched:
        random.choice(world.watched).wait_for_room()


def _replace(world: "World", _target: Connection, random: Random) -> None:
    """Close a watched descriptor, and open something else with its number."""
    watched = [watched for watched in world.watched if watched.is_open]
    if watched:
        number = random.choice(watched).close()
        random.choice((world.openings.open, world.openings.watch))(number)


def _forget(world: "World", _target: Connection, random: Random) -> None:
    """Close a descriptor that is still watched, and open a stream with its number.

    Only the native loop knows what to do.
    """
    watched = [watched for watched in world.watched if watched.is_open]
    if watched and world.openings.has_spare and isinstance(world.loop, NativeLoop):
        world.openings.open(random.choice(watched).forget())


def _act_later(world: "World", target: Connection, random: Random) -> None:
    """Do something else in the next turn of the loop."""
    world.loop.call_soon(world.act, random, target)


# How often each of them happens.
ACTIONS: Final[dict[Action, int]] = {
    _abort: 6, _close: 5, _write: 8, _write_eof: 2, _pause: 4, _resume: 6, _change_owner: 2,
    _change_read_size: 1, _use_socket: 2, _raise: 1,
    _send: 14, _send_urgent: 3, _end: 3, _leave: 6, _hold: 1,
    _keep: 3, _release: 2, _reuse: 6, _open: 8, _open_large: 1, _accept: 3, _listen_again: 1,
    _prepare: 6, _watch: 2, _feed: 4, _wait_for_room: 1, _replace: 4, _forget: 1, _act_later: 2,
}  # fmt: skip
