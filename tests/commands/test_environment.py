"""Odd environments: variables that are wrong, or meant for somebody else."""

from pathlib import Path

import pytest

from tests.helpers.proxies import MODULE, environment, proxy_process
from tests.helpers.tools import finish
from tests.helpers.wire import closed_port

WRONG = ["CMUX_LISTEN", "CMUX_CONFIG", "CMUX_AUTH_TOKEN_FILE"]
every_wrong = pytest.mark.parametrize("wrong", WRONG)


@every_wrong
@pytest.mark.parametrize(
    "arguments",
    [("connect", "--help"), ("wait", "-h"), ("ports",), ("wait", "{port}", "--timeout=0"),
     ("connect", "22", "http://127.0.0.1:{port}"), ("doctor", "--proxy", "http://127.0.0.1:{port}"),
     ("forward", "--help"), ("healthcheck", "--help"),
     ("healthcheck", "--listen", "127.0.0.1:{port}"), ("run", "--help")],
    ids=" ".join,
)  # fmt: skip
async def test_client_commands_ignore_settings_of_the_server(
    wrong: str, arguments: tuple[str, ...]
) -> None:
    with closed_port() as port:
        filled = [argument.format(port=port) for argument in arguments]
        usual = await finish(*MODULE, *filled, variables=environment())
        done = await finish(*MODULE, *filled, variables=environment(**{wrong: "/not good"}))
    assert (done.status, done.errors) == (usual.status, usual.errors)


async def test_healthcheck_reads_only_the_addresses_of_the_server(tmp_path: Path) -> None:
    for name, value, status in [("LISTEN", "x", 2), ("CONFIG", "/x", 2), ("WORKERS", "x", 1)]:
        variables = environment(CMUX_LISTEN="127.0.0.1:1")
        if name == "CONFIG":
            variables.pop("CMUX_LISTEN")
        done = await finish(*MODULE, "healthcheck", variables={**variables, f"CMUX_{name}": value})
        assert done.status == status, name
    file = tmp_path / "proxy.toml"
    file.write_text('listen = "127.0.0.1:1"\nauth-token-file = "/root/none"\n')
    done = await finish(*MODULE, "healthcheck", variables=environment(CMUX_CONFIG=str(file)))
    assert (done.status, b"127.0.0.1:1 is not healthy" in done.errors) == (1, True)


async def test_only_the_server_warns_of_unknown_variables_and_once(loop_name: str) -> None:
    variables = {"CMUX_LISTN": "x"}
    async with proxy_process(loop_name, "--workers", "2", variables=variables) as proxy:
        proxy.signal()
        assert await proxy.ended() == (
            0,
            "cmux-proxy: WARNING: unknown variables: CMUX_LISTN (did you mean CMUX_LISTEN?)\n",
        )
    done = await finish(*MODULE, "workspace-ip", "a-1", variables=environment(CMUX_LISTN="x"))
    assert (done.status, done.errors) == (0, b"")


async def test_a_token_file_that_others_can_read_gets_one_warning(
    loop_name: str, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# of May\nsecret\n")
    tokens.chmod(0o644)
    file = tmp_path / "proxy.toml"
    file.write_text(f'auth-token-file = "{tokens}"')
    expected = f"every user of this machine can read the tokens in '{tokens}'; chmod it to 600\n"
    async with proxy_process(loop_name, "--config", str(file)) as proxy:
        proxy.signal()
        assert await proxy.ended() == (0, f"cmux-proxy: WARNING: {expected}")
    with closed_port() as port:
        flags = ("--token-file", str(tokens))
        doctor = await finish(*MODULE, "doctor", *flags, "--proxy", f"http://127.0.0.1:{port}")
        assert doctor.errors.decode() == f"cmux-proxy: WARNING: {expected}"
        # What connect expected, ssh expected.
        url = f"http://127.0.0.1:{port}"
        connected = await finish(*MODULE, "connect", *flags, "22", url)
        assert b"WARNING" not in connected.errors
