"""An identity provider that gives no token is named: where it is, and why."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from devtools import token
from devtools.testing.unreachable import answers, hangs_up, refusing_port, server, silent_port
from devtools.token import ProviderError, fetch_token


@pytest.mark.parametrize(
    ("listening", "reason"),
    [
        (refusing_port, "connection refused"),
        (silent_port, "timed out"),
        (lambda: server(hangs_up), "it closes the connection early, or does not speak HTTP"),
        (lambda: server(answers(b"+PONG\r\n")), "it closes the connection early, or does not speak HTTP"),
        (lambda: server(answers(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")), "status 500"),
    ],
)
def test_a_provider_that_gives_no_token_is_named_with_the_reason(
    listening: Callable[[], AbstractContextManager[int]], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token, "_ANSWER_SECONDS", 0.5)
    with listening() as port, pytest.raises(ProviderError) as failed:
        fetch_token(f"http://127.0.0.1:{port}", "alice")
    assert str(failed.value) == f"identity provider at 127.0.0.1:{port}: {reason}"
