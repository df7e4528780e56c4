"""Plays one step, and checks that everybody has heard what he may hear."""

import time
from typing import Final

from fuzz.network.checks import check_step
from fuzz.network.dialogues import CLIENT, PORT, UPSTREAM, Turn
from fuzz.network.peers import Failure, Peer, Slot
from fuzz.network.record import Record
from fuzz.network.steps import BYTEWISE, CLOSE, FIN, Step, mark, with_mark
from tests.helpers.timing import SOON
from tests.helpers.wire import Wire

# Less than the least timeout of the proxy, which might make good what has gone wrong.
_PATIENCE: Final = 0.3 * SOON
# So many bytes are said one by one.
_BYTEWISE: Final = 32
# After so many turns of the loop in which nothing comes, nothing will; to connect takes six.
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
        playing.dismiss_upstreams()
        slot.late = b"" if step.is_whole else mark(number)


class _Play:
    """One step on its way."""

    def __init__(self, slot: Slot, record: Record) -> None:
        self.record = record
        self._step = record.step
        self._slot = slot
        self._has_left = {CLIENT: False, UPSTREAM: False}
        self._until = time.monotonic() + _PATIENCE

    async def run(self) -> None:
        """Have everybody speak in turn, and then both sides end."""
        for number, turn in enumerate(self._step.dialogue.turns):
            says = self._spelled(turn.says)
            if says and turn.who == UPSTREAM and not self.record.upstreams:
                await self._quiet()
            if number == self._step.turn:
                await self._say(turn.who, says[: self._step.at])
                await self._happen(turn.who, says[self._step.at :])
            else:
                await self._say(turn.who, says)
            if turn.ends and not self._has_left[turn.who]:
                self._leave(turn.who, FIN)
            await self._hear(number, turn)
        await self._finish()

    async def _happen(self, who: str, rest: bytes) -> None:
        """Go on after what happens in this step."""
        await self._turn()
        for leaving in self._step.leaving:
            self._leave(leaving.who, leaving.how)
        if self._step.is_reset_amid:
            await self._pass_reset_on()
        if self._step.pacing == BYTEWISE:
            for at in range(min(_BYTEWISE, len(rest))):
                await self._say(who, rest[at : at + 1])
                await self._turn()
            rest = rest[_BYTEWISE:]
        await self._say(who, rest)

    async def _pass_reset_on(self) -> None:
        """Wait until whoever is left is let go; in a tunnel, by a reset too."""
        record = self.record
        [leaving] = self._step.leaving
        left = [record.client] if leaving.who == UPSTREAM else record.upstreams
        while not all(peer.is_over for peer in left):
            await self._turn(f"the reset of the {leaving.who} has its effect")
        is_open = record.heard(CLIENT).startswith((b"HTTP/1.1 101", b"HTTP/1.1 200 Conn"))
        if self._step.dialogue.is_tunnel and is_open and any(peer.has_end for peer in left):
            raise Failure(f"the {leaving.who} resets a tunnel, and the other side hears an end")

    async def _say(self, who: str, data: bytes) -> None:
        """Say it all, if there is anybody who listens."""
        while data and not self._has_left[who]:
            peer = self._peer(who)
            sent = -1 if peer is None else peer.say(data)
            if sent < 0:
                return
            self.record.said[who] += data[:sent]
            data = data[sent:]
            if data:
                await self._turn()

    def _leave(self, who: str, how: str) -> None:
        self._has_left[who] = True
        peer = self._peer(who)
        if peer is not None:
            peer.leave(how)

    def _peer(self, who: str) -> Peer | None:
        if who == CLIENT:
            return self.record.client
        asked = [peer for peer in self.record.upstreams if peer.heard]
        return next(reversed(asked or self.record.upstreams), None)

    async def _hear(self, number: int, turn: Turn) -> None:
        """Let the other side hear what it has to hear by now."""
        if not self._step.is_whole or turn.is_opaque:
            await self._quiet()
            return
        other = UPSTREAM if turn.who == CLIENT else CLIENT
        turns = self._step.dialogue.turns[: number + 1]
        wanted = sum(len(one.hears) for one in turns if one.who == turn.who)
        while len(self.record.heard(other)) < wanted and not self._is_wrapped_end(other):
            await self._turn(f"the {other} hears turn {number}")

    def _is_wrapped_end(self, who: str) -> bool:
        is_wrapped = self._step.dialogue.is_wrapped and who == CLIENT
        return is_wrapped and self.record.client.heard.endswith(b"\r\n0\r\n\r\n")

    async def _finish(self) -> None:
        """End both sides, and wait until the proxy does too."""
        client = self.record.client
        if self._step.is_whole:
            await self._end_as_told()
        if self._step.first_out == UPSTREAM:
            self._close_upstreams()
            await self._turn()
        if not self._has_left[CLIENT]:
            client.leave(FIN)
        while not client.is_over:
            await self._turn("the client's connection ends")
            self._close_upstreams()
        before = -1
        while len(self.record.upstreams) > before and not self._stays():
            # The proxy may have begun anew meanwhile, with what it had or to try once more.
            before = len(self.record.upstreams)
            await self._quiet()
            self._close_upstreams()

    async def _end_as_told(self) -> None:
        """See that an end is passed on where it has to be."""
        dialogue = self._step.dialogue
        upstream = self.record.upstreams[-1] if self.record.upstreams else None
        if upstream is None:
            return
        while dialogue.spoils and not upstream.is_over:
            await self._turn("the upstream is let go, which has said too much")
        if dialogue.is_tunnel:
            first, second = self.record.client, upstream
            if self._step.first_out == UPSTREAM and not self._has_left[CLIENT]:
                first, second = second, first
            for one, other in ((first, second), (second, first)):
                one.leave(FIN)
                while not other.has_end:
                    await self._turn("an end comes through the tunnel")

    def _stays(self) -> bool:
        """Return whether the upstream's connection may be used again."""
        dialogue = self._step.dialogue
        is_usable = not dialogue.is_tunnel and not dialogue.spoils
        return self._step.keeps and self._step.is_whole and is_usable

    def _close_upstreams(self) -> None:
        if self._stays():
            return
        for peer in self.record.upstreams:
            peer.listen()
            peer.leave(CLOSE)

    def dismiss_upstreams(self) -> None:
        """Keep or close what is left."""
        for peer in self.record.upstreams:
            if self._stays() and not peer.is_over and not peer.has_left:
                self._slot.keep(peer)
            else:
                peer.wire.close()

    async def _quiet(self) -> None:
        """Return when nothing comes any more."""
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = self._progress()
            await self._turn()
            quiet = quiet + 1 if self._progress() == before else 0

    def _progress(self) -> tuple[int, ...]:
        record = self.record
        heard = (len(record.heard(who)) for who in (CLIENT, UPSTREAM))
        return (*heard, len(record.upstreams), record.client.is_over)

    async def _turn(self, waiting_for: str = "") -> None:
        """Let the proxy have a turn, and take whatever has come to anybody."""
        await self._slot.turn()
        upstreams = self.record.upstreams
        upstreams += self._slot.arrived()
        for peer in (*upstreams, self.record.client):
            peer.listen()
        for peer in [peer for peer in upstreams if self._slot.is_late(peer)]:
            peer.wire.close()
            upstreams.remove(peer)
        if time.monotonic() > self._until:
            raise Failure(f"waited in vain until {waiting_for or 'nothing more comes'}")

    def _spelled(self, data: bytes) -> bytes:
        return with_mark(data, self.record.number).replace(PORT, b"%d" % self._slot.listener.port)
