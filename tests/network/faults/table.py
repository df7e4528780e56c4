"""Every fault by its name."""

from typing import Final

from tests.network.faults import client, outcomes, upstream
from tests.network.faults.content import half, half_chunked, usual_answer
from tests.network.faults.ground import AT_ONCE, Fault
from tests.network.faults.outcomes import gets_error
from tests.network.faults.upstream import closes, half_closes, resets, saying, stalls

TERMINATED: Final = gets_error(502, "connection_terminated")

OF_UPSTREAMS: Final[dict[str, Fault]] = {
    "refuses": Fault(outcomes.is_refused),
    "resets": Fault(TERMINATED, resets),
    "closes": Fault(TERMINATED, closes),
    "half-closes": Fault(TERMINATED, half_closes),
    "stalls": Fault(gets_error(504, "http_response_timeout"), stalls, "response", times=AT_ONCE),
    "resets amid a head": Fault(
        gets_error(502, "http_response_incomplete"), saying(upstream.half_a_head, resets)
    ),
    "resets amid a length": Fault(outcomes.is_cut, saying(half, resets)),
    "resets amid chunks": Fault(outcomes.is_cut, saying(half_chunked, resets)),
    "closes amid a length": Fault(outcomes.is_cut, saying(half, closes)),
    "closes amid chunks": Fault(outcomes.is_cut, saying(half_chunked, closes)),
    "half-closes amid a length": Fault(outcomes.is_cut, saying(half, half_closes)),
    "stalls amid a length": Fault(
        outcomes.is_cut, saying(half, stalls), "response_idle", times=AT_ONCE
    ),
    "closes behind its answer": Fault(
        outcomes.gets_answer, saying(usual_answer, closes), ends_idle=True
    ),
    "resets while idle": Fault(
        outcomes.lets_it_speak, saying(usual_answer, upstream.resets_while_idle), ends_idle=True
    ),
    "half-closes behind its answer": Fault(
        outcomes.gets_answer, saying(usual_answer, half_closes), ends_idle=True
    ),
    "dies when used again": Fault(outcomes.gets_answer, upstream.dies_when_used_again),
    "dies when used again, POST": Fault(outcomes.gets_it_once, upstream.dies_when_used_again),
    "answers early": Fault(outcomes.sends_on, saying(usual_answer, upstream.takes_the_body)),
    "answers early and closes": Fault(
        outcomes.is_answered_and_closed, saying(usual_answer, closes)
    ),
    "answers garbage": Fault(
        gets_error(502, "http_protocol_error"), saying(upstream.garbage, stalls)
    ),
    "answers garbage amid chunks": Fault(
        outcomes.is_cut, saying(half_chunked, upstream.ends_in_garbage)
    ),
    "answers twice": Fault(outcomes.gets_answer, saying(upstream.two_answers, stalls)),
    "answers once more while idle": Fault(
        outcomes.lets_it_speak,
        saying(usual_answer, upstream.speaks_while_idle),
        times=8,
        is_alone=True,
    ),
    "does not read": Fault(
        outcomes.is_not_read, upstream.reads_nothing, "body", times=2, is_alone=True
    ),
}

_SERVICES: Final = {
    "waiting": stalls,
    "with more asked": stalls,
    "amid a body": stalls,
    "amid chunks": stalls,
    "amid an answer": upstream.streams,
    "in CONNECT": upstream.echoes,
    "in an upgrade": upstream.echoes,
}

OF_CLIENTS: Final[dict[str, Fault]] = {
    **{
        f"leaves by {how}, {name}": Fault(client.leaving(stage, how), _SERVICES.get(name))
        for name, stage in client.STAGES.items()
        for how in ("close", "reset")
        # With requests left to serve, a close is the same as a half-close.
        if (name, how) != ("with more asked", "close")
    },
    "half-closes": Fault(client.half_closes),
    "trickles a head": Fault(client.trickles_a_head, timeout="head", times=AT_ONCE),
    "trickles a body": Fault(client.trickles_a_body, timeout="body", times=AT_ONCE),
    "stops amid a body": Fault(client.stops_amid_a_body, stalls, "body", times=AT_ONCE),
    "never reads": Fault(client.never_reads, upstream.streams, "response_idle", times=AT_ONCE),
    "sends garbage": Fault(client.sends_garbage),
    "sends a bad chunk": Fault(client.sends_a_bad_chunk, stalls),
    "sends on though refused": Fault(client.sends_on_though_refused),
}
