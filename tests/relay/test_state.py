"""What the two halves of an exchange share, before either has begun."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead, ResponseHead
from cmux_proxy.relay import failures
from cmux_proxy.relay.downstream import ClientSide
from cmux_proxy.relay.state import (
    OVER,
    REQUEST_BODY,
    REQUEST_DONE,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_DONE,
    WAITING,
    ExchangeState,
)
from tests.helpers.fakes import World
from tests.helpers.script import head


def request_head(world: World) -> RequestHead:
    """Return a scanned request."""
    found = world.context.request_scanner.scan(head("GET / HTTP/1.1", "Host: a"), 0)
    assert found is not None
    return found


def response_head(world: World) -> ResponseHead:
    """Return a scanned response."""
    found = world.context.response_scanner.scan(head("HTTP/1.1 200 OK"), 0)
    assert found is not None
    return found


def test_a_new_exchange_takes_no_body_yet() -> None:
    world = World()
    assert ExchangeState(world.context, ClientSide(), request_head(world)).takes_body is False


def test_no_two_states_of_a_side_are_the_same() -> None:
    assert len({REQUEST_HEAD, REQUEST_BODY, REQUEST_DONE}) == 3
    assert len({WAITING, RESPONSE_BODY, RESPONSE_DONE, OVER}) == 4


@pytest.mark.parametrize("name", ["_response_done", "_complete", "_grant_switch", "_fail"])
def test_what_one_half_means_for_the_other_is_said_elsewhere(name: str) -> None:
    world = World()
    sides = ExchangeState(world.context, ClientSide(), request_head(world))
    arguments: dict[str, list[object]] = {
        "_grant_switch": [response_head(world)],
        "_fail": [failures.bad_request(BadMessage("x"))],
    }
    with pytest.raises(NotImplementedError):
        getattr(sides, name)(*arguments.get(name, []))
