"""What errors mean; `test_connector.py` meets them while it connects."""

import errno

from cmux_proxy import Target
from cmux_proxy.errors import UnavailableReason
from cmux_proxy.upstream.connect_errors import unavailable


def test_a_refusal_has_a_reason_of_its_own() -> None:
    target = Target("::1", 80)
    refused = unavailable(target, ConnectionRefusedError(errno.ECONNREFUSED, ""))
    assert refused.reason is UnavailableReason.REFUSED
    assert refused.text.startswith("nothing listens on [::1]:80;")
    for error in (OSError(errno.EHOSTUNREACH, ""), ConnectionResetError(), RuntimeError()):
        assert unavailable(target, error).reason is not UnavailableReason.REFUSED
