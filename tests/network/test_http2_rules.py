"""The tests of HTTP/1 whose rules hold for HTTP/2 too, with clients that speak it.

Those that HTTP/2 has no words for are skipped one by one: `tests/helpers/h2_script.py` knows them.
"""

import pytest

from tests.helpers.h2_script import over_http2  # noqa: F401
from tests.network.test_access import (  # noqa: F401
    test_a_denied_port_gets_403,
    test_a_token_admits_upgrades_and_connect_and_is_not_forwarded,
    test_a_token_in_a_trailer_does_not_count,
    test_another_host_gets_421,
    test_without_a_token_nothing_reaches_the_upstream,
)
from tests.network.test_connect_retry import (  # noqa: F401
    _watch_dials,
    test_a_client_that_disconnects_ends_the_retries,
    test_a_port_that_opens_before_the_timeout_is_reached,
    test_only_refused_dials_are_repeated,
    test_without_retries_or_time_a_refused_dial_gets_502,
    test_x_cmux_wait_repeats_the_dial,
)
from tests.network.test_error_pages import (  # noqa: F401
    test_a_page_lists_other_listeners_but_no_denied_ports,
    test_all_formats_have_the_same_status_and_keep_the_connection,
    test_an_error_for_head_has_no_body,
    test_other_refusals_have_all_formats,
)
from tests.network.test_proxy_loops import (  # noqa: F401
    test_a_count_is_sent_together_with_rewritten_fields,
    test_a_loop_or_a_malformed_count_is_refused,
    test_a_request_routed_by_host_has_a_count,
    test_other_requests_have_no_count,
    test_the_count_of_a_connect_is_checked,
)
from tests.network.test_routing import (  # noqa: F401
    test_a_configured_upstream_host_is_tried_alone,
    test_a_loop_through_a_host_name_is_found,
    test_a_loop_through_the_second_loopback_is_found,
    test_a_port_that_is_closed_on_both_loopbacks_is_refused,
    test_a_request_for_the_proxy_itself_gets_508,
    test_a_request_without_the_port_field_gets_400_and_keeps_the_connection,
    test_a_second_port_field_gets_400,
    test_a_value_that_is_no_port_gets_400_and_is_not_forwarded,
    test_an_upstream_host_that_cannot_be_resolved_is_a_502,
    test_an_upstream_on_the_ipv6_loopback_is_found_and_remembered,
    test_an_upstream_that_moves_from_ipv6_to_ipv4_is_found,
    test_connect_is_routed_by_the_port_field_not_by_the_authority,
    test_each_request_of_a_connection_is_routed_by_its_own_field,
    test_other_requests_need_the_port_field_too,
    test_other_reserved_fields_are_not_forwarded,
    test_the_port_field_selects_the_upstream_in_any_case_and_is_not_forwarded,
    test_the_second_request_of_a_connection_needs_the_port_field_too,
    test_white_space_around_the_port_is_trimmed,
)
from tests.network.test_timeouts import (  # noqa: F401
    test_a_body_without_progress_gets_408,
    test_a_response_body_without_progress_is_cut,
    test_a_response_that_does_not_start_in_time_is_a_504,
    test_a_response_that_has_started_has_no_timeout_by_default,
    test_a_timeout_that_is_not_set_never_expires,
    test_an_upstream_that_does_not_accept_the_connection_is_a_504,
    test_bytes_in_either_direction_restart_the_timeout_of_a_tunnel,
    test_progress_of_a_body_restarts_its_timeout,
    test_progress_of_the_response_restarts_the_timeout_of_an_incomplete_body,
)
from tests.network.test_workspaces import (  # noqa: F401
    test_a_configured_suffix_selects_ports,
    test_a_host_selects_a_port_and_is_forwarded_unchanged,
    test_a_malformed_workspace_gets_400,
    test_a_port_field_that_contradicts_the_host_gets_400,
    test_a_tunnel_leads_into_a_workspace,
    test_a_workspace_cannot_form_a_loopback_address_or_name,
    test_a_workspace_field_that_contradicts_the_host_gets_400,
    test_a_workspace_is_never_served_by_another_address,
    test_host_routing_can_be_disabled,
    test_other_reserved_fields_work_with_host_routing,
    test_servers_in_two_workspaces_share_a_port,
    test_the_host_of_the_target_overrides_the_host_field,
)

pytestmark = pytest.mark.usefixtures("over_http2")
