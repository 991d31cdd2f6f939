"""Round trips of one request, and what a longer way to the database makes of it."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPResponse
from statistics import fmean, median

from bench.load import LoadError
from bench.messages import LIST, NEW_TODO, TODOS, of_user, signed, with_token
from bench.ours import start_gateway, start_todos
from bench.relay import Relay, relay
from bench.rivals import fastify_todos, textbook_todos
from bench.rounds import FASTIFY, OURS, TEXTBOOK
from bench.stage import PEERS_DATABASE, USERS, Running, Stage
from bench.suites import CREATORS, Skipped, available
from devtools.processes import LOOPBACK

DELAY_SECONDS = 0.005
REPEATS = 20
WARM_UP_SECONDS = 15
PASSING = 5 * REPEATS
"""Todos to delete, one a request."""
CHANGE = json.dumps({"priority": "high"}).encode()
SUCCESS = range(200, 300)

type NewRequest = Callable[[], bytes]


@dataclass(frozen=True)
class Trip:
    """Round trips to the database a request, and the median of its milliseconds with 5 more each way."""

    turns: float
    delayed_ms: float


@dataclass
class Trips:
    """Of each contender by what it does; Redis is asked by our gateway alone."""

    database: dict[str, dict[str, Trip]] = field(default_factory=dict)
    redis: float | None = None


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection((LOOPBACK, port), timeout=10)

    def close(self) -> None:
        self._connection.close()

    def ask(self, request: bytes) -> bytes:
        """The body of the answer.

        Raises:
            LoadError: it was not a success.
        """
        return self._answer(request)[1]

    def ask_for_header(self, request: bytes, name: str) -> str:
        """That header of the answer; empty where it has none.

        Raises:
            LoadError: it was not a success.
        """
        return self._answer(request)[0].getheader(name, "")

    def _answer(self, request: bytes) -> tuple[HTTPResponse, bytes]:
        self._connection.sendall(request)
        answer = HTTPResponse(self._connection)
        answer.begin()
        body = answer.read()
        if answer.status not in SUCCESS:
            raise LoadError(f"{request.partition(b'\r')[0]!r} was answered {answer.status}: {body[:300]!r}")
        return answer, body


def measure_trips(stage: Stage, skipped: Skipped) -> Trips:
    """One request at a time, through a relay that counts; then once more through one that delays.

    Raises:
        LoadError: somebody refused a request.
    """
    trips = Trips()
    with (
        relay(stage.postgres.app_url()) as way,
        _serving(stage.ready(start_todos(stage, database_url=way.url))) as client,
    ):
        trips.database[OURS] = {
            what: _trip(client, way, requests) for what, requests in _our_requests(stage, client).items()
        }
    with relay(stage.postgres.app_url(PEERS_DATABASE)) as way:
        peers = {TEXTBOOK: textbook_todos, FASTIFY: fastify_todos}
        for name, running in available("trips", peers, skipped, stage, way.url):
            with _serving(running) as client:
                requests = {
                    "GET": lambda: of_user(USERS[0], target=LIST),
                    "POST": lambda: of_user(CREATORS[0], "POST", TODOS, NEW_TODO),
                }
                trips.database[name] = {what: _trip(client, way, one) for what, one in requests.items()}
    with relay(stage.valkey.url) as way:
        gateway = stage.ready(start_gateway(stage, stage.upstream_port, redis_url=way.url))
        with _serving(gateway) as client:
            trips.redis = _turns(client, way, lambda: with_token(stage.tokens[0]))
    return trips


@contextlib.contextmanager
def _serving(running: Running) -> Iterator[Client]:
    client = Client(running.port)
    try:
        yield client
    finally:
        client.close()
        running.child.stop()


def _our_requests(stage: Stage, client: Client) -> dict[str, NewRequest]:
    def asked(method: str, target: bytes = TODOS, body: bytes = b"") -> bytes:
        return signed(stage.keyring, CREATORS[0], method, target, body)

    created = [json.loads(client.ask(asked("POST", body=NEW_TODO)))["id"] for _ in range(PASSING + 1)]
    kept, *passing = [TODOS + b"/" + one.encode() for one in created]
    return {
        "GET": lambda: signed(stage.keyring, USERS[0]),
        "POST": lambda: asked("POST", body=NEW_TODO),
        "PUT": lambda: asked("PUT", kept, NEW_TODO),
        "PATCH": lambda: asked("PATCH", kept, CHANGE),
        "DELETE": lambda: asked("DELETE", passing.pop()),
    }


def _trip(client: Client, way: Relay, new_request: NewRequest) -> Trip:
    turns = _turns(client, way, new_request)
    way.delay = DELAY_SECONDS
    try:
        delayed = median(_milliseconds(client, new_request()) for _ in range(REPEATS))
    finally:
        way.delay = 0
    return Trip(turns, round(delayed, 1))


def _turns(client: Client, way: Relay, new_request: NewRequest) -> float:
    _warm_up(client, way, new_request)
    counts = []
    for _ in range(REPEATS):
        before = way.turns
        client.ask(new_request())
        counts.append(way.turns - before)
    return round(fmean(counts), 2)


def _warm_up(client: Client, way: Relay, new_request: NewRequest) -> None:
    """Until connections and statements are made, and whoever gave the server up has found it again."""
    deadline = time.monotonic() + WARM_UP_SECONDS
    asked, used = 0, False
    while asked < REPEATS or not used:
        if time.monotonic() > deadline:
            raise LoadError("a server that should be asked on every request was never asked")
        before = way.turns
        client.ask(new_request())
        asked, used = asked + 1, way.turns > before


def _milliseconds(client: Client, request: bytes) -> float:
    began = time.perf_counter()
    client.ask(request)
    return (time.perf_counter() - began) * 1000
