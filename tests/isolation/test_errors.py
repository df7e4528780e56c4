"""The exception of the room."""

from cmux_proxy.errors import CmuxProxyError
from cmux_proxy.isolation.errors import IsolationError


def test_it_says_why_and_is_none_of_the_public_ones() -> None:
    assert str(IsolationError("reasons")) == "reasons"
    assert not issubclass(IsolationError, CmuxProxyError)
