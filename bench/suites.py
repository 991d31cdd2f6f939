"""Who does which work beside whom."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Concatenate

from bench.messages import LIST, NEW_TODO, TODOS, of_user, signed, with_token
from bench.ours import start_gateway, start_todos
from bench.progress import tell
from bench.refusals import check_refusals
from bench.rivals import MissingError, fastify_gateway, fastify_todos, haproxy, textbook_gateway, textbook_todos
from bench.rounds import FASTIFY, HAPROXY, OURS, TEXTBOOK, Contender, NewRequests, Suite
from bench.stage import USERS, Running, Stage
from devtools.processes import StartError

type Skipped = dict[str, str]
"""Peers that could not run, by suite and name, and how to get them."""

CREATORS = tuple(f"creator-{number}" for number in range(200))
"""Who the new todos belong to: the lists of the others stay as long as they were."""


def gateway_suite(stage: Stage, skipped: Skipped) -> Suite:
    """The hop alone: one token, an upstream that answers at once."""
    upstream = stage.upstream_port
    requests = [with_token(stage.tokens[0])]

    def one(name: str, running: Running) -> Contender:
        return Contender(name, running, [running], lambda _: requests)

    peers = {TEXTBOOK: textbook_gateway, FASTIFY: fastify_gateway, HAPROXY: haproxy}
    contenders = [one(OURS, start_gateway(stage, upstream))]
    contenders += [one(name, running) for name, running in available("gateway", peers, skipped, stage, upstream)]
    stage.ready(contenders[0].entry)
    for contender in contenders:
        check_refusals(contender.name, contender.entry, stage)
    return Suite("gateway", "the gateway hop", 32, contenders)


def todos_suites(stage: Stage, skipped: Skipped) -> list[Suite]:
    """The todo service alone: the list, then creation, by the same servers."""
    ours = start_todos(stage)
    peers = {TEXTBOOK: textbook_todos, FASTIFY: fastify_todos}
    others = list(available("todos", peers, skipped, stage))
    stage.ready(ours)

    def signed_lists(_enough: int) -> list[bytes]:
        return [signed(stage.keyring, user) for user in USERS]

    def signed_creations(enough: int) -> list[bytes]:
        return [
            signed(stage.keyring, CREATORS[turn % len(CREATORS)], "POST", TODOS, NEW_TODO) for turn in range(enough)
        ]

    def contenders(of_ours: NewRequests, of_peers: NewRequests) -> list[Contender]:
        first = Contender(OURS, ours, [ours], of_ours)
        return [first, *(Contender(name, running, [running], of_peers) for name, running in others)]

    lists = [of_user(user, target=LIST) for user in USERS]
    creations = [of_user(user, "POST", TODOS, NEW_TODO) for user in CREATORS]
    return [
        Suite("todos_list", "list of 20 todos", 16, contenders(signed_lists, lambda _: lists)),
        Suite("todos_create", "creation of a todo", 16, contenders(signed_creations, lambda _: creations)),
    ]


def pair_suite(stage: Stage) -> Suite:
    """Gateway and todo service together: the list of 20, of twenty users."""
    requests = [with_token(token) for token in stage.tokens]

    def pair(name: str, todos: Running, gateway: Running) -> Contender:
        stage.ready(gateway)
        return Contender(name, gateway, [gateway, todos], lambda _: requests)

    ours, textbook = start_todos(stage), textbook_todos(stage)
    fronts = start_gateway(stage, ours.port), textbook_gateway(stage, textbook.port)
    return Suite(
        "pair",
        "gateway and todos together",
        32,
        [pair(OURS, stage.ready(ours), fronts[0]), pair(TEXTBOOK, stage.ready(textbook), fronts[1])],
    )


def available[**Arguments](
    suite: str,
    peers: Mapping[str, Callable[Concatenate[Stage, Arguments], Running]],
    skipped: Skipped,
    stage: Stage,
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> Iterator[tuple[str, Running]]:
    """Start those of `peers` that can be had here, and note the others."""
    begun: dict[str, Running] = {}
    for name, start in peers.items():
        with _noted(f"{suite}: {name}", skipped):
            begun[name] = start(stage, *arguments, **named)
    for name, running in begun.items():
        with _noted(f"{suite}: {name}", skipped):
            yield name, stage.ready(running)


@contextlib.contextmanager
def _noted(peer: str, skipped: Skipped) -> Iterator[None]:
    try:
        yield
    except (MissingError, StartError) as error:
        skipped[peer] = str(error)
        tell(f"skipped {peer}: {error}")
