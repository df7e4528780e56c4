"""Which proxy takes part in which scenario, and the commands of the proxies."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import processes
from bench.load.commands import ProxySetup, access_log
from bench.load.processes import find_program
from bench.load.programs import MARK, NEWER, OURS, PROXIES, PURE, RELAY, UNLOGGED, program
from bench.load.scenarios import load_scenarios

SCENARIOS = load_scenarios()
WIDE = SCENARIOS["get-100k-c64"]


def able(name: str) -> set[str]:
    """Return the proxies that can take part in a scenario, without variants."""
    return {
        one for one, proxy in PROXIES.items() if not proxy.variant and proxy.can(SCENARIOS[name])
    }


@pytest.mark.parametrize(
    ("scenario", "proxies"),
    [
        ("get-small-p200-c64", {OURS, PURE, MARK, NEWER, "caddy"}),
        ("get-small-logged-c64", {OURS, UNLOGGED, PURE, MARK, NEWER}),
        ("get-small-logged-json-c64", {OURS, UNLOGGED, PURE}),
        ("connect-pingpong-64b-c32", {OURS, PURE, MARK, NEWER, RELAY, "traefik"}),
        ("get-small-c64", {OURS, PURE, MARK, NEWER, RELAY, "nginx", "caddy", "traefik"}),
        ("get-small-h2-c1", {OURS, PURE, MARK, NEWER, "nginx", "caddy"}),
        ("get-small-tls-c64", {OURS, PURE, MARK, NEWER, "nginx", "caddy"}),
        ("get-1g-h2-c1", {OURS, PURE, MARK, NEWER, "haproxy-64k", "nginx", "caddy"}),
        ("connect-1g-c1", {OURS, PURE, MARK, NEWER, "haproxy-64k", "traefik"}),
    ],
)
def test_a_proxy_takes_part_where_it_can(scenario: str, proxies: set[str]) -> None:
    assert able(scenario) == proxies


def test_the_basic_proxies_run_everywhere_and_the_others_in_wide_scenarios_on_two_cores() -> None:
    runs = [WIDE, replace(WIDE, cores="same"), replace(WIDE, is_wide=False)]
    assert [PROXIES[NEWER].is_default(run) for run in runs] == [True, True, True]
    assert [PROXIES["nginx"].is_default(run) for run in runs] == [True, False, False]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_variant_for_each_event_loop_has_its_flag_and_all_skills(
    loop: str, tmp_path: Path
) -> None:
    variant = PROXIES[f"{OURS}-{loop}"]
    command = variant.requests("python", ProxySetup(1, 2, tmp_path))
    assert command[command.index("--loop") + 1] == loop
    assert (variant.variant, variant.logs) == ("loops", PROXIES[OURS].logs)
    assert variant.has_any_port


def test_a_logging_cmux_proxy_has_a_file_for_all_requests(tmp_path: Path) -> None:
    command = PROXIES[OURS].requests("python", ProxySetup(1, 2, tmp_path, "json"))
    assert command[-6:] == [
        "--access-log", "all", "--log-format", "json",
        "--access-log-file", str(access_log(tmp_path, 1)),
    ]  # fmt: skip
    assert "--access-log" not in PROXIES[OURS].requests("python", ProxySetup(1, 2, tmp_path))


@pytest.mark.parametrize("name", [MARK, NEWER])
def test_haproxy_logs_to_its_output_only_where_requests_are_logged(
    name: str, tmp_path: Path
) -> None:
    setups = [ProxySetup(1, 2, tmp_path), ProxySetup(3, 2, tmp_path, "text")]
    files = [PROXIES[name].requests("haproxy", setup)[-1] for setup in setups]
    plain, logging = (Path(file).read_text() for file in files)
    assert "log stdout format raw" in logging
    assert "option httplog" in logging
    assert "httplog" not in plain


@pytest.mark.parametrize(
    ("name", "plain", "http2", "tls"),
    [
        (MARK, "backlog 4096 \n", "backlog 4096 proto h2\n", "backlog 4096 ssl crt /pem curves "),
        ("nginx", "backlog=4096 ;", "backlog=4096 http2;", "ssl_certificate_key /pem;"),
        ("caddy", "protocols h1\n", "protocols h1 h2c\n", "tls /pem /pem\n"),
    ],
)
def test_a_rival_speaks_as_its_clients(
    name: str, plain: str, http2: str, tls: str, tmp_path: Path
) -> None:
    setup = ProxySetup(1, 2, tmp_path)
    pem = Path("/pem")
    for one, words in (
        (setup, plain),
        (replace(setup, is_http2=True), http2),
        (replace(setup, certificate=pem), tls),
    ):
        command = PROXIES[name].requests(name, one)
        assert words in Path(command[-1]).read_text()


def test_cmux_proxy_has_flags_for_tls_only(tmp_path: Path) -> None:
    setup = ProxySetup(1, 2, tmp_path)
    plain = PROXIES[OURS].requests("python", setup)
    assert PROXIES[OURS].requests("python", replace(setup, is_http2=True)) == plain
    tls = PROXIES[OURS].requests("python", replace(setup, certificate=Path("/pem")))
    assert tls == [*plain, "--tls-cert", "/pem", "--tls-key", "/pem"]


def test_a_missing_program_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROXIES, "nginx", replace(PROXIES["nginx"], find=lambda: None))
    with pytest.raises(Exception, match="nginx not found; on Debian: apt-get install nginx-light"):
        program("nginx")


def test_programs_of_the_full_run_come_before_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("newer", "system"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "caddy").touch(0o755)
    monkeypatch.setattr(processes, "_NEWER", str(tmp_path / "newer"))
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    assert find_program("caddy") == str(tmp_path / "newer/caddy")
    (tmp_path / "newer/caddy").unlink()
    assert find_program("caddy") == str(tmp_path / "system/caddy")
