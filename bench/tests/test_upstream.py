import sys
from pathlib import Path

from bench.messages import message, status
from bench.trips import Client
from devtools.processes import Child, free_port, wait_until


def test_the_stand_in_for_nginx_answers_on_a_connection_that_is_kept(tmp_path: Path) -> None:
    port, question = free_port(), message("GET", b"/", [])
    child = Child("upstream", [sys.executable, "-m", "bench.upstream", str(port), "{}"], tmp_path / "log")
    try:
        wait_until(lambda: status(port, question) == 200, child, 30)
        client = Client(port)
        assert [client.ask(question) for _ in range(3)] == [b"{}"] * 3
        client.close()
    finally:
        child.stop()
