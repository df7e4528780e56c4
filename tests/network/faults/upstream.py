"""What a service does to the proxy when it is asked."""

from collections.abc import Callable

from tests.helpers.origins import chunk
from tests.network.faults.content import (
    half_chunked,
    long_answer,
    long_upload,
    usual_answer,
)
from tests.network.faults.ground import Happens, Strike, answers


async def resets(strike: Strike) -> bool:
    """Reset the connection."""
    strike.visit.wire.reset()
    return False


async def closes(strike: Strike) -> bool:
    """Close the connection."""
    return False


async def stalls(strike: Strike) -> bool:
    """Say nothing, and take what comes."""
    while await strike.visit.piece():
        pass
    return False


async def half_closes(strike: Strike) -> bool:
    """Say nothing more, and take what comes."""
    strike.visit.wire.end()
    return await stalls(strike)


async def reads_nothing(strike: Strike) -> bool:
    """Neither say anything nor take what comes, until the client knows."""
    await strike.is_told.wait()
    return False


async def takes_the_body(strike: Strike) -> bool:
    """Take a long body and go on."""
    await strike.visit.body(strike.asked)
    assert strike.asked.body == long_upload(strike.mark)
    return True


async def resets_while_idle(strike: Strike) -> bool:
    """Reset the connection once the client has read its answer."""
    await strike.is_told.wait()
    return await resets(strike)


async def speaks_while_idle(strike: Strike) -> bool:
    """Give one more answer to a client that has read its own; be hung up on."""
    await strike.is_told.wait()
    await strike.visit.say(long_answer("stolen"))
    assert await strike.visit.head() is None
    return False


async def dies_when_used_again(strike: Strike) -> bool:
    """Answer if the connection is new."""
    return await answers(strike) if len(strike.visit.asked) == 1 else False


async def streams(strike: Strike) -> bool:
    """Answer without an end."""
    await strike.visit.say(half_chunked(strike.mark))
    while True:
        await strike.visit.say(chunk(bytes(32768)))


async def echoes(strike: Strike) -> bool:
    """Be the other end of a tunnel; say back what comes, and then the end."""
    if strike.asked.field("upgrade"):
        await strike.visit.say(
            b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    while data := await strike.visit.piece():
        await strike.visit.say(data)
    return False


async def ends_in_garbage(strike: Strike) -> bool:
    """Say what is no chunk, once the client has got the beginning, and wait for the end."""
    await strike.is_told.wait()
    await strike.visit.say(b"zz\r\n")
    return await stalls(strike)


def saying(data: Callable[[str], bytes], then: Happens) -> Happens:
    """Say what belongs to the mark, and do something else."""

    async def happens(strike: Strike) -> bool:
        await strike.visit.say(data(strike.mark))
        return await then(strike)

    return happens


def half_a_head(mark: str) -> bytes:
    """Return no complete head."""
    return long_answer(mark)[:20]


def garbage(mark: str) -> bytes:
    """Return what is no HTTP."""
    return b"\0\1\2 " + mark.encode() + b" nothing of the kind\r\n\r\n"


def two_answers(mark: str) -> bytes:
    """Return an answer, and one that nobody asked for."""
    return usual_answer(mark) + long_answer("stolen")
