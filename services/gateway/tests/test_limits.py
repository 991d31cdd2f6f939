"""The limits: their arithmetic, that replicas share them, and that Redis's troubles are not the users'."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import patch

import pytest
from gateway_harness import Provider, Running, StartGateway, until
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from devtools.testing.servers import ScriptedServer
from devtools.valkey import LocalValkey
from gateway.limits import gcra
from gateway.limits.gcra import MICROSECONDS
from gateway.limits.limiter import Limiter
from gateway.limits.local_limits import REMEMBERED_KEYS, LocalLimits
from gateway.limits.policy import Policy, parse_policy
from gateway.limits.redis_limits import RedisLimits
from gateway.limits.revocation import RevocationMemory
from gateway.metrics import Metrics
from gateway.token.claims import Bearer
from runtime.problems import ProblemError

policies = st.builds(Policy, st.just("user"), st.integers(1, 1000), st.integers(1, 3600))
small_policies = st.builds(Policy, st.just("user"), st.integers(1, 50), st.integers(1, 3600))
TWO_PER_MINUTE = Policy("user", 2, 60)
ONE_WRITE = Policy("user-write", 1, 60)


def allowed_times(policy: Policy, gaps: list[int]) -> list[int]:
    """The instants at which a request passed, of requests with these gaps between them; microseconds."""
    now, arrival, passed = 10**12, 0, []
    for gap in gaps:
        now += gap
        verdict, arrival = gcra.evaluate(policy, arrival, now)
        if verdict.allowed:
            passed.append(now)
    return passed


@given(small_policies, st.lists(st.floats(0, 3), max_size=60))
def test_no_span_of_time_sees_more_than_the_burst_and_what_refills_in_it(policy: Policy, pauses: list[float]) -> None:
    interval = policy.window * MICROSECONDS // policy.limit
    gaps = [*(int(pause * interval) for pause in pauses), *[0] * (policy.limit + 1)]
    passed = allowed_times(policy, gaps)
    assert len(passed) < len(gaps)
    for start in range(len(passed)):
        for end in range(start, len(passed)):
            assert end - start + 1 <= policy.limit + (passed[end] - passed[start]) // interval


@given(policies, st.lists(st.integers(0, 120 * MICROSECONDS), max_size=60))
def test_the_verdict_agrees_with_a_bucket_that_refills_evenly(policy: Policy, gaps: list[int]) -> None:
    interval = policy.window * MICROSECONDS // policy.limit
    now, arrival, missing = 10**12, 0, 0
    for gap in gaps:
        now += gap
        missing = max(0, missing - gap)
        verdict, arrival = gcra.evaluate(policy, arrival, now)
        assert verdict.allowed == (missing + interval <= interval * policy.limit)
        if verdict.allowed:
            missing += interval
        assert verdict.reset == missing
        assert verdict.remaining == (interval * policy.limit - missing) // interval


@given(policies, st.integers(1, 2 * 3600 * MICROSECONDS))
def test_retry_is_the_very_instant_at_which_the_request_passes(policy: Policy, too_early: int) -> None:
    now, interval = 10**12, policy.window * MICROSECONDS // policy.limit
    verdict, arrival = gcra.evaluate(policy, now + interval * (policy.limit - 1) + too_early, now)
    assert not verdict.allowed
    assert verdict.retry == too_early
    assert gcra.evaluate(policy, arrival, now + verdict.retry)[0].allowed
    assert not gcra.evaluate(policy, arrival, now + verdict.retry - 1)[0].allowed


@given(policies)
def test_the_whole_limit_passes_at_once_and_not_one_more(policy: Policy) -> None:
    assert len(allowed_times(policy, [0] * (policy.limit + 1))) == policy.limit


@given(st.integers(1, 60), st.integers(1, 100), st.integers(0, 5))
def test_the_limits_library_lets_the_same_through_at_rest_and_at_an_even_pace(
    limit: int, requests: int, idle_windows: int
) -> None:
    policy, item = Policy("user", limit, 60), RateLimitItemPerMinute(limit)
    local, clock = LocalLimits(1, clock=lambda: clock.now), _FakeTime()
    with clock.in_place_of_time():
        library = MovingWindowRateLimiter(MemoryStorage())
        for pace in (0.0, 60 / limit + 0.001):
            clock.now += 120 + 60 * idle_windows
            for _ in range(requests):
                assert local.check("alice", [policy])[0].allowed == library.hit(item, "alice")
                clock.now += pace


class _FakeTime:
    """The instant that both limiters see; seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def in_place_of_time(self) -> AbstractContextManager[object]:
        return patch("limits.storage.memory.time.time", lambda: self.now)


def test_all_policies_are_charged_or_none() -> None:
    local = LocalLimits(1, clock=lambda: 1000.0)
    assert all(verdict.allowed for verdict in local.check("alice", [TWO_PER_MINUTE, ONE_WRITE]))
    for _ in range(3):
        assert [v.allowed for v in local.check("alice", [TWO_PER_MINUTE, ONE_WRITE])] == [True, False]
    assert [v.remaining for v in local.check("alice", [TWO_PER_MINUTE])] == [0]


def test_local_limits_are_divided_among_replicas_and_never_nothing() -> None:
    local = LocalLimits(4, clock=lambda: 1000.0)
    assert local.check("alice", [Policy("user", 8, 60)])[0].policy.limit == 2
    assert local.check("bob", [TWO_PER_MINUTE])[0].allowed


def test_local_memory_is_bounded() -> None:
    local = LocalLimits(1, clock=lambda: 1000.0)
    for number in range(REMEMBERED_KEYS + 10):
        local.check(f"user-{number}", [TWO_PER_MINUTE])
    assert len(local._arrivals) == REMEMBERED_KEYS


@pytest.mark.parametrize(
    "text", ["", "user", "user=", "user=1", "user=1/60", "user=1/60m", "user=0/60s", "user=1/0s", "user=-1/60s",
             "other=1/60s", "user=1/60s,user-write=2/60s", "user=60000001/60s"],
)  # fmt: skip
def test_an_unreadable_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        parse_policy(text)


async def get(
    gateway: Running, provider: Provider, user: str = "alice", method: str = "GET"
) -> tuple[int, dict[str, str]]:
    headers = {"Authorization": f"Bearer {provider.token(sub=user)}"}
    response = await gateway.client.request(method, "/v1/todos", headers=headers)
    return response.status_code, dict(response.headers)


async def test_the_answer_tells_the_limits_and_a_refusal_when_to_come_back(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    async with start_gateway(rate_limits="user=3/60s,user-write=1/60s") as gateway:
        status, headers = await get(gateway, provider, method="POST")
        assert status == 200
        assert headers["ratelimit"] == '"user";r=2;t=20, "user-write";r=0;t=60'
        assert headers["ratelimit-policy"] == '"user";q=3;w=60, "user-write";q=1;w=60'
        status, headers = await get(gateway, provider, method="POST")
        assert status == 429
        assert 0 < int(headers["retry-after"]) <= 60
        assert headers["content-type"] == "application/problem+json"
        assert '"user-write";r=0;t=60' in headers["ratelimit"]
        status, headers = await get(gateway, provider)
        assert (status, headers["ratelimit"]) == (200, '"user";r=1;t=40')
        assert (await get(gateway, provider, "bob"))[0] == 200
        assert len(upstream.requests) == 3
        assert gateway.metric("gateway_ratelimit_degraded") == 1


@pytest.mark.parametrize(
    ("limits", "violated"),
    [
        ("user=1/60s", ["user"]),
        ("user=600/60s,user-write=1/60s", ["user-write"]),
        ("user=1/60s,user-write=1/60s", ["user", "user-write"]),
    ],
)
async def test_a_refusal_names_the_limits_that_were_exceeded(
    start_gateway: StartGateway, provider: Provider, limits: str, violated: list[str]
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with start_gateway(rate_limits=limits) as gateway:
        passed, refused = [await gateway.client.post("/v1/todos", headers=headers) for _ in range(2)]
        assert (passed.status_code, refused.status_code) == (200, 429)
        assert refused.json()["violated-policies"] == violated


async def test_a_refusal_for_failing_tokens_names_their_limit(start_gateway: StartGateway, provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.token(aud='other')}"}
    async with start_gateway(rate_limits="auth-failure=1/60s") as gateway:
        failed, refused = [await gateway.client.get("/v1/todos", headers=headers) for _ in range(2)]
        assert (failed.status_code, refused.status_code) == (401, 429)
        assert "violated-policies" not in failed.json()
        assert refused.json()["violated-policies"] == ["auth-failure"]


async def test_two_gateways_share_one_limit(
    start_gateway: StartGateway, provider: Provider, valkey: LocalValkey
) -> None:
    changes = {"redis_url": valkey.url, "rate_limits": "user=10/3600s"}
    async with start_gateway(**changes) as one, start_gateway(**changes) as other:
        for gateway in (one, other):
            await until(lambda gateway=gateway: gateway.metric("gateway_ratelimit_degraded") == 0)  # type: ignore[misc]
        answers = [await get(gateway, provider) for _ in range(8) for gateway in (one, other)]
    statuses = [status for status, _ in answers]
    assert statuses == [200] * 10 + [429] * 6
    assert all(int(headers["retry-after"]) > 0 for status, headers in answers if status == 429)


async def test_a_denial_is_remembered_without_asking_redis(
    start_gateway: StartGateway, provider: Provider, valkey: LocalValkey
) -> None:
    async with start_gateway(redis_url=valkey.url, rate_limits="user=1/3600s") as gateway:
        await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)
        assert [(await get(gateway, provider))[0] for _ in range(4)] == [200, 429, 429, 429]

        def denied(source: str) -> float:
            labels = {"policy": "user", "decision": "denied", "source": source}
            return gateway.metric("gateway_ratelimit_decisions_total", **labels)

        assert (denied("redis"), denied("memory")) == (1, 2)


async def test_a_denial_is_remembered_for_its_time_and_then_checked_again(redis_limits: RedisLimits) -> None:
    clock, metrics = _FakeTime(), Metrics()
    policies = {"user": Policy("user", 1, 3600)}
    memory = RevocationMemory(3600, 10)
    limiter = Limiter(policies, redis_limits, LocalLimits(1), memory, "local", metrics, clock=lambda: clock.now)
    alice = Bearer("alice", expires=time.time() + 60)

    async def denied(source: str) -> float:
        with pytest.raises(ProblemError, match="rate_limited"):
            await limiter.admit(alice, write=False)
        labels = {"policy": "user", "decision": "denied", "source": source}
        return metrics.registry.get_sample_value("gateway_ratelimit_decisions_total", labels) or 0.0

    await limiter.admit(alice, write=False)
    assert await denied("redis") == 1
    clock.now += 1800
    assert await denied("memory") == 1
    clock.now += 1801
    # Redis's own clock has not moved
    assert await denied("redis") == 2


async def test_one_token_that_reads_and_writes_is_held_to_the_limits_of_each(
    start_gateway: StartGateway, provider: Provider, valkey: LocalValkey
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with start_gateway(redis_url=valkey.url, rate_limits="user=4/3600s,user-write=1/3600s") as gateway:
        await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)
        answers = [
            (await gateway.client.request(method, "/v1/todos", headers=headers)).status_code
            for method in ("GET", "POST", "GET", "POST", "GET", "GET")
        ]
    assert answers == [200, 200, 200, 429, 200, 429]


async def test_redis_killed_under_load_fails_no_request_and_sharing_comes_back_by_itself(
    start_gateway: StartGateway,
    provider: Provider,
    own_valkey: Callable[[], LocalValkey],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.limits.redis_limits.PROBE_SECONDS", 0.05)
    server = own_valkey()
    async with start_gateway(redis_url=server.url, rate_limits="user=100000/60s") as gateway:
        await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)
        statuses: list[int] = []
        stop = asyncio.Event()

        async def load(user: str) -> None:
            while not stop.is_set():
                statuses.append((await get(gateway, provider, user))[0])

        loads = [asyncio.create_task(load(f"user-{number}")) for number in range(8)]
        await until(lambda: len(statuses) > 50)
        server.kill()
        await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 1)
        degraded = len(statuses)
        await until(lambda: len(statuses) > degraded + 50)
        await asyncio.to_thread(server.start)
        await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)
        shared = gateway.metric("gateway_ratelimit_decisions_total", policy="user", decision="allowed", source="redis")
        await until(
            lambda: (
                gateway.metric("gateway_ratelimit_decisions_total", policy="user", decision="allowed", source="redis")
                > shared + 50
            )
        )
        stop.set()
        await asyncio.gather(*loads)
    assert set(statuses) == {200}


@pytest.mark.parametrize(("setting", "statuses"), [("local", [200, 429]), ("open", [200, 200]), ("closed", [503, 503])])
async def test_without_redis_the_setting_decides(
    start_gateway: StartGateway,
    provider: Provider,
    own_valkey: Callable[[], LocalValkey],
    setting: str,
    statuses: list[int],
) -> None:
    server = own_valkey()
    server.stop()
    async with start_gateway(redis_url=server.url, rate_limits="user=1/60s", on_redis_failure=setting) as gateway:
        answers = [await get(gateway, provider) for _ in statuses]
    assert [status for status, _ in answers] == statuses
    if setting == "closed":
        assert all(int(headers["retry-after"]) > 0 for _, headers in answers)


async def test_failing_tokens_of_one_address_turn_into_429_and_a_good_one_still_passes(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway(rate_limits="user=600/60s,auth-failure=2/60s") as gateway:

        async def status(**claims: object) -> int:
            headers = {"Authorization": f"Bearer {provider.token(**claims)}"}
            return (await gateway.client.get("/v1/todos", headers=headers)).status_code

        long_ago = int(time.time()) - 7200
        assert [await status(iat=long_ago, exp=long_ago + 60) for _ in range(4)] == [401] * 4
        assert [(await gateway.client.get("/v1/todos")).status_code for _ in range(4)] == [401] * 4
        odd = {"Authorization": "Bearer"}
        assert [(await gateway.client.get("/v1/todos", headers=odd)).status_code for _ in range(4)] == [400] * 4
        assert [await status(aud="other") for _ in range(4)] == [401, 401, 429, 429]
        assert await status() == 200
        assert gateway.metric("gateway_auth_failures_total", reason="rate_limited") == 2
