"""What README and guides tell to paste does what they say; what cannot be run here says why."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.proxies import proxy_process
from tests.helpers.recipes import ROOT, Bench, Block, Recipe, bench, block, blocks
from tests.helpers.tools import finish, program, tool, wait_for_output

LISTENING: Final = "listening on 127.0.0.1:8080"
REDIS: Final = "redis-server --port 6379"
G: Final = "docs/guides/"
ECHO: Final = ("# echo.py", "python3 -m pip install websockets")

# These need the proxy that the page has told to start, and perhaps a service.
ASKING: Final = [
    Recipe("README.md", ("python3 -m http.server 3000",), "Directory listing for /", ("3000",)),
    Recipe("README.md", ("python3 -m pip install websockets\n",), "hello"),
    Recipe("README.md", (REDIS,), r"\+PONG\s+\+OK", ("6379",)),
    Recipe(f"{G}tcp-over-connect.md", ("printf 'PING",), r"\+PONG\s+\+OK", needs=("6379",)),
    Recipe(f"{G}run-it.md", ("curl -i http://127.0.0.1:8080/.cmux/health",), "200 OK"),
    Recipe(f"{G}tcp-over-connect.md", ("curl -p -x",), "a page", needs=("3000",)),
    Recipe(
        f"{G}tcp-over-connect.md", ("# forward.py", "python3 forward.py"), "PONG",
        ("16379",), ("6379",),
    ),
    Recipe(
        f"{G}tcp-over-websocket.md", ("# redis_ping.py", "python3 redis_ping.py"),
        r"b'\+PONG\\r\\n'", needs=("6379",),
    ),
    Recipe(f"{G}websockets.md", (*ECHO, "curl -iN"), "HTTP/1.1 101 Switching Protocols", ("3001",)),
    Recipe(f"{G}websockets.md", (*ECHO, "import asyncio\nfrom"), "hello", ("3001",)),
    Recipe(
        f"{G}workspaces.md", ("ADDRESS=$(cmux-proxy",), "Directory listing for /",
        ("127.18.0.1:3000",),
    ),
]  # fmt: skip

# These start a proxy themselves.
STARTING: Final = [
    Recipe("README.md", ("import asyncio\n\nfrom cmux_proxy",), r"listening on 127\.0\.0\.1:\d+"),
    Recipe(f"{G}ask-the-machine.md", ("cmux-proxy ports\n",), "PORT +ADDRESS +FAMILY"),
    Recipe(f"{G}ask-the-machine.md", ("python3 -m http.server",), "Directory listing for /"),
    Recipe(f"{G}browsers.md", ("cmux-proxy --listen 127.0.0.1:8080 &",), "Directory listing for /"),
    Recipe(f"{G}browsers.md", ("cmux-proxy --listen 127.0.0.1:8080 --host-suffix",), LISTENING),
    Recipe(f"{G}busy-polling.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(f"{G}dev-servers.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(f"{G}embed-it.md", ("import asyncio",), r"listening on 127\.0\.0\.1:\d+"),
    Recipe(f"{G}embed-it.md", ("from cmux_proxy import Config, Limits",), "status 0"),
    Recipe(f"{G}embed-it.md", ("from cmux_proxy import Config, Proxy, RouteRefused",), "status 0"),
    Recipe(f"{G}forwarded.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(
        f"{G}http2.md", ("python3 -m http.server",), "Directory listing for /", ("8080", "3000"),
    ),
    Recipe(f"{G}run-it.md", ("cmux-proxy --listen 127.0.0.1:8080\n",), LISTENING),
    Recipe(
        f"{G}tcp-over-connect.md", ("cmux-proxy --listen",), "a page", ("8080",), ("3000",)
    ),
    Recipe(f"{G}run-it.md", ("cmux-proxy --listen 127.0.0.1:8080 --upstream",), LISTENING),
    Recipe(f"{G}run-it.md", ("cmux-proxy --listen 127.0.0.1:8080,",), LISTENING),
    Recipe(f"{G}run-it.md", ("cat > cmux-proxy.toml",), LISTENING),
    Recipe(
        f"{G}run-it.md", ("cmux-proxy --listen unix:",), "a page",
        ("/tmp/cmux-proxy.sock",), ("3000",),
    ),
    Recipe(f"{G}run-it.md", ("cmux-proxy --listen 127.0.0.1:8080 --workers 4",), LISTENING),
    Recipe(f"{G}run-it.md", ("head -c 24",), "a page", ("8080",), ("3000",)),
    Recipe(
        f"{G}see-what-it-does.md", ("cmux-proxy --listen", "curl -s http://127.0.0.1:9179"),
        r'"idle_seconds": null[^}]*}\s*None',
    ),
    Recipe(f"{G}grpc.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(f"{G}tcp-over-websocket.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(f"{G}upstream-tls.md", ("cmux-proxy --listen",), LISTENING),
    Recipe(f"{G}workspaces.md", ("cmux-proxy --listen",), LISTENING),
]  # fmt: skip

_WITH_TLS: Final = (
    "cmux-proxy --listen 127.0.0.1:8443 --tls-cert /etc/cmux-proxy/app.example.pem --tls-"
)

# Where else it is tried, or why it cannot be.
ELSEWHERE: Final = {
    ("README.md", "python3 -m venv"): ".ci/packages installs",
    ("README.md", "make run"): ".ci/smoke",
    ("README.md", "cmux-proxy --listen 127.0.0.1:8443"): "tests/network/test_tls_local.py",
    ("README.md", "cmux-proxy trust\n"): "it changes the stores of this machine",
    (f"{G}ask-the-machine.md", "cmux-proxy ports --watch"): "tests/commands/test_ports.py",
    (f"{G}ask-the-machine.md", "cmux-proxy doctor"): "tests/commands/test_doctor.py",
    (f"{G}cluster.md", "kubectl kustomize"): "tests/deploy",
    (f"{G}cluster.md", "CMUX_WORKSPACE_HOST"): "a variable alone",
    (f"{G}cluster.md", "echo '127.0.0.2"): "it changes /etc/hosts",
    (f"{G}cluster.md", "head -c 24"): "there is no cluster here",
    (f"{G}completion.md", 'eval "$(cmux'): "tests/commands/test_completion.py",
    (f"{G}completion.md", "source <("): "tests/commands/test_completion.py",
    (f"{G}completion.md", "mkdir -p"): "tests/commands/test_completion.py",
    (f"{G}completion.md", "man cmux"): ".ci/packages looks for the page",
    (f"{G}completion.md", "man -l"): ".ci/packages looks for the page",
    (f"{G}embed-it.md", "import cmux_proxy"): "it prints nothing; tests/server/test_worker.py",
    (f"{G}dev-servers.md", "npx webpack"): "tests/network/test_slow_dev_servers.py",
    (f"{G}dev-servers.md", "ALLOWED_HOSTS"): "a part of somebody's settings",
    (f"{G}dev-servers.md", "jupyter lab"): "a program that is not here",
    (f"{G}grpc.md", "import grpc"): "tests/network/test_grpc.py",
    (f"{G}local-https.md", "cmux-proxy --listen"): "tests/network/test_tls_local.py",
    (f"{G}local-https.md", "cmux-proxy trust --remove"): "tests/commands/test_trust.py",
    (f"{G}local-https.md", "cmux-proxy trust\n"): "it changes the stores of this machine",
    (f"{G}local-https.md", "curl --cacert"): "tests/network/test_tls_local.py",
    (f"{G}reach-a-port.md", "ssh -o"): "tests/commands/test_real_programs.py",
    (f"{G}reach-a-port.md", "cmux-proxy forward"): "tests/commands/test_real_programs.py",
    (f"{G}reach-a-port.md", "SSL_CERT_FILE"): "tests/commands/test_real_tls.py",
    (f"{G}run-it.md", "cmux-proxy --listen unix:"): "tests/network/test_unix_sockets.py",
    (f"{G}run-it.md", "cmux-proxy --listen fd:"): "tests/network/test_inherited_sockets.py",
    (f"{G}run-it.md", "python3 -m venv /opt"): "tests/deploy/test_systemd.py",
    (f"{G}run-it.md", "systemctl restart"): "systemd does not run here; bench/restart.py",
    (f"{G}run-it.md", "systemctl enable --now cmux-proxy.socket"): "systemd does not run here",
    (f"{G}run-it.md", "systemctl enable --now cmux-proxy@b"): "systemd does not run here",
    (f"{G}run-it.md", "docker build"): "there is no Docker; tests/deploy/test_containers.py",
    (f"{G}run-it.md", "docker compose"): "there is no Docker; tests/deploy/test_containers.py",
    (f"{G}see-what-it-does.md", "python3 -m pip install '.[otlp]'"): "tests/network/test_traces.py",
    (f"{G}see-what-it-does.md", "import asyncio"): "it says nothing before somebody comes",
    (f"{G}tcp-over-websocket.md", "ssh -o"): "a program that is not here",
    (f"{G}tcp-over-websocket.md", "websocat -b"): "a program that is not here",
    (f"{G}tcp-over-connect.md", "curl -k"): "a service that speaks TLS is not here",
    (f"{G}tls.md", f"{_WITH_TLS}key"): "tests/network/test_tls.py",
    (f"{G}tls.md", f"{_WITH_TLS}client-ca"): "tests/network/test_tls.py",
    (f"{G}upstream-tls.md", "curl -H"): "tests/network/test_upstream_tls.py",
    (f"{G}websockets.md", "npx wscat"): "a program that is not here",
    (f"{G}workspaces.md", "cmux-proxy run"): "tests/network/test_isolation.py",
}


@contextlib.asynccontextmanager
async def service(port: int, name: str, folder: Path) -> AsyncIterator[None]:
    """Run what the documentation takes for granted at a port of its examples."""
    words: tuple[str, ...]
    if name == "3000":
        words = ("python3", "-u", "-m", "http.server", str(port), "--bind", "127.0.0.1")
        ready = "(Serving) HTTP"
    else:
        words = ("redis-server", "--port", str(port), "--save", "")
        ready = "(Ready) to accept connections"
    async with program(tool(words[0]), *words[1:], folder=folder) as running:
        await wait_for_output(running, ready)
        yield


def with_a_page(folder: Path) -> Path:
    """Return a new folder with a page in it."""
    folder.mkdir()
    (folder / "index.html").write_text("a page\n")
    return folder


async def does_what_it_says(recipe: Recipe, on: Bench, folder: Path) -> None:
    """Paste a recipe, and fail unless it prints what it should."""
    files = with_a_page(folder / "files")
    async with contextlib.AsyncExitStack() as stack:
        for name in recipe.needs:
            await stack.enter_async_context(service(on.ports[name], name, files))
        shell = program(
            tool("bash"), "-c", on.script(recipe), folder=folder, variables=on.variables
        )
        await wait_for_output(
            await stack.enter_async_context(shell), f"({on.adapt(recipe.prints)})"
        )


def name_of(recipe: Recipe) -> str:
    """Return what the test of a recipe is called."""
    return f"{recipe.page.removeprefix(G)} {recipe.beginnings[-1].partition(chr(10))[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ASKING, ids=name_of)
async def test_a_recipe_that_sends_requests_works(recipe: Recipe, tmp_path: Path) -> None:
    with bench(tmp_path) as on:
        listen = f"--listen=127.0.0.1:{on.ports['8080']}"
        async with proxy_process("asyncio", listen):
            try:
                await does_what_it_says(recipe, on, tmp_path)
            finally:
                if REDIS in recipe.beginnings:
                    # This one has gone into the background.
                    port = str(on.ports["6379"])
                    await finish(tool("redis-cli"), "-p", port, "shutdown", "nosave")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", STARTING, ids=name_of)
async def test_a_recipe_that_starts_a_program_works(recipe: Recipe, tmp_path: Path) -> None:
    with bench(tmp_path) as on:
        await does_what_it_says(recipe, on, tmp_path)


def is_known(each: Block) -> bool:
    """Return whether something is said about a block."""
    said = [(recipe.page, text) for recipe in [*ASKING, *STARTING] for text in recipe.beginnings]
    return any(
        page == each.page and each.text.startswith(text) for page, text in [*said, *ELSEWHERE]
    )


@pytest.mark.parametrize("each", blocks(), ids=lambda each: f"{each.page} {each.first}")
def test_every_block_that_can_be_pasted_is_tested(each: Block) -> None:
    assert is_known(each), "a recipe, or a reason why it is none, is missing above"


@pytest.mark.parametrize(("page", "beginning"), ELSEWHERE)
def test_blocks_that_are_tested_elsewhere_are_in_their_pages(page: str, beginning: str) -> None:
    assert block(page, beginning)
    where = ELSEWHERE[page, beginning]
    if re.match(r"(tests|\.ci)/[\w./]+$", where):
        assert (ROOT / where).exists()
