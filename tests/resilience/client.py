"""HTTP as one user, with a record of every answer, each error of which is held to the contract."""

import time
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.contract import check_response
from tests.resilience.promises import Breaches, Promise

ANSWER_SECONDS = 20
"""Longer than the gateway waits for todos."""
FAULT_STATUSES = frozenset({408, 429, 502, 503, 504})
"""The contract's answers to what the client did not do wrong."""
BROKEN = 0
"""Stands for a connection that broke before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request; times in seconds of `time.monotonic`. `request_id` is empty where the connection broke."""

    user: str
    zone: int
    method: str
    route: str
    started: float
    seconds: float
    status: int
    code: str
    request_id: str

    @property
    def failed(self) -> bool:
        return self.status == BROKEN or self.status in FAULT_STATUSES

    @property
    def ended(self) -> float:
        return self.started + self.seconds

    @property
    def write(self) -> bool:
        return self.method != "GET"


class Client:
    """One user's connections to the front of a zone."""

    def __init__(self, user: str, zone: int, url: str, token: str, outcomes: list[Outcome], breaches: Breaches) -> None:
        self.user, self.zone = user, zone
        self._outcomes, self._breaches = outcomes, breaches
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_SECONDS,
            limits=httpx.Limits(max_connections=2),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def use_token(self, token: str) -> None:
        """Call with this one from now on."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    async def request(self, method: str, path: str, route: str, **options: Any) -> httpx.Response | None:
        """The answer, or None where none came, or one that only a fault explains.

        `route` is the path's template in the contract.
        """
        started = time.monotonic()
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            self._record(method, route, started, BROKEN, type(error).__name__, "")
            return None
        problem = self._problem(method, route, answer) if answer.status_code >= 400 else {}
        request_id = answer.headers.get("x-request-id", "")
        self._record(method, route, started, answer.status_code, problem.get("code", ""), request_id)
        return None if answer.status_code in FAULT_STATUSES else answer

    def unexpected(self, method: str, path: str, answer: httpx.Response) -> None:
        """An answer that neither the request nor a fault explains."""
        detail = f"{self.user}: {method} {path} was answered {answer.status_code} {answer.text[:300]}"
        self._breaches.add(Promise.CONTRACT, detail)

    def _problem(self, method: str, route: str, answer: httpx.Response) -> dict[str, Any]:
        try:
            check_response(method, route, answer.status_code, answer.headers.multi_items(), answer.content)
        except (AssertionError, ValueError) as error:
            self._breaches.add(Promise.CONTRACT, f"{self.user}: {error}")
            return {}
        problem: dict[str, Any] = answer.json()
        return problem

    def _record(self, method: str, route: str, started: float, status: int, code: str, request_id: str) -> None:
        seconds = time.monotonic() - started
        outcome = Outcome(self.user, self.zone, method, route, started, seconds, status, code, request_id)
        self._outcomes.append(outcome)
