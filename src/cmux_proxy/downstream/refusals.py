"""Replies to clients whose request was not read: not admitted, a bad head, a head that is too late.

A request in plain text where only TLS is served is one of them.

Does not know when a head is bad or late: `http1_connection.py` does. Neighbours: `admission.py`
decides who may connect, `relay/failures.py` picks the status, `relay/exchange_end.py` replies to
requests that were read.
"""

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.local_reply import text_content
from cmux_proxy.net.asyncio_backend import is_encrypted
from cmux_proxy.relay.accounting import log_refusal
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.downstream import AdmissionControl, Downstream
from cmux_proxy.relay.failures import Failure, bad_request
from cmux_proxy.relay.plain_text import PlainTextRule
from cmux_proxy.relay.services import Services


def refuse(
    services: Services, client: Downstream, failure: Failure, request: ClientRequest | None = None
) -> None:
    """Send the failure, log it, and close once the client has read it.

    `request` is the request that is refused, if it was read.
    """
    note_refusal(services, client, failure, request)
    with_body = request is None or request.method != b"HEAD"
    content = text_content(failure.text)
    client.writer.send_reply(failure, content, services.date(), with_body, False)
    client.linger()


def note_refusal(
    services: Services, client: Downstream, failure: Failure, request: ClientRequest | None
) -> None:
    """Log the failure of a request that no exchange serves."""
    if services.observer is not None:
        protocol = client.protocol(-1 if request is None else request.minor)
        log_refusal(services.observer, client.address(), failure, protocol, request)


def check_admission(services: Services, client: Downstream, admission: AdmissionControl) -> None:
    """Refuse a client that may not connect; if many are refused, without a reply."""
    failure = admission.enter(client.transport)
    if failure is None:
        return
    if admission.is_crowded():
        client.transport.abort()
    else:
        refuse(services, client, failure)


def refuse_plain(
    services: Services, client: Downstream, rule: PlainTextRule, request: ClientRequest
) -> bool:
    """Refuse a request in plain text, or redirect it; return False if it is encrypted."""
    if is_encrypted(client.transport):
        return False
    try:
        failure = rule.failure(request, services.chunk_rules)
    except BadMessage as error:
        failure = bad_request(error)
    refuse(services, client, failure, request)
    return True
