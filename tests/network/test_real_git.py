"""git over HTTP: clone, fetch and push through the proxy, served by git's own CGI program."""

from pathlib import Path

from tests.helpers.messages import Message
from tests.helpers.origins import Behaviour, OriginConnection, chunk, origin
from tests.helpers.script import stage
from tests.helpers.tools import finish, tool

FILES = 200
BIG = bytes(range(256)) * 4096


def _isolated(folder: Path) -> dict[str, str]:
    """Return variables with which git reads no configuration of the user or the system."""
    return {
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@a.test",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@a.test",
    }


async def _git(folder: Path, *arguments: str) -> bytes:
    result = await finish(tool("git"), *arguments, variables=_isolated(folder))
    assert result.status == 0, result.errors.decode()
    return result.out


def cgi(folder: Path) -> Behaviour:
    """Serve the repositories of a folder with `git http-backend`."""

    async def behave(connection: OriginConnection) -> None:
        while (request := await connection.request()) is not None:
            await connection.send(await _backend(folder, request))

    return behave


async def _backend(folder: Path, request: Message) -> bytes:
    path, _question, query = request.target.partition("?")
    variables = {
        **_isolated(folder),
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.field("content-type") or "",
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_CONTENT_ENCODING": request.field("content-encoding") or "",
        "GIT_PROTOCOL": request.field("git-protocol") or "",
        "REMOTE_USER": "a",
        "REMOTE_ADDR": "127.0.0.1",
    }
    result = await finish(tool("git"), "http-backend", stdin=request.body, variables=variables)
    assert result.status == 0, result.errors.decode()
    fields, _blank, body = result.out.partition(b"\r\n\r\n")
    status = b"200 OK"
    lines = []
    for line in fields.split(b"\r\n"):
        if line.startswith(b"Status: "):
            status = line.removeprefix(b"Status: ")
        else:
            lines.append(line)
    head = b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Transfer-Encoding: chunked", b"", b""])
    parts = [body[at : at + 30_000] for at in range(0, len(body), 30_000)]
    return head + b"".join(map(chunk, parts)) + b"0\r\n\r\n"


async def _repository(folder: Path) -> None:
    """Create a repository with a commit, and a bare clone to serve."""
    work = folder / "work"
    await _git(folder, "init", "-q", "-b", "main", str(work))
    for number in range(FILES):
        (work / f"{number}.txt").write_text(f"{number}\n" * number)
    (work / "big").write_bytes(BIG)
    await _git(folder, "-C", str(work), "add", ".")
    await _git(folder, "-C", str(work), "commit", "-q", "-m", "first")
    await _git(folder, "clone", "-q", "--bare", str(work), str(folder / "served.git"))
    await _git(folder, "-C", str(folder / "served.git"), "config", "http.receivepack", "true")


async def test_clone_push_and_fetch_work_through_the_proxy(tmp_path: Path) -> None:
    await _repository(tmp_path)
    async with origin(cgi(tmp_path)) as upstream, stage() as on:
        routed = [
            *("-c", f"http.extraHeader=X-Cmux-Port-Internal: {upstream.port}"),
            *("-c", "http.proxy="),
        ]
        url = f"http://{on.address}/served.git"
        clone = tmp_path / "clone"
        await _git(tmp_path, *routed, "clone", "-q", url, str(clone))
        assert len(list(clone.glob("*.txt"))) == FILES
        assert (clone / "big").read_bytes() == BIG
        await _git(tmp_path, "-C", str(clone), "fsck", "--strict")

        # With a buffer this small, git sends an empty request first and the pack in chunks.
        (clone / "more").write_bytes(bytes(reversed(range(256))) * 2048 + tmp_path.name.encode())
        await _git(tmp_path, "-C", str(clone), "add", "more")
        await _git(tmp_path, "-C", str(clone), "commit", "-q", "-m", "second")
        push = ["-c", "http.postBuffer=1000", "push", "-q", "origin", "main"]
        await _git(tmp_path, *routed, "-C", str(clone), *push)
        assert any(request.field("transfer-encoding") == "chunked" for request in upstream.requests)

        second = tmp_path / "again"
        await _git(tmp_path, *routed, "clone", "-q", "--depth", "1", url, str(second))
        assert (second / "more").read_bytes() == (clone / "more").read_bytes()
        await _git(tmp_path, *routed, "-C", str(second), "fetch", "-q", "--unshallow")
        log = await _git(tmp_path, "-C", str(second), "log", "--format=%s")
        assert log == b"second\nfirst\n"
        assert {request.field("x-cmux-port-internal") for request in upstream.requests} == {None}


async def test_a_clone_without_the_routing_header_fails_with_a_400(tmp_path: Path) -> None:
    async with stage() as on:
        result = await finish(
            *(tool("git"), "-c", "http.proxy=", "clone", f"http://{on.address}/served.git"),
            str(tmp_path / "clone"),
            variables=_isolated(tmp_path),
        )
        assert result.status == 128
        assert b"400" in result.errors
