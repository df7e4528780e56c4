"""BadMessage: a reason and a status."""

import pytest

from cmux_proxy.http1.errors import BadMessage


def test_a_bad_message_is_a_400_unless_said_otherwise() -> None:
    error = BadMessage("it is bad")
    assert (error.reason, error.status) == ("it is bad", 400)
    assert BadMessage("it is long", 414).status == 414


def test_a_bad_message_reads_as_its_reason() -> None:
    with pytest.raises(BadMessage, match=r"^it is bad$"):
        raise BadMessage("it is bad", 505)
