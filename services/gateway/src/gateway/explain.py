"""Why the gateway would accept or refuse a token: its own verification, printed rule by rule."""

import json
import logging
import re
from asyncio import gather
from collections.abc import Collection, Mapping

from gateway.auth_errors import AuthenticationError
from gateway.keys.jwks_fetch import jwks_client
from gateway.limits.policy import AUTH_FAILURE
from gateway.limits.redis_check import is_revoked
from gateway.limits.redis_connection import RedisError
from gateway.metrics import Metrics
from gateway.settings import ServeSettings
from gateway.token.bearer import read_token
from gateway.token.claims import Bearer
from gateway.token.scopes import check_scope
from gateway.token.verifier import TokenVerifier
from gateway.wiring import trusted_issuers

MAX_INPUT_BYTES = 64 * 1024
MAX_SHOWN = 300
"""Characters of what a token says, for each rule."""
_HEADER_NAME = re.compile(rb"(?i:authorization:)\s*")
_SCHEME = re.compile(rb"(?i:bearer)\s")


class _Printed:
    """Prints each rule once it is known whether the token keeps it: when the next one is reached, or at the end."""

    def __init__(self) -> None:
        self._pending = ""

    def __call__(self, rule: str, wanted: object, members: Mapping[str, object], /, *names: str) -> None:
        self.kept()
        seen = " ".join(f"{name}={_json(members[name])}" for name in names if name in members)
        self._pending = f"{rule}: {_shortened(seen or 'nothing')}; wanted: {_shortened(_text(wanted))}"

    def kept(self) -> None:
        self._end("ok")

    def broken(self) -> None:
        self._end("REFUSED")

    def _end(self, verdict: str) -> None:
        if self._pending:
            print(f"{verdict:8} {self._pending}")
        self._pending = ""


async def explain(settings: ServeSettings, given: bytes) -> int:
    """Print what the gateway makes of the token in `given`; returns 0 where it would accept it, else 1.

    Neither the token nor its signature is printed; what the token says is printed as JSON in ASCII, so that no control
    character reaches a terminal. Nothing is logged.
    """
    logging.disable()
    value = _HEADER_NAME.sub(b"", given.strip(), count=1)
    if not value:
        print("There is no token on standard input.")
        return 1
    printed = _Printed()
    try:
        bearer = await _verify(settings, value if _SCHEME.match(value) else b"Bearer " + value, printed)
    except AuthenticationError as error:
        printed.broken()
        print(f"would be answered {error.status} {error.code}, with the reason {error.reason}")
        return 1
    printed.kept()
    return await _explain_user(settings, bearer)


async def _verify(settings: ServeSettings, authorization: bytes, printed: _Printed) -> Bearer:
    printed("Authorization", "Bearer and one token", {"bytes": len(authorization)}, "bytes")
    token = read_token(authorization)
    async with jwks_client() as client:
        issuers = trusted_issuers(settings, client, Metrics())
        await gather(*(issuer.keys.refresh() for issuer in issuers))
        return await TokenVerifier(issuers, settings.max_token_bytes).verify(token, printed)


async def _explain_user(settings: ServeSettings, bearer: Bearer) -> int:
    revoked = await _revocation(settings, bearer)
    allowed = {method: _missing_scope(settings, bearer, method) for method in ("GET", "POST")}
    print(f"user     {bearer.user_id}")
    print(f"scopes   {_shortened(_json(sorted(bearer.scopes)))}")
    print(f"reading  {allowed['GET'] or 'allowed'}")
    print(f"writing  {allowed['POST'] or 'allowed'}")
    limits = (policy for name, policy in settings.rate_limits.items() if name != AUTH_FAILURE)
    print("limits  ", ", ".join(f"{one.name}={one.limit}/{one.window}s" for one in limits) or "none")
    return 1 if revoked or all(allowed.values()) else 0


def _missing_scope(settings: ServeSettings, bearer: Bearer, method: str) -> str | None:
    try:
        check_scope(settings.required_scopes, bearer, method)
    except AuthenticationError as error:
        return f"REFUSED: {error.detail}"
    return None


async def _revocation(settings: ServeSettings, bearer: Bearer) -> bool:
    """Print whether the token is revoked, as far as that can be known; returns whether it is."""
    if settings.redis_url is None:
        print("ok       revoked: not known without GATEWAY_REDIS_URL")
        return False
    try:
        revoked = await is_revoked(settings.redis_url, bearer)
    except RedisError as error:
        print(f"unknown  revoked: Redis at {settings.redis_url.report(error)}")
        return False
    print("REFUSED  revoked: yes" if revoked else "ok       revoked: no")
    return revoked


def _text(wanted: object) -> str:
    """The members of a collection, sorted, as JSON writes them: key ids come from the provider."""
    if isinstance(wanted, str):
        return wanted
    if isinstance(wanted, Collection) and not isinstance(wanted, Mapping):
        return " or ".join(sorted("absent" if one is None else _json(one) for one in wanted)) or "none"
    return _json(wanted)


def _json(value: object) -> str:
    return json.dumps(value)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"
