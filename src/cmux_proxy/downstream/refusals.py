"""Replies to clients whose request was not read: not admitted, a bad head, a head that is too late.

Does not know when a head is bad or late: `http1_connection.py` does. Neighbours: `admission.py`
decides who may connect, `relay/failures.py` picks the status, `relay/exchange_end.py` replies to
requests that were read.
"""

from cmux_proxy.http1.local_reply import text_content
from cmux_proxy.relay.accounting import log_unread_request
from cmux_proxy.relay.downstream import AdmissionControl, Downstream
from cmux_proxy.relay.failures import Failure
from cmux_proxy.relay.services import Services


def refuse(services: Services, client: Downstream, failure: Failure) -> None:
    """Send the failure, log it, and close once the client has read it."""
    if services.observer is not None:
        log_unread_request(services.observer, client.address(), failure)
    content = text_content(failure.text)
    client.writer.send_reply(failure, content, services.date(), True, False)
    client.linger()


def check_admission(services: Services, client: Downstream, admission: AdmissionControl) -> None:
    """Refuse a client that may not connect; if many are refused, without a reply."""
    failure = admission.enter(client.transport)
    if failure is None:
        return
    if admission.is_crowded():
        client.transport.abort()
    else:
        refuse(services, client, failure)
