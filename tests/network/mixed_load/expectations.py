"""Responses read from a wire and compared with the expected ones."""

from tests.helpers.messages import Message, Reader
from tests.network.mixed_load import plans
from tests.network.mixed_load.plans import Plan, lines
from tests.network.mixed_load.world import expect


async def expect_head(reader: Reader, plan: Plan, expected: bytes) -> None:
    """Fail unless the next head is exactly this one."""
    head = await _head(reader)
    expect(plan, "head", head.head, expected)


async def expect_refusal(reader: Reader, plan: Plan, port: int, closes: bool) -> None:
    """Fail unless the next response is the proxy's error response."""
    head = await _head(reader)
    kept, body = plans.refusal(plan, port, head.field("date") or "", closes)
    expect(plan, "head", head.head, lines(*kept))
    expect(plan, "body", await reader.take(len(body)), body)


async def _head(reader: Reader) -> Message:
    head = await reader.head()
    if head is None:
        raise EOFError
    return head
