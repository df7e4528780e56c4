"""The JSON of the admin listener conforms to docs/reference/admin.schema.json."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cmux_proxy.admin.json_views import activity, connections
from cmux_proxy.routing.workspace import WORKSPACE_FIELD
from tests.admin.test_app import FakeSource, admin, ask
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, ObservedWorker

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/admin.schema.json").read_text())


def check(name: str, data: Any) -> None:
    """Fail unless the data conforms to a definition of the schema."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(data)))


async def test_activity_and_connections_conform_in_every_state() -> None:
    worker = ObservedWorker()
    check("activity", activity(worker.stats()))
    worker.world.client()
    worker.world.ask(GET)
    worker.world.ask(CONNECT)
    _, upstream = worker.world.ask(head("GET / HTTP/1.1", "Host: ws-1-81.localhost"))
    upstream.arrives(OK)
    worker.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    stats = worker.stats(max_connections=100)
    check("activity", activity(stats))
    check("connections", connections(stats))
    states = {connection["state"] for connection in connections(stats)["connections"]}
    assert states == {"idle", "request", "tunnel"}


async def test_long_texts_of_clients_conform() -> None:
    worker = ObservedWorker()
    worker.world.ask(
        head(f"{'M' * 9000} /{'p' * 6000} HTTP/1.1", "Host: a", ROUTE, f"{WORKSPACE_FIELD}: w")
    )
    stats = worker.stats(max_connections=100)
    check("activity", activity(stats))
    check("connections", connections(stats))
    [connection] = connections(stats)["connections"]
    assert (len(connection["method"]), len(connection["path"])) == (64, 2048)


async def test_ports_conform() -> None:
    async with admin(FakeSource()) as session:
        _, text = await ask(session, "/ports")
        data = json.loads(text)
        assert data["listening"]
        check("ports", data)


@pytest.mark.parametrize("wrong", [{"time": "now"}, {"time": 1, "connections": [], "more": 1}])
async def test_the_schema_rejects_other_data(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("connections", wrong)
