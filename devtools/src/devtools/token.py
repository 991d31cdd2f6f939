"""A token of the running stack's identity provider: `make -s token SUB=alice`."""

import json
import os
import sys
from pathlib import Path

import httpx

LOCAL = Path(__file__).resolve().parents[3] / ".local"
TTL_SECONDS = 8 * 3600
_ANSWER_SECONDS = 5


def fetch_token(issuer: str, sub: str) -> str:
    """An access token for the user `sub`, good for eight hours.

    Raises:
        httpx.HTTPError: the identity provider does not answer, or not with a token.
    """
    with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
        answer = client.post(f"{issuer}/token", json={"sub": sub, "ttl": TTL_SECONDS})
    token: str = answer.raise_for_status().json()["access_token"]
    return token


def main(local: Path = LOCAL) -> int:
    sub = os.environ.get("SUB", "")
    if not sub:
        print("SUB is empty; name a user: make -s token SUB=alice", file=sys.stderr)
        return 1
    try:
        issuer = json.loads((local / "stack.json").read_text())["idp"]
        print(fetch_token(issuer, sub))
    except (FileNotFoundError, httpx.TransportError):
        print("The stack is not running; start it with: make run", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
