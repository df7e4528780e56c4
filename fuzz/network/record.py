"""The bytes that were sent and received in one step."""

from fuzz.network.dialogues import CLIENT, UPSTREAM
from fuzz.network.peers import Peer
from fuzz.network.steps import Step, with_mark


class Record:
    """One step with its number, its peers, and the bytes that each side has sent."""

    def __init__(self, step: Step, number: int, client: Peer) -> None:
        self.step = step
        self.number = number
        self.client = client
        self.upstreams: list[Peer] = []
        self.sent = {CLIENT: b"", UPSTREAM: b""}

    def received(self, side: str) -> bytes:
        """Return the bytes that a side has received; for the upstream, over all connections."""
        peers = [self.client] if side == CLIENT else self.upstreams
        return b"".join(bytes(peer.received) for peer in peers)

    def expected(self, side: str) -> bytes:
        """Return the bytes that a side receives without faults."""
        return with_mark(self.step.dialogue.received(side), self.number)
