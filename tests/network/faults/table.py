"""All faults by name."""

from typing import Final

from tests.network.faults import client, outcomes, upstream
from tests.network.faults.content import half_chunked, half_response, usual_response
from tests.network.faults.harness import AT_ONCE, Fault
from tests.network.faults.outcomes import gets_error
from tests.network.faults.upstream import closes, half_closes, resets, sending, stalls

TERMINATED: Final = gets_error(502, "connection_terminated")

UPSTREAM_FAULTS: Final[dict[str, Fault]] = {
    "refuses": Fault(outcomes.gets_a_refusal),
    "resets": Fault(TERMINATED, resets),
    "closes": Fault(TERMINATED, closes),
    "half-closes": Fault(TERMINATED, half_closes),
    "stalls": Fault(gets_error(504, "http_response_timeout"), stalls, "response", times=AT_ONCE),
    "resets within the head": Fault(
        gets_error(502, "http_response_incomplete"), sending(upstream.half_a_head, resets)
    ),
    "resets within a body": Fault(outcomes.is_cut, sending(half_response, resets)),
    "resets within chunks": Fault(outcomes.is_cut, sending(half_chunked, resets)),
    "closes within a body": Fault(outcomes.is_cut, sending(half_response, closes)),
    "closes within chunks": Fault(outcomes.is_cut, sending(half_chunked, closes)),
    "half-closes within a body": Fault(outcomes.is_cut, sending(half_response, half_closes)),
    "stalls within a body": Fault(
        outcomes.is_cut,
        sending(half_response, stalls),
        "response_idle",
        times=AT_ONCE,
    ),
    "closes after its response": Fault(
        outcomes.gets_response, sending(usual_response, closes), closes_idle=True
    ),
    "resets while idle": Fault(
        outcomes.outlives_connection,
        sending(usual_response, upstream.resets_while_idle),
        closes_idle=True,
    ),
    "half-closes after its response": Fault(
        outcomes.gets_response, sending(usual_response, half_closes), closes_idle=True
    ),
    "closes when reused": Fault(outcomes.gets_response, upstream.closes_when_reused),
    "closes when reused, POST": Fault(outcomes.gets_response_once, upstream.closes_when_reused),
    "responds early": Fault(
        outcomes.completes_upload, sending(usual_response, upstream.reads_the_body)
    ),
    "responds early and closes": Fault(
        outcomes.gets_an_early_response, sending(usual_response, closes)
    ),
    "responds with garbage": Fault(
        gets_error(502, "http_protocol_error"), sending(upstream.malformed, stalls)
    ),
    "sends garbage within chunks": Fault(
        outcomes.is_cut, sending(half_chunked, upstream.ends_with_garbage)
    ),
    "responds twice": Fault(outcomes.gets_response, sending(upstream.two_responses, stalls)),
    "responds again while idle": Fault(
        outcomes.outlives_connection,
        sending(usual_response, upstream.sends_while_idle),
        times=8,
        is_exclusive=True,
    ),
    "does not read": Fault(
        outcomes.gets_a_write_timeout, upstream.reads_nothing, "body", times=2, is_exclusive=True
    ),
}

_SERVICES: Final = {
    "waiting": stalls,
    "with pipelined requests": stalls,
    "within the body": stalls,
    "within chunks": stalls,
    "within the response": upstream.streams,
    "in CONNECT": upstream.echoes,
    "in an upgrade": upstream.echoes,
}

CLIENT_FAULTS: Final[dict[str, Fault]] = {
    **{
        f"disconnects by {how}, {name}": Fault(client.leaving(stage, how), _SERVICES.get(name))
        for name, stage in client.STAGES.items()
        for how in ("close", "reset")
        # While requests wait to be served, a close is the same as a half-close.
        if (name, how) != ("with pipelined requests", "close")
    },
    "half-closes": Fault(client.half_closes),
    "sends the head slowly": Fault(client.sends_the_head_slowly, timeout="head", times=AT_ONCE),
    "sends the body slowly": Fault(client.sends_the_body_slowly, timeout="body", times=AT_ONCE),
    "stops within the body": Fault(client.stops_during_the_body, stalls, "body", times=AT_ONCE),
    "never reads": Fault(client.never_reads, upstream.streams, "response_idle", times=AT_ONCE),
    "sends garbage": Fault(client.sends_garbage),
    "sends a bad chunk": Fault(client.sends_a_bad_chunk, stalls),
    "uploads although refused": Fault(client.uploads_although_refused),
}
