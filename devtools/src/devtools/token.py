"""A token of the running stack's identity provider: `make -s token SUB=alice`."""

import json
import os
import sys
from pathlib import Path

import httpx

from runtime.reachability import ServerFault, reason_of

LOCAL = Path(__file__).resolve().parents[3] / ".local"
TTL_SECONDS = 8 * 3600
_ANSWER_SECONDS = 5
_CLIENT_ERRORS: dict[type[BaseException], str] = {
    httpx.RemoteProtocolError: "it closes the connection early, or does not speak HTTP"
}


class ProviderError(Exception):
    """The identity provider gives no token; the message says where it is and why."""


def fetch_token(issuer: str, sub: str) -> str:
    """An access token for the user `sub`, good for eight hours.

    Raises:
        ProviderError: the provider does not answer, or not with a token.
    """
    try:
        with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
            answer = client.post(f"{issuer}/token", json={"sub": sub, "ttl": TTL_SECONDS})
    except httpx.TransportError as error:
        raise _provider_error(issuer, reason_of(error, _CLIENT_ERRORS)) from None
    if not answer.is_success:
        raise _provider_error(issuer, f"status {answer.status_code}")
    token: str = answer.json()["access_token"]
    return token


def _provider_error(issuer: str, reason: str) -> ProviderError:
    url = httpx.URL(issuer)
    return ProviderError(f"identity provider at {ServerFault(url.host, url.port or 80, reason)}")


def main(local: Path = LOCAL) -> int:
    sub = os.environ.get("SUB", "")
    if not sub:
        print("SUB is empty; name a user: make -s token SUB=alice", file=sys.stderr)
        return 1
    try:
        issuer = json.loads((local / "stack.json").read_text())["idp"]
        print(fetch_token(issuer, sub))
    except FileNotFoundError:
        print("The stack is not running; start it with: make run", file=sys.stderr)
        return 1
    except ProviderError as error:
        print(f"{error}. Is the stack running? Start it with: make run", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
