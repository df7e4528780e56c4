"""The states of an exchange's two halves."""

from cmux_proxy.relay import state


def test_no_two_states_of_a_half_are_the_same() -> None:
    assert len({state.REQUEST_HEAD, state.REQUEST_BODY, state.REQUEST_DONE}) == 3
    responses = {state.AWAITING_HEAD, state.RESPONSE_BODY, state.RESPONSE_DONE, state.ENDED}
    assert len(responses) == 4


def test_no_two_modes_are_the_same() -> None:
    assert len({state.FORWARD, state.CONNECT, state.UPGRADE}) == 3
