"""The peers of bench/peers: how each is started, and how to get what it needs."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

from bench.messages import of_user, with_token
from bench.progress import tell
from bench.stage import AUDIENCE, HERE, PEERS_DATABASE, PROGRAMS, USERS, Running, Stage
from devtools.processes import LOOPBACK, free_port

PEERS = HERE / "peers"
FASTIFY = PEERS / "fastify"
_INSTALL_SECONDS = 300


class MissingError(Exception):
    """A peer cannot run here; the message says how to get what it needs."""


def textbook_gateway(stage: Stage, upstream_port: int) -> Running:
    return _textbook(stage, "gateway", _gateway_environment(stage, upstream_port), with_token(stage.tokens[0]))


def textbook_todos(stage: Stage, database_url: str | None = None) -> Running:
    url = (database_url or stage.postgres.app_url(PEERS_DATABASE)).replace("postgresql://", "postgresql+asyncpg://")
    return _textbook(stage, "todos", {"DATABASE_URL": url}, of_user(USERS[0]))


def fastify_gateway(stage: Stage, upstream_port: int) -> Running:
    return _fastify(stage, "gateway", _gateway_environment(stage, upstream_port), with_token(stage.tokens[0]))


def fastify_todos(stage: Stage, database_url: str | None = None) -> Running:
    environment = {"DATABASE_URL": database_url or stage.postgres.app_url(PEERS_DATABASE)}
    return _fastify(stage, "todos", environment, of_user(USERS[0]))


def haproxy(stage: Stage, upstream_port: int) -> Running:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise MissingError("haproxy is missing: apt-get install haproxy (2.5 or later)")
    port = free_port()
    environment = {**_gateway_environment(stage, upstream_port), "PORT": str(port)}
    command: list[str | Path] = [program, "-db", "-f", PEERS / "haproxy.cfg"]
    return stage.start("haproxy", command, port, environment, with_token(stage.tokens[0]))


def _gateway_environment(stage: Stage, upstream_port: int) -> dict[str, str]:
    return {
        "ISSUER": stage.issuer,
        "AUDIENCE": AUDIENCE,
        "JWKS_URL": f"{stage.issuer}/jwks.json",
        "PUBLIC_KEY": str(stage.public_key),
        "REDIS_URL": stage.valkey.url,
        "UPSTREAM": f"{LOOPBACK}:{upstream_port}",
        "UPSTREAM_URL": f"http://{LOOPBACK}:{upstream_port}",
    }


def _textbook(stage: Stage, name: str, environment: dict[str, str], question: bytes) -> Running:
    port = free_port()
    command: list[str | Path] = [PROGRAMS / "uvicorn", f"bench.peers.textbook.{name}:app", "--no-access-log"]
    command += [f"--host={LOOPBACK}", f"--port={port}", "--log-level=warning", f"--app-dir={HERE.parent}"]
    return stage.start(f"textbook-{name}", command, port, environment, question)


def _fastify(stage: Stage, name: str, environment: dict[str, str], question: bytes) -> Running:
    if fault := _install_fastify():
        raise MissingError(fault)
    port = free_port()
    settings = {**environment, "PORT": str(port), "NODE_ENV": "production"}
    return stage.start(f"fastify-{name}", ["node", FASTIFY / f"{name}.js"], port, settings, question)


@cache
def _install_fastify() -> str | None:
    """What stands in the way, if anything does."""
    if not (shutil.which("node") and shutil.which("npm")):
        return "node or npm is missing: apt-get install nodejs npm (Node.js 20 or later)"
    lock, installed = FASTIFY / "package-lock.json", FASTIFY / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    tell("installing the Fastify peers by npm ci")
    try:
        finished = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],  # noqa: S607 - found on PATH above
            cwd=FASTIFY,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"npm ci in {FASTIFY.relative_to(HERE.parent)} took more than {_INSTALL_SECONDS} s"
    if finished.returncode != 0:
        return f"npm ci failed in {FASTIFY.relative_to(HERE.parent)}; try it by hand:\n{finished.stderr}"
    return None
