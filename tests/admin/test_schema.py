"""The lists of the admin listener are as docs/reference/admin.schema.json says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cmux_proxy.admin.aggregate import merged
from cmux_proxy.admin.json_views import activity, connections
from cmux_proxy.routing.workspace import WORKSPACE_FIELD
from tests.admin.test_app import Told, admin, ask
from tests.helpers.script import head
from tests.helpers.snapshots import CONNECT, GET, OK, ROUTE, Counted

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/admin.schema.json").read_text())


def check(name: str, told: Any) -> None:
    """Fail unless it is what the schema says."""
    whole = {**SCHEMA, "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator(whole).validate(json.loads(json.dumps(told)))


async def test_activity_and_connections_are_so_whatever_goes_on() -> None:
    on = Counted()
    check("activity", activity(merged([on.told()])))
    on.world.client()
    on.world.ask(GET)
    on.world.ask(CONNECT)
    _, upstream = on.world.ask(head("GET / HTTP/1.1", "Host: ws-1-81.localhost"))
    upstream.arrives(OK)
    on.world.client().arrives(head("GET / HTTP/1.1", "Host: a"))
    told = merged([on.told(most=100)])
    check("activity", activity(told))
    check("connections", connections(told))
    states = {one["state"] for one in connections(told)["connections"]}
    assert states == {"idle", "request", "tunnel"}


async def test_long_texts_of_clients_are_so_too() -> None:
    on = Counted()
    on.world.ask(
        head(f"{'M' * 9000} /{'p' * 6000} HTTP/1.1", "Host: a", ROUTE, f"{WORKSPACE_FIELD}: w")
    )
    told = merged([on.told(most=100)])
    check("activity", activity(told))
    check("connections", connections(told))
    [one] = connections(told)["connections"]
    assert (len(one["method"]), len(one["path"])) == (64, 2048)


async def test_ports_are_so() -> None:
    async with admin(Told()) as session:
        _, text = await ask(session, "/ports")
        told = json.loads(text)
        assert told["listening"]
        check("ports", told)


@pytest.mark.parametrize("wrong", [{"time": "now"}, {"time": 1, "connections": [], "more": 1}])
async def test_the_schema_refuses_what_is_otherwise(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("connections", wrong)
