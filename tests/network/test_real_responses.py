"""Real services whose responses violate strict rules, with curl as the client."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.helpers.nginx import nginx
from tests.helpers.script import Stage, stage
from tests.helpers.timing import later
from tests.helpers.tools import finish, program, tool, wait_for_output
from tests.network.test_real_nginx import CONFIG

# Python's own server, which many frameworks use for development; HTTP/1.1 if a handler says so.
HTTP_SERVER = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        getattr(self, "get_" + self.path[1:])()

    do_HEAD = do_DELETE = do_GET

    def respond(self, status, body, *fields):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def get_deleted(self):
        self.respond(204, b'{"deleted": true}', ("Content-Length", "17"))

    def get_deleted_in_chunks(self):
        self.respond(204, b"2\\r\\n{}\\r\\n0\\r\\n\\r\\n", ("Transfer-Encoding", "chunked"))

    def get_copied(self):
        length = ("Content-Length", "2")
        self.respond(200, b"ok", length, length)

    def get_recoded(self):
        fields = (("Content-Length", "2"), ("Transfer-Encoding", "chunked"))
        self.respond(200, b"2\\r\\nok\\r\\n0\\r\\n\\r\\n", *fields)

    def get_padded(self):
        body = b"2     \\r\\nok\\r\\n00000000\\r\\n\\r\\n"
        self.respond(200, body, ("Transfer-Encoding", "chunked"))

    def get_old(self):
        self.protocol_version = "HTTP/1.0"
        self.respond(200, b"2\\r\\nok\\r\\n0\\r\\n\\r\\n", ("Transfer-Encoding", "chunked"))

    def get_kept(self):
        self.respond(200, b"ok", ("Connection", "keep-alive; timeout=5"), ("Content-Length", "2"))

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
"""

# The server behind Django's runserver.
WSGI = """
from wsgiref.simple_server import make_server

def application(environ, start_response):
    body = b'{"deleted": true}'
    start_response("204 No Content", [("Content-Length", str(len(body)))])
    return [body]

server = make_server("127.0.0.1", 0, application)
print("port", server.server_port, flush=True)
server.serve_forever()
"""

NODE = """
const server = require("http").createServer((request, response) => {
  const status = Number(request.url.slice(1));
  response.writeHead(status, { "Content-Length": 4 });
  response.end("gone");
});
server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
"""

SCRIPT = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX-Script: yes\\n\\nhello\\n'\n"

FOLDED = """
        location = /policy {{
            add_header Content-Security-Policy "default-src 'self';
                script-src 'self' https://a.example;
                style-src 'self'";
            return 200 ok;
        }}
    }}
"""


@asynccontextmanager
async def service(folder: Path, *command: str) -> AsyncIterator[int]:
    """Run a service that prints its port."""
    async with program(*command, folder=folder) as process:
        yield int(await wait_for_output(process, r"port (\d+)"))


async def curl(on: Stage, port: int, path: str, *arguments: str) -> tuple[str, str]:
    """Return the head and the body that curl receives."""
    result = await finish(
        *(tool("curl"), "-q", "-sS", "-i", "--noproxy", "", "--max-time", "30", *arguments),
        *("-H", f"X-Cmux-Port-Internal: {port}", f"http://{on.address}{path}"),
    )
    assert (result.status, result.errors) == (0, b"")
    response, _, body = result.out.decode().partition("\r\n\r\n")
    return response, body


# The path, the status and the body.
RESPONSES = [
    pytest.param("/deleted", "204 No Content", "", id="204 with a length and a body"),
    pytest.param("/deleted_in_chunks", "204 No Content", "", id="204 in chunks"),
    pytest.param("/copied", "200 OK", "ok", id="length twice"),
    pytest.param("/recoded", "200 OK", "ok", id="length beside chunks"),
    pytest.param("/padded", "200 OK", "ok", id="padded chunk sizes"),
    pytest.param("/old", "200 OK", "ok", id="chunks in HTTP/1.0"),
    pytest.param("/kept", "200 OK", "ok", id="a parameter in Connection"),
]


@pytest.mark.parametrize(("path", "status", "body"), RESPONSES)
@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_pythons_http_server(
    version: str, path: str, status: str, body: str, tmp_path: Path
) -> None:
    async with service(tmp_path, sys.executable, "-c", HTTP_SERVER) as port, stage() as on:
        response, received = await curl(on, port, path, version)
        assert response.startswith(f"HTTP/1.1 {status}\r\n")
        assert received == body
        fields = response.lower()
        assert ("content-length" in fields) + ("transfer-encoding" in fields) == (
            1 if body and (path in ("/copied", "/kept") or version == "--http1.1") else 0
        )


async def test_a_204_of_wsgiref_with_a_body(tmp_path: Path) -> None:
    async with service(tmp_path, sys.executable, "-c", WSGI) as port, stage() as on:
        for _ in range(2):
            response, body = await curl(on, port, "/", "-X", "DELETE")
            assert response.startswith("HTTP/1.1 204 No Content\r\n")
            assert "content-length" not in response.lower()
            assert body == ""


async def test_a_204_and_a_304_of_node_with_a_length(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    async with service(tmp_path, node, "-e", NODE) as port, stage() as on:
        for status in (204, 304, 200):
            response, body = await curl(on, port, f"/{status}")
            assert response.startswith(f"HTTP/1.1 {status} ")
            assert ("Content-Length" in response) == (status != 204)
            assert body == ("gone" if status == 200 else "")


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="http.server has no --cgi any more")
async def test_a_shell_script_behind_pythons_cgi_server(scripts: Path) -> None:
    command = (sys.executable, "-W", "ignore", "-u", "-m", "http.server", "--cgi")
    async with program(*command, "--bind", "127.0.0.1", "0", folder=scripts) as process:
        port = int(await wait_for_output(process, r"port (\d+)"))
        async with stage() as on:
            await assert_script_responds(on, port)


async def test_a_shell_script_behind_busybox(scripts: Path) -> None:
    async with inetd(tool("busybox"), "httpd", "-i", "-h", str(scripts)) as port, stage() as on:
        await assert_script_responds(on, port)


@pytest.fixture
def scripts() -> Iterator[Path]:
    """Return a folder with a script; CGI servers of root run it as user nobody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cgi-bin").mkdir()
        (folder / "cgi-bin" / "hello").write_text(SCRIPT)
        for path in (folder, folder / "cgi-bin", folder / "cgi-bin" / "hello"):
            path.chmod(0o755)
        yield folder


async def assert_script_responds(on: Stage, port: int) -> None:
    response, body = await curl(on, port, "/cgi-bin/hello")
    assert response.startswith("HTTP/1.1 200 ")
    assert "\r\nX-Script: yes" in response
    assert response.count("\n") == response.count("\r\n")
    assert body == "hello\n"


@asynccontextmanager
async def inetd(*command: str) -> AsyncIterator[int]:
    """Run a program for each connection, which is its standard input and output."""

    async def serve(listening: socket.socket) -> None:
        while True:
            sock, _address = await asyncio.get_running_loop().sock_accept(listening)
            with sock:
                sock.setblocking(True)
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=sock.fileno(), stdout=sock.fileno()
                )
            try:
                await later(process.wait())
            finally:
                if process.returncode is None:
                    # `process.kill` would take the status of a process that has just ended.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                    await process.wait()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        task = asyncio.get_running_loop().create_task(serve(listening))
        try:
            yield listening.getsockname()[1]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
async def test_nginx_with_a_policy_over_several_lines(end: str, tmp_path: Path) -> None:
    config = CONFIG.rstrip().removesuffix("}}\n}}").rstrip() + FOLDED.replace("\n", end) + "}}\n"
    async with nginx(tmp_path, config) as port, stage() as on:
        for _ in range(2):
            response, body = await curl(on, port, "/policy")
            policy = "default-src 'self'; script-src 'self' https://a.example; style-src 'self'"
            assert f"\r\nContent-Security-Policy: {policy}\r\n" in f"{response}\r\n"
            assert body == "ok"
