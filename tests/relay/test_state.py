"""The states of the two halves of an exchange."""

from cmux_proxy.relay import state


def test_the_states_of_a_half_are_distinct() -> None:
    assert len({state.REQUEST_HEAD, state.REQUEST_BODY, state.REQUEST_DONE}) == 3
    responses = {state.AWAITING_HEAD, state.RESPONSE_BODY, state.RESPONSE_DONE, state.ENDED}
    assert len(responses) == 4


def test_the_modes_are_distinct() -> None:
    assert len({state.FORWARD, state.CONNECT, state.UPGRADE}) == 3
