"""The process: commands, ports, signals, logs."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable

import httpx
from gateway_harness import Provider, cluster_node, settings_of, until
from gateway_process import GATEWAY, Serve

from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from devtools.testing.serving import http_client
from devtools.valkey import LocalValkey
from runtime.build import build_of


async def test_one_request_makes_one_line_that_names_no_user_and_no_token(
    serve: Serve, provider: Provider, upstream: ScriptedServer
) -> None:
    async with serve() as process, http_client() as client:
        token = provider.token(sub="alice-in-logs")
        response = await client.get(
            f"{process.url}/v1/todos/secret-path?q=secret-query", headers={"Authorization": f"Bearer {token}"}
        )
        line = await process.line("request")
        assert line["request_id"] == response.headers["x-request-id"]
        assert (line["route"], line["status"], line["method"]) == ("/v1/todos/{id}", 200, "GET")
        assert {"duration_ms", "upstream_ms", "user", "time", "level", "service"} <= line.keys()
        await client.get(f"{process.url}/v1/todos", headers={"Authorization": f"Bearer {token}x"})
        assert (await process.line("request"))["auth_failure"] == "malformed"
        everything = json.dumps(process.lines)
        for secret in (token, token.split(".")[2], "alice-in-logs", "secret-path", "secret-query", "A" * 43):
            assert secret not in everything


async def test_the_first_line_and_a_metric_name_the_build(serve: Serve) -> None:
    build = build_of("gateway")
    async with serve() as process, http_client(base_url=process.admin_url) as client:
        assert process.lines[0]["message"] == "starting"
        assert build._asdict().items() <= process.lines[0].items()
        metrics = (await client.get("/metrics")).text
    assert f'gateway_build_info{{python="{build.python}",version="{build.version}"}} 1.0' in metrics


async def test_the_admin_port_tells_health_and_metrics_and_nothing_else(serve: Serve, provider: Provider) -> None:
    async with serve() as process, http_client(base_url=process.admin_url) as client:
        assert (await client.get("/healthz/live")).json() == {"status": "live"}
        ready = await client.get("/healthz/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        await client.get(f"{process.url}/v1/todos")
        metrics = (await client.get("/metrics")).text
        assert 'gateway_requests_total{method="GET",route="/v1/todos",status="401"} 1.0' in metrics
        assert 'gateway_auth_failures_total{reason="missing"} 1.0' in metrics
        assert "gateway_jwks_fetch_total{" in metrics
        assert (await client.get("/v1/todos")).status_code == 404
        assert (await client.post("/metrics")).headers["allow"] == "GET, HEAD"
        # as HAProxy checks health: HTTP/1.0 without Host (RFC 9112 section 3.2)
        reader, writer = await asyncio.open_connection(*process.admin_url.removeprefix("http://").split(":"))
        writer.write(b"GET /healthz/ready HTTP/1.0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        for path in ("/healthz/live", "/healthz/ready", "/metrics", "/v1/todos"):
            get, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
            assert path == "/metrics" or head.headers["content-length"] == get.headers["content-length"]


async def test_sigterm_serves_on_for_the_drain_and_finishes_what_is_in_flight(
    serve: Serve, provider: Provider, upstream: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def held(_request: Request) -> Reply:
        await release.wait()
        return reply(b"done")

    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with serve(drain_seconds=0.5) as process, http_client() as client:
        upstream.answer = held
        in_flight = asyncio.create_task(client.get(f"{process.url}/v1/todos", headers=headers))
        await upstream.wait_for_requests(1)
        process.process.send_signal(signal.SIGTERM)
        await process.line("draining")
        upstream.answer = lambda _request: reply(b"during the drain")
        response = await client.get(f"{process.url}/v1/todos", headers=headers)
        assert (response.text, response.headers["connection"]) == ("during the drain", "close")
        assert (await client.get(f"{process.admin_url}/healthz/ready")).status_code == 503
        release.set()
        assert (await in_flight).text == "done"
        await process.line("stopped")
        assert await process.process.wait() == 0


async def test_two_processes_share_one_limit(
    serve: Serve, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    changes = {"redis_url": valkey.url, "rate_limits": "user=10/3600s"}
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with serve(**changes) as one, serve(**changes) as other, http_client() as client:
        for process in (one, other):
            if not any(line["message"] == "Redis available" for line in process.lines):
                await process.line("Redis available")
        answers = [
            await client.get(f"{url}/v1/todos", headers=headers) for _ in range(8) for url in (one.url, other.url)
        ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 6
    assert answers[9].headers["ratelimit"].startswith('"user";r=0;t=')
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers[10:])
    assert len(upstream.requests) == 10


async def test_sigterm_under_load_fails_no_request_that_was_accepted(
    serve: Serve, provider: Provider, upstream: ScriptedServer
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with serve(drain_seconds=0.5, rate_limits="user=1000000/60s") as process:
        answered: list[int] = []

        async def load() -> None:
            async with http_client() as client:
                while True:
                    try:
                        answered.append((await client.get(f"{process.url}/v1/todos", headers=headers)).status_code)
                    except httpx.ConnectError:
                        return

        loads = [asyncio.create_task(load()) for _ in range(8)]
        await until(lambda: len(answered) > 100)
        process.process.send_signal(signal.SIGTERM)
        await process.line("draining")
        before = len(answered)
        await asyncio.gather(*loads)
        await process.line("stopped")
        assert await process.process.wait() == 0
    assert len(answered) > before
    assert set(answered) == {200}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GATEWAY, *arguments], env=os.environ | environment, capture_output=True, check=False, text=True, timeout=30
    )


def test_wrong_settings_exit_with_2_and_a_line_for_each() -> None:
    ended = run("serve", GATEWAY_PORT="x", GATEWAY_ISSUER="https://id.example.com")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 4
    assert ended.stdout == ""


async def test_a_taken_port_is_one_clear_line(provider: Provider, upstream: ScriptedServer) -> None:
    settings = settings_of(provider, upstream, host="127.0.0.1", port=upstream.port, admin_port=0)
    ended = await asyncio.to_thread(run, "serve", **settings)
    assert ended.returncode == 1
    assert ended.stderr == f"cannot listen on 127.0.0.1 port {upstream.port}: Address already in use\n"


async def test_check_tells_whether_the_keys_can_be_had(provider: Provider, upstream: ScriptedServer) -> None:
    settings = settings_of(provider, upstream)
    ended = await asyncio.to_thread(run, "check", **settings)
    alone = "no GATEWAY_REDIS_URL: limits hold for each process alone\n"
    assert (ended.returncode, ended.stdout) == (0, f"settings: good\nkeys of {provider.issuer}: k1\n{alone}")
    await provider.server.stop()
    ended = await asyncio.to_thread(run, "check", **settings)
    refused = f"127.0.0.1:{provider.server.port}: connection refused"
    assert (ended.returncode, ended.stderr) == (1, f"keys of {provider.issuer}: {refused}\n")


async def test_check_finds_that_no_key_fits_the_algorithms_allowed(
    provider: Provider, upstream: ScriptedServer
) -> None:
    settings = settings_of(provider, upstream, algorithms="ES256,EdDSA")
    ended = await asyncio.to_thread(run, "check", **settings)
    assert ended.returncode == 1
    unfit = "none fits the algorithms allowed (ES256, EdDSA): this issuer has keys for RS256 only"
    assert ended.stderr == f"keys of {provider.issuer}: {unfit}\n"


async def test_check_reports_which_redis_it_found_and_what_is_wrong_with_it(
    provider: Provider, upstream: ScriptedServer, own_valkey: Callable[..., LocalValkey]
) -> None:
    async def check(url: str) -> tuple[int, str, str]:
        ended = await asyncio.to_thread(run, "check", **settings_of(provider, upstream, redis_url=url))
        return ended.returncode, ended.stdout.splitlines()[-1], ended.stderr

    good = own_valkey()
    code, found, wrong = await check(good.url)
    assert (code, wrong) == (0, "")
    assert re.fullmatch(rf"Redis at 127.0.0.1:{good.port}: valkey \S+, runs the script of the limits", found)
    evicting = own_valkey(maxmemory="64mb", maxmemory_policy="allkeys-lru")
    code, _, wrong = await check(evicting.url)
    assert (code, wrong.partition(":")[0]) == (0, "Redis at 127.0.0.1")
    assert "allkeys-lru" in wrong
    good.command("REPLICAOF", "127.0.0.1", "1")
    code, _, wrong = await check(good.url)
    assert (code, "it is a replica" in wrong) == (1, True)
    code, _, wrong = await check(cluster_node(own_valkey).url)
    assert (code, "it is a node of a cluster" in wrong) == (1, True)
    code, _, wrong = await check("redis://:secret@127.0.0.1:1")
    assert (code, wrong) == (1, "Redis at 127.0.0.1:1: connection refused\n")


async def test_a_node_of_a_cluster_stops_the_start_with_the_reason(
    provider: Provider, upstream: ScriptedServer, own_valkey: Callable[..., LocalValkey]
) -> None:
    node = cluster_node(own_valkey)
    settings = settings_of(provider, upstream, host="127.0.0.1", port=0, admin_port=0, redis_url=node.url)
    ended = await asyncio.to_thread(run, "serve", **settings)
    assert ended.returncode == 2
    [refused] = [json.loads(line)["message"] for line in ended.stdout.splitlines() if "refused to start" in line]
    assert f"Redis at 127.0.0.1:{node.port}: it is a node of a cluster" in refused


async def test_a_policy_that_deletes_keys_is_warned_of_at_the_start(
    serve: Serve, own_valkey: Callable[..., LocalValkey]
) -> None:
    evicting = own_valkey(maxmemory="64mb", maxmemory_policy="volatile-ttl")
    async with serve(redis_url=evicting.url) as process:
        warnings = [line for line in process.lines if "volatile-ttl" in str(line["message"])]
        if not warnings:
            warning = "its maxmemory-policy volatile-ttl may delete revocations and limits; set noeviction"
            await process.line(f"Redis at 127.0.0.1:{evicting.port}: {warning}")
