"""What the rules compare and count is there before anything happens."""

from typing import get_args

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.auth_errors import Reason
from tests.pair import Pair

pytestmark = pytest.mark.xdist_group("pair")


def exported(pair: Pair, part: str) -> dict[str, Metric]:
    text = pair.raw("GET", f"{pair.description[f'{part}_admin']}/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def label_values(family: Metric, label: str) -> set[str]:
    return {sample.labels[label] for sample in family.samples}


def test_the_first_refusal_is_a_rise_from_zero_and_so_seen_by_a_rate(pair: Pair) -> None:
    gateway, todos = exported(pair, "gateway"), exported(pair, "todos")
    assert label_values(gateway["gateway_auth_failures"], "reason") == set(get_args(Reason))
    assert label_values(gateway["gateway_upstream_failures"], "reason") == {
        "connect",
        "timeout",
        "broken",
        "garbage",
        "identity_refused",
    }
    for name in ("gateway_share_refusals", "gateway_idle_clients_ended", "gateway_users_at_share"):
        assert label_values(gateway[name], "policy") == {"user-requests", "user-buffer"}
    assert label_values(todos["todos_share_refusals"], "policy") == {
        "user-buffer",
        "user-pool",
        "user-import",
        "user-export",
    }
    assert label_values(todos["todos_identity_refused"], "reason") == {
        "missing",
        "malformed",
        "unknown_key",
        "signature",
        "expired",
        "not_yet_valid",
        "digest",
        "replay",
    }


@pytest.mark.parametrize(
    ("part", "limit", "default"),
    [
        ("gateway", "gateway_in_flight_limit", 512),
        ("gateway", "gateway_buffered_bytes_limit", 128 * 2**20),
        ("todos", "todos_pool_connections_limit", 10),
    ],
)
def test_a_limit_is_told_beside_what_it_limits(pair: Pair, part: str, limit: str, default: int) -> None:
    families = exported(pair, part)
    (sample,) = families[limit].samples
    assert sample.value == default
    assert limit.removesuffix("_limit") in {name.removesuffix("_requests") for name in families}
