"""What was said and heard in one step."""

from fuzz.network.dialogues import CLIENT, UPSTREAM
from fuzz.network.peers import Peer
from fuzz.network.steps import Step, with_mark


class Record:
    """One step with its number, its peers, and what has been `said`, by whom."""

    def __init__(self, step: Step, number: int, client: Peer) -> None:
        self.step = step
        self.number = number
        self.client = client
        self.upstreams: list[Peer] = []
        self.said = {CLIENT: b"", UPSTREAM: b""}

    def heard(self, who: str) -> bytes:
        """Return what that side has heard; the upstream, over all its connections."""
        peers = [self.client] if who == CLIENT else self.upstreams
        return b"".join(bytes(peer.heard) for peer in peers)

    def expected(self, who: str) -> bytes:
        """Return what that side hears when nothing goes wrong."""
        return with_mark(self.step.dialogue.heard(who), self.number)
