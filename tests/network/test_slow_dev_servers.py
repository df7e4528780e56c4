"""Vite and webpack, with a page in Chromium under a host that they do not know."""

import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from cmux_proxy import Rewriting, Routing, Tls
from tests.helpers.authority_files import use_state
from tests.helpers.browser import Browser, chromium
from tests.helpers.proxies import MODULE, environment, local_config
from tests.helpers.script import stage
from tests.helpers.tools import finish, missing, program, tool, wait_for_output
from tests.network.test_real_trust import change_trust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SOURCES: Final = Path(__file__).parents[1] / "devservers"
COMMANDS: Final = {
    "vite": ("node", "../node_modules/vite/bin/vite.js"),
    "webpack": ("node", "serve.js"),
}
REFUSALS: Final = {
    "vite": 'Blocked request. This host ("{name}") is not allowed.',
    "webpack": "Invalid Host header",
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the servers; return the folder with their sites."""
    folder = tmp_path_factory.mktemp("devservers") / "sites"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = [tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        missing(f"npm cannot install the servers: {finished.stderr}")
    return folder


@pytest.fixture
def site(installed: Path, server: str) -> Path:
    """Return a folder with the original site of a server."""
    folder = installed / server
    shutil.copy(SOURCES / server / "word.js", folder)
    return folder


@contextlib.asynccontextmanager
async def running_site(
    site: Path, folder: Path, suffix: str, **rules: Any
) -> AsyncIterator[tuple[Browser, str]]:
    """Run the server, a browser, and a proxy with these rules; yield browser and host."""
    routing = Routing(host_suffixes=["dev.test"])
    config = local_config(rewriting=Rewriting(**rules), routing=routing)
    async with (
        program(*COMMANDS[site.name], folder=site, variables={"NO_COLOR": "1"}) as process,
        stage(config) as on,
        chromium(folder, "*.dev.test") as browser,
    ):
        port = await wait_for_output(process, r"http://localhost:([0-9]+)/")
        yield browser, f"{port}.{suffix}:{on.address.port}"


async def expect_reload(browser: Browser, host: str, site: Path, scheme: str = "http") -> None:
    """Fail unless a page receives a change of the site over a WebSocket to its own host."""
    assert await browser.open(f"{scheme}://{host}/") == 200
    assert await browser.next_report() == "first"
    await browser.next_websocket_message()
    # The new text has the same length, so that the file is never empty.
    with (site / "word.js").open("r+") as file:
        file.write('export const word = "other";')
    assert await browser.next_report() == "other"
    assert [socket.split("/")[2] for socket in browser.sockets] == [host]


@pytest.mark.parametrize("server", COMMANDS)
async def test_hot_reload_works_under_another_host(site: Path, tmp_path: Path) -> None:
    rules = {"host_header": "upstream", "rewrite_origin": True}
    async with running_site(site, tmp_path, "dev.test", **rules) as (browser, host):
        await expect_reload(browser, host, site)


@pytest.mark.parametrize("server", COMMANDS)
async def test_another_host_is_refused_without_the_flags(site: Path, tmp_path: Path) -> None:
    async with running_site(site, tmp_path, "dev.test") as (browser, host):
        assert await browser.open(f"http://{host}/") == 403
        refusal = REFUSALS[site.name].format(name=host.partition(":")[0])
        assert refusal in await browser.evaluate("document.body.innerText")


@pytest.mark.parametrize("server", COMMANDS)
async def test_the_doctor_finds_the_refusal_and_its_remedy_helps(site: Path) -> None:
    async with program(*COMMANDS[site.name], folder=site, variables={"NO_COLOR": "1"}) as process:
        port = await wait_for_output(process, r"http://localhost:([0-9]+)/")
        remedy = Rewriting(host_header="upstream", rewrite_origin=True)
        for rewriting, status in ((Rewriting(), 1), (remedy, 0)):
            async with stage(local_config(rewriting=rewriting)) as on:
                proxy = ("--proxy", f"http://{on.address}")
                flags = (*proxy, "--port", port, "--host", f"{port}.dev.test")
                finished = await finish(*MODULE, "doctor", *flags, variables=environment())
            assert finished.status == status, finished.out
            output = finished.out.decode()
            refusal = REFUSALS[site.name].format(name=f"{port}.dev.test")
            assert (refusal in output) == (status == 1), output
            assert ("--host-header upstream --rewrite-origin" in output) == (status == 1), output


@pytest.mark.parametrize("server", ["webpack"])
async def test_another_origin_is_refused_if_only_the_host_is_rewritten(
    site: Path, tmp_path: Path
) -> None:
    async with running_site(site, tmp_path, "dev.test", host_header="upstream") as (browser, host):
        assert await browser.open(f"http://{host}/") == 200
        assert await browser.next_report() == "first"
        assert "Invalid Host/Origin header" in await browser.next_websocket_message()


@pytest.mark.parametrize("server", COMMANDS)
async def test_a_host_below_localhost_needs_no_flags(site: Path, tmp_path: Path) -> None:
    async with running_site(site, tmp_path, "localhost") as (browser, host):
        await expect_reload(browser, host, site)


@pytest.mark.parametrize("server", COMMANDS)
async def test_hot_reload_works_over_tls_and_http2(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = use_state(tmp_path / "state", monkeypatch)
    config = local_config(tls=Tls(source="auto"))
    async with (
        program(*COMMANDS[site.name], folder=site, variables={"NO_COLOR": "1"}) as process,
        stage(config) as on,
    ):
        change_trust(file, tmp_path, is_removal=False)
        async with chromium(tmp_path) as browser:
            port = await wait_for_output(process, r"http://localhost:([0-9]+)/")
            await expect_reload(browser, f"{port}.localhost:{on.address.port}", site, "https")
            assert browser.document["protocol"] == "h2"
            assert browser.document["securityState"] == "secure"
