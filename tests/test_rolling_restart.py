"""Every process of the pair replaced under traffic: no request fails, and nothing acknowledged is lost."""

import asyncio
import contextlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from pydantic import SecretStr

import todos.schema.migrate
from devtools.postgres import LocalPostgres
from devtools.testing.servers import Reply, Request, reply, scripted_server
from devtools.testing.tokens import Signer, good_claims
from devtools.valkey import LocalValkey
from tests.rolling import LOOPBACK, Deployment, Process, Service, Traffic
from todos.schema.migrate import migrate, migrations_folder
from todos.settings import MigrateSettings

pytestmark = [
    pytest.mark.xdist_group("pair"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),  # up to six processes start one after the other, on whatever machine
]
log = logging.getLogger(__name__)
DOCUMENTATION = Path(__file__).resolve().parents[1] / "docs" / "kubernetes.md"
DATABASE = "rolling"
GENEROUS = "user=1000000/60s,user-write=1000000/60s,auth-failure=1000000/60s"
DRAIN_SECONDS = "2"
BEFORE_AND_AFTER = 30
"""Answers that are waited for on both sides of a change."""
ROWS = 20_000
NEXT_REVISION = '''
"""The next version's: a column, a check and an index, beside readers and writers."""

from alembic import op

revision = "next"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE todo ADD COLUMN colour text")
    op.execute("ALTER TABLE todo ADD CONSTRAINT todo_colour CHECK (char_length(colour) < 20) NOT VALID")
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE todo VALIDATE CONSTRAINT todo_colour")
        op.execute("CREATE INDEX CONCURRENTLY todo_by_colour ON todo (user_id, colour)")
'''


@dataclass(frozen=True)
class Cluster:
    """Two gateways and two todos, each kind behind a Service."""

    gateway: Deployment
    todos: Deployment
    migration: MigrateSettings
    token: Callable[[str], str]

    def traffic(self) -> Traffic:
        return Traffic(f"http://{LOOPBACK}:{self.gateway.service.port}", self.token)


@contextlib.asynccontextmanager
async def provider(signer: Signer) -> AsyncIterator[str]:
    """An identity provider; its URL is the issuer."""
    keys = json.dumps({"keys": [signer.jwk()]}).encode()

    def answer(request: Request) -> Reply:
        issuer = f"http://{LOOPBACK}:{server.port}"
        discovery = json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/jwks"}).encode()
        return reply(keys if request.target == "/jwks" else discovery)

    async with scripted_server(answer) as server:
        yield server.url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(postgres: LocalPostgres, valkey_server: LocalValkey) -> AsyncIterator[Cluster]:
    """Started as at a first installation: all at once, the migration last."""
    postgres.create_database(DATABASE)
    migration = MigrateSettings(
        database_url=SecretStr(postgres.app_url(DATABASE)),
        migration_database_url=SecretStr(postgres.owner_url(DATABASE)),
    )
    signer, key = Signer(), new_key("first")
    async with provider(signer) as issuer, Service().listening() as outer, Service().listening() as inner:
        todos = {"TODOS_DATABASE_URL": postgres.app_url(DATABASE), "TODOS_IDENTITY_KEYS": key}
        gateway = {
            "GATEWAY_ISSUER": issuer,
            "GATEWAY_AUDIENCE": "todos",
            "GATEWAY_ALLOW_HTTP_JWKS": "true",
            "GATEWAY_UPSTREAM_URL": f"http://{LOOPBACK}:{inner.port}",
            "GATEWAY_IDENTITY_KEYS": key,
            "GATEWAY_REDIS_URL": valkey_server.url,
            "GATEWAY_RATE_LIMITS": GENEROUS,
        }
        started = Cluster(
            Deployment("gateway", outer, gateway | {"GATEWAY_DRAIN_SECONDS": DRAIN_SECONDS}),
            Deployment("todos", inner, todos | {"TODOS_DRAIN_SECONDS": DRAIN_SECONDS}),
            migration,
            lambda user: signer.token(good_claims(issuer, sub=user)),
        )
        async with contextlib.AsyncExitStack() as ending:
            ending.push_async_callback(started.gateway.kill)
            ending.push_async_callback(started.todos.kill)
            adding = [asyncio.create_task(kind.add()) for kind in (started.gateway, started.todos) for _ in range(2)]
            await asyncio.gather(*adding[:2])
            await asyncio.to_thread(lambda: list(migrate(migration)))
            await asyncio.gather(*adding)
            yield started
    postgres.drop_database(DATABASE)


def new_key(kid: str) -> str:
    return f"{kid}:{secrets.token_urlsafe(32)}"


@contextlib.asynccontextmanager
async def nothing_fails(cluster: Cluster) -> AsyncIterator[Traffic]:
    """Traffic before, during and after the block, of which not one request may fail or be forgotten."""
    async with cluster.traffic().flowing() as traffic:
        await traffic.answers(BEFORE_AND_AFTER)
        yield traffic
        await traffic.answers(BEFORE_AND_AFTER)
    log.info("answers: %s", dict(traffic.answered))
    assert traffic.failures == []
    assert await traffic.stored() == traffic.acknowledged


async def test_a_todo_service_without_its_schema_lives_and_waits_unready(
    cluster: Cluster, postgres: LocalPostgres
) -> None:
    postgres.create_database("unmigrated")
    pod = await Process.start("todos", cluster.todos.settings | {"TODOS_DATABASE_URL": postgres.app_url("unmigrated")})
    try:
        await pod.said("waiting for the database")
        assert (await pod.healthy("live"), await pod.healthy("ready")) == (True, False)
        migration = cluster.migration.model_copy(
            update={
                "database_url": SecretStr(postgres.app_url("unmigrated")),
                "migration_database_url": SecretStr(postgres.owner_url("unmigrated")),
            }
        )
        await asyncio.to_thread(lambda: list(migrate(migration)))
        await pod.ready()
    finally:
        await pod.kill()
        postgres.drop_database("unmigrated")


async def test_a_rolling_restart_of_both_services_fails_no_request(cluster: Cluster) -> None:
    before = {pod.port for pod in (*cluster.gateway.pods, *cluster.todos.pods)}
    async with nothing_fails(cluster) as traffic:
        await cluster.todos.roll(traffic)
        await cluster.gateway.roll(traffic)
    after = {pod.port for pod in (*cluster.gateway.pods, *cluster.todos.pods)}
    assert len(after) == 4
    assert not before & after


async def test_identity_keys_rotate_as_documented_and_fail_no_request(cluster: Cluster) -> None:
    old, new = cluster.gateway.settings["GATEWAY_IDENTITY_KEYS"], new_key("second")
    keys = {"old": old, "new": new, "both": f"{old},{new}"}
    steps = re.findall(r"^rotate (\w+) (\w+) (\w+)", DOCUMENTATION.read_text(), re.MULTILINE)
    async with nothing_fails(cluster) as traffic:
        for of_gateway, of_todos, restarted in steps:
            cluster.gateway.settings["GATEWAY_IDENTITY_KEYS"] = keys[of_gateway]
            cluster.todos.settings["TODOS_IDENTITY_KEYS"] = keys[of_todos]
            await {"gateway": cluster.gateway, "todos": cluster.todos}[restarted].roll(traffic)
    async with cluster.traffic().flowing() as traffic:
        await cluster.gateway.add(GATEWAY_IDENTITY_KEYS=old)
        await traffic.failed()
        await cluster.gateway.remove(cluster.gateway.pods[-1], traffic)
    assert "identity_refused" in traffic.failures[0]


async def test_a_migration_under_traffic_and_the_restart_after_it_fail_no_request(
    cluster: Cluster,
    postgres: LocalPostgres,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fill(postgres)
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), folder)
    head = max(script.name[:4] for script in (folder / "versions").glob("[0-9]*.py"))
    (folder / "versions" / "next.py").write_text(NEXT_REVISION.format(head=head))
    monkeypatch.setattr(todos.schema.migrate, "migrations_folder", lambda: folder)
    async with nothing_fails(cluster) as traffic:
        # an index that is built beside writers waits for whoever looks at the rows of before
        with psycopg.connect(postgres.superuser_url(DATABASE)) as onlooker:
            onlooker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            onlooker.execute("SELECT 1")
            migrating = asyncio.create_task(asyncio.to_thread(lambda: list(migrate(cluster.migration))))
            restarting = asyncio.create_task(cluster.todos.roll(traffic))
            await traffic.answers(BEFORE_AND_AFTER)
            assert not migrating.done()
        told = await migrating
        await restarting
    assert told[0] == f"the schema was brought from {head} to next"


async def test_without_a_drain_the_same_traffic_fails(cluster: Cluster) -> None:
    hasty = await cluster.gateway.add(GATEWAY_DRAIN_SECONDS="0")
    async with cluster.traffic().flowing() as traffic:
        await traffic.answers(BEFORE_AND_AFTER)
        assert traffic.failures == []
        hasty.terminate()
        await hasty.exited()
        await traffic.failed()
        cluster.gateway.service.endpoints.remove(hasty)
    cluster.gateway.pods.remove(hasty)


def fill(postgres: LocalPostgres) -> None:
    with psycopg.connect(postgres.superuser_url(DATABASE), autocommit=True) as superuser:
        superuser.execute(
            """
            INSERT INTO todo (user_id, id, title, description, completed, priority, tags, timezone, "order",
                              created_at, updated_at, version)
            SELECT 'carol', gen_random_uuid(), 'x', '', false, 0, '{}', 'UTC', 0, now(), now(), number
            FROM generate_series(1, %s) AS number
            """,
            [ROWS],
        )
