from pathlib import Path

import pytest

from bench.load import Load, LoadError
from bench.messages import NEW_TODO, TODOS, signed
from devtools.processes import Child
from identity import Keyring, parse_key, verify

KEYS = Keyring(dict([parse_key("bench:" + "A" * 43)]))
LINE = '{"requests": 100, "micros": 2000000, "p50_us": 310, "p99_us": 900, "refused": 0, "broken": 0}'


def test_the_line_of_the_script_is_found_among_what_wrk_says() -> None:
    load = Load.parse(f"Running 2s test\n  1 threads and 4 connections\n{LINE}\n")
    assert load == Load(requests=100, micros=2_000_000, p50_us=310, p99_us=900, refused=0, broken=0)
    assert load.per_second == 50


def test_a_run_that_told_nothing_is_an_error() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        Load.parse("unable to connect to 127.0.0.1:1\n")


@pytest.mark.parametrize("fault", [{"refused": 1}, {"broken": 1}, {"requests": 0}])
def test_a_run_with_a_refused_request_does_not_count(fault: dict[str, int], tmp_path: Path) -> None:
    server = Child("server", ["echo", "its last words"], tmp_path / "log")
    server.ended_within(10)
    given = {"requests": 100, "micros": 1, "p50_us": 1, "p99_us": 1, "refused": 0, "broken": 0}
    Load(**given).check("ours", server)
    with pytest.raises(LoadError, match=r"(?s)ours.*its last words"):
        Load(**{**given, **fault}).check("ours", server)


def test_signed_requests_are_proven_by_the_library_and_each_has_a_proof_of_its_own() -> None:
    proofs = set()
    for _ in range(2):
        head, _, body = signed(KEYS, "alice", "POST", TODOS, NEW_TODO).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines[1:])]
        created = int(dict(headers)[b"signature-input"].partition(b"created=")[2].partition(b";")[0])
        identity = verify(KEYS, method="POST", path=TODOS, query=b"", headers=headers, now=created)
        identity.check_body(body, created)
        assert identity.user_id == "alice"
        proofs.add(identity.proof)
    assert len(proofs) == 2


def test_every_peer_is_pinned_and_no_registry_is_named() -> None:
    lock = (Path(__file__).parents[1] / "peers" / "fastify" / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock
