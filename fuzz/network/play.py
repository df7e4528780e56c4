"""Plays one step, and checks that each side received the expected bytes."""

import time
from typing import Final

from fuzz.network.checks import check_step
from fuzz.network.dialogues import CLIENT, PORT, UPSTREAM, Turn
from fuzz.network.peers import Failure, Peer, Slot
from fuzz.network.record import Record
from fuzz.network.steps import BYTEWISE, CLOSE, FIN, Step, mark, with_mark
from tests.helpers.timing import SOON
from tests.helpers.wire import Wire

# Less than the shortest timeout of the proxy, because a timeout could hide a fault.
_TIMEOUT: Final = 0.3 * SOON
# How many bytes are sent one by one.
_BYTEWISE: Final = 32
# After how many loop turns without progress no more progress is expected; a connect takes six.
_QUIET_TURNS: Final = 10


async def play(slot: Slot, step: Step, number: int) -> None:
    """Play a step to its end; raise Failure."""
    for late in slot.arrived():
        late.wire.close()
    client = Peer(await Wire.to("127.0.0.1", slot.proxy_port))
    playing = _Play(slot, Record(step, number, client))
    try:
        await playing.run()
        check_step(playing.record)
    finally:
        client.wire.close()
        playing.release_upstreams()
        slot.late = b"" if step.is_whole else mark(number)


class _Play:
    """One step while it is played."""

    def __init__(self, slot: Slot, record: Record) -> None:
        self.record = record
        self._step = record.step
        self._slot = slot
        self._has_closed = {CLIENT: False, UPSTREAM: False}
        self._until = time.monotonic() + _TIMEOUT

    async def run(self) -> None:
        """Play all turns, and then end both sides."""
        for number, turn in enumerate(self._step.dialogue.turns):
            sent = self._filled_in(turn.sent)
            if sent and turn.side == UPSTREAM and not self.record.upstreams:
                await self._quiet()
            if number == self._step.turn:
                await self._send(turn.side, sent[: self._step.position])
                await self._inject(turn.side, sent[self._step.position :])
            else:
                await self._send(turn.side, sent)
            if turn.ends and not self._has_closed[turn.side]:
                self._close_by(turn.side, FIN)
            await self._receive(number, turn)
        await self._finish()

    async def _inject(self, side: str, remaining: bytes) -> None:
        """Apply the events of this step, and send the remaining bytes."""
        await self._loop_turn()
        for closing in self._step.closings:
            self._close_by(closing.side, closing.method)
        if self._step.is_reset_midway:
            await self._wait_for_reset()
        if self._step.pacing == BYTEWISE:
            for index in range(min(_BYTEWISE, len(remaining))):
                await self._send(side, remaining[index : index + 1])
                await self._loop_turn()
            remaining = remaining[_BYTEWISE:]
        await self._send(side, remaining)

    async def _wait_for_reset(self) -> None:
        """Wait until the proxy closes the other side; in a tunnel, by a reset too."""
        record = self.record
        [closing] = self._step.closings
        others = [record.client] if closing.side == UPSTREAM else record.upstreams
        while not all(peer.is_over for peer in others):
            await self._loop_turn(f"the reset of the {closing.side} has its effect")
        is_open = record.received(CLIENT).startswith((b"HTTP/1.1 101", b"HTTP/1.1 200 Conn"))
        if self._step.dialogue.is_tunnel and is_open and any(peer.has_end for peer in others):
            raise Failure(f"the {closing.side} resets a tunnel, and the other side receives a FIN")

    async def _send(self, side: str, data: bytes) -> None:
        """Send all bytes, if the side has a connection."""
        while data and not self._has_closed[side]:
            peer = self._peer(side)
            sent = -1 if peer is None else peer.send(data)
            if sent < 0:
                return
            self.record.sent[side] += data[:sent]
            data = data[sent:]
            if data:
                await self._loop_turn()

    def _close_by(self, side: str, method: str) -> None:
        self._has_closed[side] = True
        peer = self._peer(side)
        if peer is not None:
            peer.close_by(method)

    def _peer(self, side: str) -> Peer | None:
        if side == CLIENT:
            return self.record.client
        active = [peer for peer in self.record.upstreams if peer.received]
        return next(reversed(active or self.record.upstreams), None)

    async def _receive(self, number: int, turn: Turn) -> None:
        """Wait until the other side has received all bytes so far."""
        if not self._step.is_whole or turn.is_opaque:
            await self._quiet()
            return
        other = UPSTREAM if turn.side == CLIENT else CLIENT
        turns = self._step.dialogue.turns[: number + 1]
        expected = sum(len(past.forwarded) for past in turns if past.side == turn.side)
        while len(self.record.received(other)) < expected and not self._is_wrapped_end(other):
            await self._loop_turn(f"the {other} receives turn {number}")

    def _is_wrapped_end(self, side: str) -> bool:
        is_wrapped = self._step.dialogue.is_wrapped and side == CLIENT
        return is_wrapped and self.record.client.received.endswith(b"\r\n0\r\n\r\n")

    async def _finish(self) -> None:
        """Half-close both sides, and wait until the proxy closes too."""
        client = self.record.client
        if self._step.is_whole:
            await self._check_ends()
        if self._step.closes_first == UPSTREAM:
            self._close_upstreams()
            await self._loop_turn()
        if not self._has_closed[CLIENT]:
            client.close_by(FIN)
        while not client.is_over:
            await self._loop_turn("the client's connection ends")
            self._close_upstreams()
        before = -1
        while len(self.record.upstreams) > before and not self._is_reusable():
            # The proxy may have connected again meanwhile, for pipelined bytes or a retry.
            before = len(self.record.upstreams)
            await self._quiet()
            self._close_upstreams()

    async def _check_ends(self) -> None:
        """Check that a FIN is forwarded if it has to be."""
        dialogue = self._step.dialogue
        upstream = self.record.upstreams[-1] if self.record.upstreams else None
        if upstream is None:
            return
        while dialogue.has_surplus and not upstream.is_over:
            await self._loop_turn("the proxy closes the upstream that sent too many bytes")
        if dialogue.is_tunnel:
            first, second = self.record.client, upstream
            if self._step.closes_first == UPSTREAM and not self._has_closed[CLIENT]:
                first, second = second, first
            for sender, receiver in ((first, second), (second, first)):
                sender.close_by(FIN)
                while not receiver.has_end:
                    await self._loop_turn("a FIN comes through the tunnel")

    def _is_reusable(self) -> bool:
        """Return whether the upstream's connection may be reused."""
        dialogue = self._step.dialogue
        is_usable = not dialogue.is_tunnel and not dialogue.has_surplus
        return self._step.keeps_upstream and self._step.is_whole and is_usable

    def _close_upstreams(self) -> None:
        if self._is_reusable():
            return
        for peer in self.record.upstreams:
            peer.receive()
            peer.close_by(CLOSE)

    def release_upstreams(self) -> None:
        """Keep or close the upstream's connections."""
        for peer in self.record.upstreams:
            if self._is_reusable() and not peer.is_over and not peer.has_closed:
                self._slot.keep(peer)
            else:
                peer.wire.close()

    async def _quiet(self) -> None:
        """Return when there is no more progress."""
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = self._progress()
            await self._loop_turn()
            quiet = quiet + 1 if self._progress() == before else 0

    def _progress(self) -> tuple[int, ...]:
        record = self.record
        received = (len(record.received(side)) for side in (CLIENT, UPSTREAM))
        return (*received, len(record.upstreams), record.client.is_over)

    async def _loop_turn(self, waiting_for: str = "") -> None:
        """Let the loop of the proxy run once, and read the bytes that have arrived."""
        await self._slot.turn()
        upstreams = self.record.upstreams
        upstreams += self._slot.arrived()
        for peer in (*upstreams, self.record.client):
            peer.receive()
        for peer in [peer for peer in upstreams if self._slot.is_late(peer)]:
            peer.wire.close()
            upstreams.remove(peer)
        if time.monotonic() > self._until:
            raise Failure(
                f"timed out while waiting until {waiting_for or 'there is no more progress'}"
            )

    def _filled_in(self, data: bytes) -> bytes:
        return with_mark(data, self.record.number).replace(PORT, b"%d" % self._slot.listener.port)
