"""Dockerfile, compose.yaml and the feature for dev containers, tested without Docker.

Linters and schemas read them; their commands run here, in folders instead of images.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

from cmux_proxy import Config
from cmux_proxy.config.options import FLAGS
from cmux_proxy.routing.workspace import WorkspaceHosts
from tests.helpers.proxies import environment
from tests.helpers.timing import LATER, later
from tests.helpers.tools import finish, missing, program, wait_for_output
from tests.helpers.wire import closed_port

ROOT: Final = Path(__file__).parent.parent.parent
FEATURE: Final = ROOT / "deploy" / "devcontainer" / "src" / "cmux-proxy"

pytestmark = pytest.mark.skipif(
    not (ROOT / "src").is_dir(), reason="the files are not part of the package"
)


def extra(name: str) -> str:
    """Return a program of the extra `deploy`."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        missing(f"{name} is not installed")
    return str(path)


def run(*command: str | Path, variables: Mapping[str, str] | None = None, **options: Any) -> str:
    """Run a program; return its output, and check that its status is 0."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=20 * LATER,
        env=environment(**(variables or {})), **options,
    )  # fmt: skip
    out: str = done.stdout
    assert done.returncode == 0, out + done.stderr
    return out


# The image


def instructions(name: str) -> list[str]:
    """Return the arguments of all instructions of this name in the Dockerfile."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def image_variables() -> dict[str, str]:
    [line] = instructions("ENV")
    return dict(word.split("=", 1) for word in shlex.split(line))


def test_the_linter_of_dockerfiles_reports_nothing() -> None:
    assert run(extra("hadolint"), ROOT / "Dockerfile") == ""


def test_all_stages_have_one_base_that_is_pinned_by_digest() -> None:
    [base] = instructions("ARG")
    assert re.fullmatch(r"PYTHON=python:3\.[0-9]+-slim@sha256:[0-9a-f]{64}", base)
    assert [line.split()[0] for line in instructions("FROM")] == ["${PYTHON}", "${PYTHON}"]


def test_the_image_runs_as_an_unprivileged_user() -> None:
    [user] = instructions("USER")
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", user)
    # The same user as in Kubernetes, where the cluster requires one that is not root.
    number = user.partition(":")[0]
    assert f"runAsUser: {number}" in (ROOT / "deploy/kubernetes/tier/deployment.yaml").read_text()


def test_the_image_listens_and_is_checked_at_the_address_of_its_variables() -> None:
    variables = image_variables()
    assert {name for name in variables if name.startswith("CMUX_")} <= {
        flag.variable for flag in FLAGS
    }
    [address] = Config(listen=variables["CMUX_LISTEN"].split(",")).addresses()
    assert instructions("EXPOSE") == [str(address.port)]
    assert instructions("ENTRYPOINT") == ['["cmux-proxy"]']
    [check] = instructions("HEALTHCHECK")
    assert check.endswith(' CMD ["cmux-proxy", "healthcheck"]')


def copied() -> list[str]:
    """Return the files that the image is built from."""
    lines = [line for line in instructions("COPY") if not line.startswith("--from")]
    return [name for line in lines for name in line.split()[:-1]]


def copy_sources(folder: Path) -> Path:
    """Copy these files, because pip leaves files in the folder where it builds."""
    sources = folder / "src"
    sources.mkdir()
    for name in copied():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    return sources


def test_only_the_files_of_the_image_are_sent_to_docker() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    assert [line[1:] for line in lines if line.startswith("!")] == copied()


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_steps_of_the_image_install_a_healthy_proxy(tmp_path: Path) -> None:
    sources, home = copy_sources(tmp_path), tmp_path / "opt"
    install = next(line for line in instructions("RUN") if "venv" in line)
    assert install.count("/opt/cmux-proxy") == 2
    steps = install.replace("/opt/cmux-proxy", str(home)).replace("COMPILE=1", "COMPILE=0")
    venv.create(tmp_path / "python", with_pip=True)
    path = os.pathsep.join([str(tmp_path / "python" / "bin"), os.environ["PATH"]])
    run("sh", "-ec", steps, variables={"PATH": path}, cwd=sources)
    with closed_port() as port:
        pass
    listen = {**image_variables(), "CMUX_LISTEN": f"0.0.0.0:{port}"}
    listen |= environment(PATH=os.pathsep.join([str(home / "bin"), os.environ["PATH"]]))
    command = str(home / "bin" / "cmux-proxy")
    async with program(command, folder=tmp_path, variables=listen) as proxy:
        await wait_for_output(proxy, r"\ncmux-proxy ([0-9.]+) ")
        assert (await finish(command, "healthcheck", variables=listen)).status == 0
    # The packages for --admin are installed too.
    run(str(home / "bin" / "python"), "-c", "import cmux_proxy.admin.admin_site")
    assert (await finish(command, "healthcheck", variables=listen)).status == 1


# Compose


def compose() -> Any:
    try:
        yaml = import_module("yaml")
    except ImportError:
        missing("PyYAML is not installed")
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_the_schema_of_compose_accepts_the_example() -> None:
    arguments = ("--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")
    assert "ok" in run(extra("check-jsonschema"), *arguments)


def test_the_example_configures_the_proxy_with_existing_variables() -> None:
    proxy = compose()["services"]["cmux-proxy"]
    named = {flag.variable: flag for flag in FLAGS}
    for variable, value in proxy["environment"].items():
        named[variable].type.convert(value, None, None)
    assert float(proxy["stop_grace_period"].removesuffix("s")) > Config().timeouts.drain
    # Without a token, only this machine may connect.
    assert all(port.startswith("127.0.0.1:") for port in proxy["ports"])


def test_the_workspaces_of_the_example_are_its_prefixed_services() -> None:
    services = compose()["services"]
    template = services.pop("cmux-proxy")["environment"]["CMUX_WORKSPACE_HOST"]
    hosts = WorkspaceHosts(template)
    assert set(services) == {hosts.host_of(name) for name in ("agent-1", "agent-2")}
    # No request can reach the proxy's own container, an address, or another name.
    assert template.endswith("-{workspace}")
    assert not "cmux-proxy".startswith(template.removesuffix("{workspace}"))


# The feature for dev containers


def feature() -> Any:
    return json.loads((FEATURE / "devcontainer-feature.json").read_text("utf-8"))


def test_the_feature_has_the_name_of_its_folder_and_the_options_of_its_script() -> None:
    metadata = feature()
    assert metadata["id"] == FEATURE.name
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    script = (FEATURE / "install.sh").read_text("utf-8")
    for name, option in metadata["options"].items():
        assert option["type"] == "string"
        assert f'{name.upper()}="${{{name.upper()}:-{option["default"]}}}"' in script


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_feature_installs_and_starts_a_proxy_beside_the_command(tmp_path: Path) -> None:
    folder, prefix = tmp_path / "feature", tmp_path / "prefix"
    shutil.copytree(FEATURE, folder)
    with closed_port() as port:
        pass
    sources = copy_sources(tmp_path)
    variables = {
        "PACKAGE": str(sources), "LISTEN": f"127.0.0.1:{port}", "PREFIX": str(prefix),
        "CMUX_PROXY_COMPILE": "0", "TMPDIR": str(tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip
    run("sh", folder / "install.sh", variables=variables)
    start = prefix / feature()["entrypoint"].removeprefix("/usr/local/")
    command = str(prefix / "bin" / "cmux-proxy")
    wait = f"until {command} healthcheck --listen 127.0.0.1:{port}; do :; done; exit 7"
    async with program("sh", "-c", '"$@"; echo "status $?"; sleep 60', "sh", str(start),
                       "sh", "-c", wait,
                       folder=tmp_path, variables=variables) as container:  # fmt: skip
        assert await later(wait_for_output(container, r"status ([0-9]+)\n")) == "7"
