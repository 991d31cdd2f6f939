"""The pair in containers, as `docker compose --profile development up --build --wait` brings it up."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import ServeSettings as GatewaySettings
from runtime.serve import IN_FLIGHT_SECONDS
from tests.deployment.composed import DOWN_SECONDS, UP_SECONDS, Composed, composed
from tests.deployment.engine import ROOT, inspect, require_docker, run
from tests.end_to_end import *  # noqa: F403 - each promise, kept by the containers
from tests.pair import Pair
from todos.settings import MigrateSettings, PurgeSettings, ServeSettings

RUNNING = ("gateway", "todos", "postgres", "redis", "idp")
ALL = (*RUNNING, "migration")
SECRETS = {
    "gateway": {"GATEWAY_IDENTITY_KEYS", "GATEWAY_REDIS_URL"},
    "todos": {"TODOS_IDENTITY_KEYS", "TODOS_DATABASE_URL"},
    "migration": {"TODOS_DATABASE_URL", "TODOS_MIGRATION_DATABASE_URL", "TODOS_MAINTENANCE_DATABASE_URL"},
    "postgres": {"postgres_password", "todos_owner_password", "todos_app_password", "todos_maintenance_password"},
    "redis": {"redis.conf", "redis_password"},
    "idp": set[str](),
}
NETWORKS = {
    "gateway": {"outside", "services", "limits", "identity"},
    "todos": {"services", "database"},
    "migration": {"database"},
    "postgres": {"database"},
    "redis": {"limits"},
    "idp": {"identity"},
}
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
except OSError:
    print("refused")
else:
    print("reached")
"""

pytestmark = [pytest.mark.external, pytest.mark.timeout(UP_SECONDS + DOWN_SECONDS + 60)]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Composed, Pair]]:
    require_docker()
    with tempfile.TemporaryDirectory(prefix="pair-") as folder, composed(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def stack(both: tuple[Composed, Pair]) -> Composed:
    return both[0]


@pytest.fixture(scope="module")
def pair(both: tuple[Composed, Pair]) -> Pair:
    """In place of the pair that `make run` starts."""
    return both[1]


def test_up_returns_when_everything_is_healthy_and_migrated(stack: Composed) -> None:
    for service in RUNNING:
        assert stack.container(service)["State"]["Health"]["Status"] == "healthy", service
    ended = stack.container("migration")["State"]
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 0)


def test_only_the_gateway_is_published_and_on_loopback_alone(stack: Composed) -> None:
    published = {service: stack.container(service)["HostConfig"]["PortBindings"] or {} for service in ALL}
    port = str(stack.ports["GATEWAY_PORT"])
    assert published.pop("gateway") == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
    assert set(map(len, published.values())) == {0}


@pytest.mark.parametrize("service", ALL)
def test_a_container_has_no_rights_and_bounds_on_everything(stack: Composed, service: str) -> None:
    host = stack.container(service)["HostConfig"]
    assert (host["ReadonlyRootfs"], host["Privileged"], host["CapDrop"], host["CapAdd"]) == (True, False, ["ALL"], None)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert 0 < host["Memory"] <= (1024 if service == "todos" else 512) << 20  # todos reads whole imports
    assert 0 < host["PidsLimit"] <= 128
    assert host["RestartPolicy"]["Name"] == ("no" if service == "migration" else "unless-stopped")
    assert host["LogConfig"]["Config"]["max-size"]


@pytest.mark.parametrize("service", RUNNING)
def test_a_process_runs_as_no_root_without_capabilities_on_a_root_it_cannot_write(
    stack: Composed, service: str
) -> None:
    lines = stack.execute(service, "cat", "/proc/1/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"] + status["Gid"]
    assert {status[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]
    for folder in ("/", "/usr/bin", "/etc"):
        with pytest.raises(AssertionError, match=r"Read-only file system|Permission denied"):
            stack.execute(service, "touch", f"{folder}/planted")
    if service in ("gateway", "todos"):
        assert set(status["Uid"] + status["Gid"]) == {"10001"}
        mounts = stack.execute(service, "cat", "/proc/mounts").splitlines()
        [root] = [mount.split()[3] for mount in mounts if mount.split()[1] == "/"]
        assert "ro" in root.split(",")


def test_each_service_is_on_its_networks_and_only_one_of_them_leads_out(stack: Composed) -> None:
    held = {service: stack.container(service)["NetworkSettings"]["Networks"] for service in ALL}
    names = {service: {name.removeprefix(f"{stack.name}_") for name in networks} for service, networks in held.items()}
    assert names == NETWORKS
    for name in set().union(*NETWORKS.values()):
        assert inspect("network", f"{stack.name}_{name}")["Internal"] is (name != "outside"), name


def test_the_todo_service_reaches_its_database_and_nothing_outside(stack: Composed) -> None:
    def reaches(service: str, other: str, network: str, port: int) -> bool:
        networks = stack.container(other)["NetworkSettings"]["Networks"]
        address = networks[f"{stack.name}_{network}"]["IPAddress"]
        said = stack.execute(service, "python", "-c", CONNECT, address, str(port)).strip()
        return {"reached": True, "refused": False}[said]

    assert reaches("gateway", "door", "outside", 8001)
    assert not reaches("todos", "door", "outside", 8001)
    assert not reaches("idp", "door", "outside", 8001)
    assert reaches("gateway", "redis", "limits", 6379)
    assert not reaches("todos", "redis", "limits", 6379)
    assert reaches("todos", "postgres", "database", 5432)
    assert not reaches("gateway", "postgres", "database", 5432)


def test_each_container_sees_its_own_secrets_and_they_are_nowhere_else(stack: Composed) -> None:
    logs = stack.compose("logs", "--no-color")
    values = [
        part
        for file in stack.secrets.iterdir()
        if file.name.endswith("_password") or file.name == "identity_keys"
        for part in [file.read_text().strip().rpartition(":")[2]]
    ]
    assert len(values) == 6
    for service in ALL:
        described = stack.container(service)
        mounts = {mount["Destination"]: mount for mount in described["Mounts"]}
        secrets = {path.removeprefix("/run/secrets/"): mount for path, mount in mounts.items() if "secrets" in path}
        assert secrets.keys() == SECRETS[service]
        assert not any(mount["RW"] for mount in secrets.values())
        assert not any(value in json.dumps(described) for value in values)
    assert not any(value in logs for value in values)


def test_redis_answers_nobody_without_the_password(stack: Composed) -> None:
    assert stack.execute("redis", "redis-cli", "ping").startswith("NOAUTH")


def test_a_revoked_user_is_refused_from_the_next_request_on(stack: Composed, pair: Pair) -> None:
    assert pair.request("mallory", "GET", "/v1/todos").status_code == 200
    assert "revoked" in stack.execute("gateway", "gateway", "revoke", "--sub", "mallory")
    refused = pair.request("mallory", "GET", "/v1/todos")
    assert (refused.status_code, refused.json()["code"]) == (401, "revoked")


def test_the_purge_runs_as_a_job(stack: Composed) -> None:
    assert "purged" in stack.compose("run", "--rm", "--no-deps", "purge", seconds=120)


def test_the_command_of_the_readme_prints_a_token_that_is_good(stack: Composed, pair: Pair) -> None:
    command = "exec -T -e SUB=alice idp python -m devtools.token"
    assert f"$(docker compose {command})" in (ROOT / "README.md").read_text()
    token = stack.compose(*command.split()).strip()
    answer = pair.raw("GET", f"{pair.gateway}/v1/todos", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_stop_is_orderly_and_the_data_outlive_it(stack: Composed, pair: Pair) -> None:
    created = pair.request("dave", "POST", "/v1/todos", json={"title": "outlives"}).json()
    stack.compose("stop", seconds=DOWN_SECONDS)
    for service in ("gateway", "todos", "idp", "postgres", "redis"):
        state = stack.container(service)["State"]
        assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False), service
    stack.up()
    pair._tokens.clear()
    assert [todo["id"] for todo in pair.request("dave", "GET", "/v1/todos").json()] == [created["id"]]


@pytest.fixture
def drawn(tmp_path: Path) -> Composed:
    """A project that is never brought up."""
    require_docker()
    return Composed(tmp_path / "secrets")


def test_profiles_bring_what_not_everybody_needs(drawn: Composed) -> None:
    assert drawn.plan()["services"].keys() == {"gateway", "todos", "migration", "postgres", "redis"}
    for profile, service in (("development", "idp"), ("monitoring", "prometheus"), ("maintenance", "purge")):
        assert drawn.plan(profile)["services"].keys() - drawn.plan()["services"].keys() == {service}


def test_every_service_is_hardened_whatever_its_profile(drawn: Composed) -> None:
    for service in drawn.plan("*")["services"].values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["mem_limit"]) > 0
        assert "privileged" not in service


def test_a_service_is_given_only_settings_that_it_knows(drawn: Composed) -> None:
    services = drawn.plan("*")["services"]
    for name, kind in (
        ("gateway", GatewaySettings),
        ("todos", ServeSettings),
        ("migration", MigrateSettings),
        ("purge", PurgeSettings),
    ):
        prefix = "GATEWAY_" if name == "gateway" else "TODOS_"
        known = {prefix + field.upper() for field in kind.model_fields}
        secrets = {secret["target"] for secret in services[name]["secrets"]}
        given = set(services[name].get("environment", {})) | secrets
        assert given <= known, name
        required = {prefix + field.upper() for field, told in kind.model_fields.items() if told.is_required()}
        assert required <= given, name


def test_ones_own_issuer_leaves_nothing_of_the_development_provider(drawn: Composed) -> None:
    def environment(**settings: str) -> dict[str, Any]:
        return dict(drawn.plan(**settings)["services"]["gateway"]["environment"])

    development = environment()
    assert (development["GATEWAY_ISSUER"], development["GATEWAY_ALLOW_HTTP_JWKS"]) == (
        "http://idp.invalid:8080",
        "true",
    )
    issuer = {"GATEWAY_ISSUER": "https://id.example.com", "GATEWAY_AUDIENCE": "api"}
    own = environment(**issuer)
    assert own.items() >= {**issuer, "GATEWAY_ALLOW_HTTP_JWKS": ""}.items()
    issuers = '[{"issuer": "https://id.example.com", "audience": "$api"}]'
    several = environment(GATEWAY_ISSUERS=issuers)
    assert several["GATEWAY_ISSUERS"].replace("$$", "$") == issuers
    assert (several["GATEWAY_ISSUER"], several["GATEWAY_AUDIENCE"], several["GATEWAY_ALLOW_HTTP_JWKS"]) == ("", "", "")
    assert "idp.invalid" not in str([own, several])


@pytest.mark.parametrize(("service", "kind"), [("gateway", GatewaySettings), ("todos", ServeSettings)])
def test_the_grace_outlasts_the_drain(
    drawn: Composed, service: str, kind: type[GatewaySettings | ServeSettings]
) -> None:
    seconds = float(drawn.plan()["services"][service]["stop_grace_period"].removesuffix("s"))
    assert seconds > kind.model_fields["drain_seconds"].default + IN_FLIGHT_SECONDS


def test_prometheus_scrapes_the_admin_ports_and_reads_the_rules(drawn: Composed) -> None:
    config = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets == {
        "gateway": [f"gateway:{GatewaySettings.model_fields['admin_port'].default}"],
        "todos": [f"todos:{ServeSettings.model_fields['admin_port'].default}"],
    }
    prometheus = drawn.plan("monitoring")["services"]["prometheus"]
    [rules] = [volume["source"] for volume in prometheus["volumes"] if volume["target"] == "/etc/prometheus/rules"]
    assert all((Path(rules) / Path(file).name).is_file() for file in config["rule_files"])
    assert "ports" not in prometheus


def test_secrets_are_random_private_and_never_overwritten(tmp_path: Path) -> None:
    def made(name: str) -> tuple[str, dict[str, str]]:
        done = run("sh", "deploy/compose/secrets.sh", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr, {file.name: file.read_text() for file in (tmp_path / name).iterdir()}

    told, first = made("one")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "one").iterdir()} == {0o444}
    (tmp_path / "one" / "redis_url").unlink()
    again, second = made("one")
    assert second == first
    assert again.count(" made") == 1
    _, other = made("two")
    assert all(first[name] != other[name] for name in first)
    assert not any(value.strip().rpartition(":")[2] in told + again for value in first.values())


def test_without_secrets_compose_names_the_file_that_is_missing(drawn: Composed) -> None:
    missing = drawn.secrets / "postgres_password"
    missing.unlink()
    try:
        with pytest.raises(AssertionError, match=f"does not exist: {missing}"):
            drawn.compose("create", "--no-build", "postgres")
    finally:
        drawn.down()
