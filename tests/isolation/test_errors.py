"""The exception of the room."""

from cmux_proxy.errors import CmuxProxyError
from cmux_proxy.isolation.errors import IsolationError


def test_it_has_a_reason_and_is_not_a_public_error() -> None:
    assert str(IsolationError("reasons")) == "reasons"
    assert not issubclass(IsolationError, CmuxProxyError)
