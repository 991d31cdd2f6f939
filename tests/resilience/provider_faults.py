"""The identity provider slow, and rotating its keys while tokens with unknown key ids flood in."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

import httpx

from devtools.testing.tokens import encode, encode_json, good_claims
from tests.resilience import network_faults
from tests.resilience.client import Outcome
from tests.resilience.scenario import Scenario, Stage, nobody

FLOOD_PAUSE_SECONDS = 0.05
ROTATION_SECONDS = 8
"""Longer than a good token may have to wait for its key to be known."""
LINKS = ("gateway-1-provider", "gateway-2-provider")


class Rotation:
    """Every other user comes with a token of the new key; those are `touched`, the others keep theirs."""

    def __init__(self) -> None:
        self._users: set[str] = set()

    def touched(self, outcome: Outcome) -> bool:
        return outcome.user in self._users

    @contextlib.asynccontextmanager
    async def fault(self, stage: Stage) -> AsyncIterator[None]:
        flooding = asyncio.create_task(_flood(stage))
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                (await http.post(f"{stage.cluster.stores.provider.url}/rotate")).raise_for_status()
            self._users = {member.user.model.user for member in stage.crowd.members[::2]}
            for member in stage.crowd.members[::2]:
                token = await stage.cluster.token(member.user.model.user)
                for client in member.clients:
                    client.use_token(token)
            yield
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)


async def _flood(stage: Stage) -> None:
    claims = encode_json(good_claims(stage.cluster.stores.provider.url))
    async with httpx.AsyncClient(trust_env=False, timeout=None) as http:
        while True:
            head = encode_json({"alg": "RS256", "kid": secrets.token_hex(8)})
            token = f"{head}.{claims}.{encode(secrets.token_bytes(256))}"
            for zone in (0, 1):
                headers = {"Authorization": f"Bearer {token}"}
                with contextlib.suppress(httpx.TransportError):
                    await http.get(f"{stage.cluster.front_url(zone)}/v1/todos", headers=headers)
            await asyncio.sleep(FLOOD_PAUSE_SECONDS)


def scenarios() -> list[Scenario]:
    rotation = Rotation()
    return [
        Scenario(
            "provider-slow",
            "the provider takes 100 ms longer",
            nobody,
            network_faults.on(network_faults.slowed, *LINKS),
        ),
        Scenario(
            "provider-rotates",
            "the provider rotates its keys while tokens with unknown key ids flood in",
            rotation.touched,
            rotation.fault,
            ROTATION_SECONDS,
        ),
    ]
