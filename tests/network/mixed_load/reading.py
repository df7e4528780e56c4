"""Answers read from a wire and compared with what they must be."""

from tests.helpers.messages import Message, Reader
from tests.network.mixed_load import plans
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.world import expect


async def expect_head(reader: Reader, plan: Plan, wanted: bytes) -> None:
    """Fail unless exactly this head comes next."""
    head = await _head(reader)
    expect(plan, "head", head.head, wanted)


async def refusal(reader: Reader, plan: Plan, port: int, closes: bool) -> None:
    """Fail unless the proxy's own answer comes next."""
    head = await _head(reader)
    kept, body = plans.refusal(plan, port, head.field("date") or "", closes)
    expect(plan, "head", head.head, lines(*kept))
    expect(plan, "body", await reader.take(len(body)), body)


async def _head(reader: Reader) -> Message:
    head = await reader.head()
    if head is None:
        raise EOFError
    return head
