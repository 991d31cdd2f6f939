"""Who follows a user's changes and holds a copy of its todos."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from tests.resilience.client import Client
from tests.resilience.model import State, shown
from tests.resilience.promises import Breaches, Promise

CHANGES = "/v1/changes"
PAGE = 100


class Follower:
    """Reads `changes` from where it last was; every item must be the user's and newer than those before."""

    def __init__(self, client: Client, breaches: Breaches) -> None:
        self.copy: dict[str, State] = {}
        self._client = client
        self._breaches = breaches
        self._since: str | None = None
        self._latest = 0

    async def step(self) -> bool:
        """Read to the end; whether it was answered."""
        more = True
        while more:
            since = {"since": self._since} if self._since else {}
            answer = await self._client.request("GET", CHANGES, CHANGES, params={"limit": PAGE, **since})
            if answer is None:
                return False
            if answer.status_code != HTTPStatus.OK:
                self._client.unexpected("GET", CHANGES, answer)
                return False
            page = answer.json()
            self._apply(page["items"])
            self._since, more = page["next_since"], page["has_more"]
        return True

    def _apply(self, items: Sequence[dict[str, Any]]) -> None:
        for item in items:
            if item["version"] <= self._latest:
                told = f"{self._client.user}'s changes give {item['version']} after {self._latest}"
                self._breaches.add(Promise.GROWING, told)
            self._latest = item["version"]
            if item["deleted_at"]:
                self.copy.pop(item["id"], None)
            else:
                self._hold(item)

    def _hold(self, item: dict[str, Any]) -> None:
        if not item["title"].startswith(f"{self._client.user}/"):
            self._breaches.add(Promise.OWN, f"{self._client.user}'s changes show {item}")
        self.copy[item["id"]] = State(shown(item), item["version"])
