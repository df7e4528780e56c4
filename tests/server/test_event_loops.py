"""Which event loop a configuration gets, in each build."""

import asyncio
from typing import Any

import pytest
import uvloop

from cmux_proxy import Config, ConfigError, _build
from cmux_proxy._build import HAS_NATIVE
from cmux_proxy.server import event_loops
from cmux_proxy.server.event_loops import choose_loop


def names(**settings: Any) -> str:
    return choose_loop(Config(**settings))[0]


def test_auto_selects_the_native_loop_where_it_is_built() -> None:
    expected = "native" if HAS_NATIVE else "uvloop"
    assert names() == names(loop="auto") == expected
    assert names(no_native_io=True) == "uvloop"


def test_other_loops_are_selected_on_request_and_have_native_streams_where_they_are_built() -> None:
    streams = " with native I/O" if HAS_NATIVE else ""
    assert names(loop="uvloop") == f"uvloop{streams}"
    assert names(loop="asyncio") == f"asyncio{streams}"
    assert names(loop="asyncio", no_native_io=True) == "asyncio"
    assert choose_loop(Config(loop="uvloop"))[1] is uvloop.new_event_loop
    assert choose_loop(Config(loop="asyncio"))[1] is asyncio.new_event_loop


@pytest.mark.skipif(not HAS_NATIVE, reason="this build has no native I/O")
def test_the_native_loop_is_made_on_request() -> None:
    loop = choose_loop(Config(loop="native"))[1]()
    try:
        assert type(loop).__name__ == "NativeLoop"
    finally:
        loop.close()
    with pytest.raises(ConfigError, match="without no-native-io") as caught:
        names(loop="native", no_native_io=True)
    assert caught.value.field == "loop"


def test_a_build_without_native_io_has_no_native_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loops, "HAS_NATIVE", False)
    monkeypatch.setattr(_build, "HAS_NATIVE", False)
    assert names() == "uvloop"
    with pytest.raises(ConfigError, match="needs Linux and a compiled build") as caught:
        names(loop="native")
    assert caught.value.field == "loop"


def test_without_uvloop_auto_selects_asyncio_and_uvloop_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_loops, "has_uvloop", lambda: False)
    monkeypatch.setattr(_build, "has_uvloop", lambda: False)
    assert names(no_native_io=True) == "asyncio"
    with pytest.raises(ConfigError, match="not installed") as caught:
        names(loop="uvloop")
    assert caught.value.field == "loop"
