"""Whether a gateway does the work that it is measured at: a wrong token must not pass."""

import httpx

from bench.load import LoadError
from bench.messages import message, status, with_token
from bench.stage import USERS, Running, Stage

UNAUTHORIZED = 401


def check_refusals(name: str, gateway: Running, stage: Stage) -> None:
    """Ask with tokens that each break one rule.

    Raises:
        LoadError: one of them passed.
    """
    for fault, request in _wrong_requests(stage).items():
        if (answered := status(gateway.port, request)) != UNAUTHORIZED:
            raise LoadError(f"the gateway {name} answered {answered} to a request with {fault}")


def _wrong_requests(stage: Stage) -> dict[str, bytes]:
    head, claims, signature = stage.tokens[0].split(".")
    other_signature = stage.tokens[1].rpartition(".")[2]
    wrong = {
        "another's signature": f"{head}.{claims}.{other_signature}",
        "no signature": f"{head}.{claims}.",
        "another's claims": f"{head}.{stage.tokens[1].split('.')[1]}.{signature}",
        "an expired token": _token(stage, ttl=-3600),
        "a token for another audience": _token(stage, aud="another"),
        "a token of another issuer": _token(stage, claims={"iss": "https://another.example"}),
    }
    return {"no token": message("GET", b"/v1/todos", []), **{fault: with_token(one) for fault, one in wrong.items()}}


def _token(stage: Stage, **asked: object) -> str:
    answer = httpx.post(f"{stage.issuer}/token", json={"sub": USERS[0], **asked}, trust_env=False)
    token: str = answer.raise_for_status().json()["access_token"]
    return token
