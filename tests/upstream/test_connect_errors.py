"""What errors mean is tested with the dials that meet them, in `test_dial.py`."""

import errno

from cmux_proxy import Target
from cmux_proxy.upstream.connect_errors import REFUSED, unavailable


def test_a_refusal_can_be_told_from_all_else() -> None:
    target = Target("::1", 80)
    refused = unavailable(target, ConnectionRefusedError(errno.ECONNREFUSED, ""))
    assert (refused.status, refused.error) == (502, REFUSED)
    assert refused.text.startswith("nothing listens on [::1]:80;")
    for error in (OSError(errno.EHOSTUNREACH, ""), ConnectionResetError(), RuntimeError()):
        assert unavailable(target, error).error != REFUSED
