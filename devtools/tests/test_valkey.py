"""The local Valkey: its password, its restarts, its end."""

from collections.abc import Callable

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from devtools.valkey import LocalValkey

NO_RETRY = Retry(NoBackoff(), 0)


def connect(server: LocalValkey) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=0.5, retry=NO_RETRY)


def test_each_test_finds_it_empty(valkey: LocalValkey) -> None:
    with connect(valkey) as client:
        assert client.dbsize() == 0


def test_nobody_enters_without_the_password(valkey: LocalValkey) -> None:
    with redis.Redis(port=valkey.port, retry=NO_RETRY) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_killed_server_comes_back_on_its_port(own_valkey: Callable[[], LocalValkey]) -> None:
    server = own_valkey()
    with connect(server) as client:
        client.set("key", "value")
    server.kill()
    with connect(server) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    server.start()
    with connect(server) as client:
        assert client.get("key") is None


def test_a_frozen_server_answers_nobody_and_then_goes_on(own_valkey: Callable[[], LocalValkey]) -> None:
    server = own_valkey()
    server.freeze()
    with connect(server) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    server.thaw()
    with connect(server) as client:
        assert client.ping()
    server.freeze()
    server.stop()
    assert not server.child.alive
