"""Which event loop a configuration gets, in each build."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cmux_proxy import Config, ConfigError, _build
from cmux_proxy._build import HAS_NATIVE
from cmux_proxy.server import event_loops
from cmux_proxy.server.event_loops import choose_loop
from tests.helpers.proxies import MODULE, environment, is_served, path_with
from tests.helpers.tools import finish, program, wait_for_output
from tests.helpers.wire import Wire


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


# Processes without uvloop


@pytest.fixture
def without_uvloop(tmp_path: Path) -> dict[str, str]:
    """Return variables for processes in which uvloop is not installed."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['uvloop'] = None\n")
    return {"PYTHONPATH": path_with(tmp_path)}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "native" if HAS_NATIVE else "asyncio"),
        (["--no-native-io"], "asyncio"),
        (["--workers", "2"], "native" if HAS_NATIVE else "asyncio"),
    ],
    ids=["default", "no-native-io", "workers"],
)
async def test_without_uvloop_a_proxy_serves_on_the_best_of_the_other_loops(
    flags: list[str], name: str, without_uvloop: dict[str, str], tmp_path: Path
) -> None:
    command = (*MODULE, "--listen", "127.0.0.1:0", *flags)
    variables = environment(**without_uvloop)
    async with program(*command, folder=tmp_path, variables=variables) as proxy:
        port = int(await wait_for_output(proxy, r"listening on 127\.0\.0\.1:([0-9]+)\n"))
        assert await wait_for_output(proxy, r"cmux-proxy .*, ([a-z ]+)(?:, 2 workers)?\)\n") == name
        with await Wire.to("127.0.0.1", port) as wire:
            await is_served(wire)


async def test_without_uvloop_a_proxy_that_has_to_run_on_it_says_in_one_line_what_to_do(
    without_uvloop: dict[str, str],
) -> None:
    words = ("--listen", "127.0.0.1:0", "--loop", "uvloop")
    done = await finish(*MODULE, *words, variables=environment(**without_uvloop))
    assert (done.status, done.out, done.errors.decode()) == (
        2,
        b"",
        "cmux-proxy: error: Invalid value for '--loop': uvloop is not installed: "
        "pip install 'cmux-proxy[uvloop]', or use auto\n",
    )
