import os
import subprocess
import sys

import psycopg
import redis

from bench.relay import relay
from bench.usage import cpu_seconds, resident_bytes
from devtools.fixtures import Database
from devtools.valkey import LocalValkey


def test_a_turn_is_counted_whenever_the_client_speaks_after_the_server(valkey: LocalValkey) -> None:
    with relay(valkey.url) as way, redis.Redis.from_url(way.url) as client:
        client.ping()
        before = way.turns
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set("a", 1).get("a").execute()
        client.get("a")
        assert way.turns == before + 2


def test_what_goes_through_the_relay_arrives_whole(database: Database) -> None:
    with relay(database.owner_url) as way, psycopg.connect(way.url) as connection:
        way.delay = 0.001
        found = connection.execute("SELECT repeat('x', 300000)").fetchone()
        assert found == ("x" * 300_000,)


def test_the_usage_of_a_process_holds_that_of_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True); input()"
    before = cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        assert cpu_seconds(os.getpid()) - before >= 0.15
        assert cpu_seconds(child.pid) >= 0.15
        assert resident_bytes(os.getpid()) > resident_bytes(child.pid) > 1 << 20
        child.communicate(b"\n")
