"""An owner that hears nothing of its dials is a defect, which must not pass in silence."""

from typing import cast

import pytest

from cmux_proxy.errors import UnavailableReason, UpstreamUnavailable
from cmux_proxy.upstream.dial import Dial
from cmux_proxy.upstream.dial_owner import DialOwner


class Deaf(DialOwner):
    """Overrides one of four; a class of plain Python may do so in the compiled build too."""

    def dial_opened(self, dial: Dial, took: float) -> None:
        self.took = took


def test_what_an_owner_does_not_override_is_an_error() -> None:
    owner = Deaf()
    dial = cast(Dial, None)
    owner.dial_opened(dial, 0.5)
    assert owner.took == 0.5
    with pytest.raises(NotImplementedError):
        owner.dial_timed_out(dial)
    with pytest.raises(NotImplementedError):
        owner.dial_failed(dial, UpstreamUnavailable(UnavailableReason.REFUSED, "x"))
