"""BadMessage: a reason and a status."""

import pytest

from cmux_proxy.http1.errors import BadMessage


def test_the_status_of_a_bad_message_is_400_by_default() -> None:
    error = BadMessage("it is bad")
    assert (error.reason, error.status) == ("it is bad", 400)
    assert BadMessage("it is long", 414).status == 414


def test_the_text_of_a_bad_message_is_its_reason() -> None:
    with pytest.raises(BadMessage, match=r"^it is bad$"):
        raise BadMessage("it is bad", 505)
