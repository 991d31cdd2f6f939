"""May this request pass: is its token alive, and its user within the limits?"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from gateway.auth_errors import revoked, too_many_failures
from gateway.expiring_lru import ExpiringLRU
from gateway.limits.gcra import MICROSECONDS, Verdict
from gateway.limits.local_limits import LocalLimits
from gateway.limits.policy import AUTH_FAILURE, USER, USER_WRITE, Policy
from gateway.limits.redis_command import LimitCheck, address_subject, user_subject
from gateway.limits.redis_limits import RedisLimits, RedisUnavailableError
from gateway.limits.revocation import RevocationMemory
from gateway.metrics import Metrics
from gateway.token.claims import Bearer
from runtime.problems import ProblemError, retry_after
from strict_http.asgi import Headers

REMEMBERED_DENIALS = 65536
LIMITS_RETRY_SECONDS = 2

type RedisFailure = Literal["local", "open", "closed"]
"""While Redis is unavailable: check in this process, let all requests pass, or none."""


class _Denial(NamedTuple):
    verdict: Verdict
    since: float

    def at(self, now: float) -> Verdict:
        passed = round((now - self.since) * MICROSECONDS)
        return self.verdict._replace(reset=self.verdict.reset - passed, retry=self.verdict.retry - passed)


class Limiter:
    """Checks in Redis, and as the setting says where Redis does not answer."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        shared: RedisLimits | None,
        local: LocalLimits,
        revocations: RevocationMemory,
        on_redis_failure: RedisFailure,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reading = [policies[name] for name in (USER,) if name in policies]
        self._writing = [policies[name] for name in (USER, USER_WRITE) if name in policies]
        self._failing = [policies[name] for name in (AUTH_FAILURE,) if name in policies]
        self._shared = shared
        self._local = local
        self._revocations = revocations
        self._on_redis_failure = on_redis_failure
        self._metrics = metrics
        self._clock = clock
        self._denials: ExpiringLRU[tuple[str, str], _Denial] = ExpiringLRU(REMEMBERED_DENIALS, clock)

    async def admit(self, bearer: Bearer, *, write: bool) -> Headers:
        """Charge one request of this user, whose token must not be revoked.

        Returns:
            The `RateLimit` and `RateLimit-Policy` headers of the answer
            (draft-ietf-httpapi-ratelimit-headers-10).

        Raises:
            AuthenticationError: `revoked`.
            ProblemError: `rate_limited` with the same headers and `Retry-After`; `limits_unavailable` where
                Redis is away and the setting is `closed`.
        """
        if self._revocations.holds(bearer):
            raise revoked()
        policies = self._writing if write else self._reading
        verdicts = await self._check(LimitCheck(user_subject(bearer.user_id), policies, bearer))
        return _passed_or_limited(verdicts)

    async def count_auth_failure(self, address: str | None) -> Headers:
        """Charge one failed authentication of this client address, if it is known; returns and raises as `admit`."""
        if not self._failing or address is None:
            return []
        try:
            return _passed_or_limited(await self._check(LimitCheck(address_subject(address), self._failing)))
        except ProblemError as problem:
            if problem.code == "rate_limited":
                raise too_many_failures(problem.headers, problem.violated_policies) from None
            raise

    async def _check(self, check: LimitCheck) -> list[Verdict]:
        remembered = self._remembered_denials(check)
        if remembered:
            return self._count(remembered, "memory")
        if self._shared is None:
            return self._count(self._local.check(check.subject, check.policies), "local")
        try:
            result = await self._shared.check(check)
        except RedisUnavailableError:
            return self._check_without_redis(check)
        if check.bearer is not None and (result.token_revoked or result.revoked_until is not None):
            self._revocations.learn(check.bearer, result)
            raise revoked()
        self._remember_denials(check.subject, result.verdicts)
        return self._count(result.verdicts, "redis")

    def _check_without_redis(self, check: LimitCheck) -> list[Verdict]:
        if check.bearer is not None:
            self._metrics.revocations_unchecked.inc()
        match self._on_redis_failure:
            case "local":
                return self._count(self._local.check(check.subject, check.policies), "local")
            case "open":
                for policy in check.policies:
                    self._metrics.ratelimit_decisions.add(policy.name, "allowed", "none")
                return []
            case "closed":
                detail = "The limits cannot be checked at the moment."
                raise ProblemError("limits_unavailable", detail, headers=[retry_after(LIMITS_RETRY_SECONDS)])

    def _remember_denials(self, subject: str, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if not verdict.allowed:
                denial = _Denial(verdict, self._clock())
                self._denials.put((verdict.policy.name, subject), denial, verdict.retry / MICROSECONDS)

    def _remembered_denials(self, check: LimitCheck) -> list[Verdict]:
        if not self._denials:
            return []
        denials = [self._denials.get((policy.name, check.subject)) for policy in check.policies]
        now = self._clock()
        remembered = [denial.at(now) for denial in denials if denial is not None]
        return [verdict for verdict in remembered if verdict.retry > 0]

    def _count(self, verdicts: list[Verdict], source: str) -> list[Verdict]:
        for verdict in verdicts:
            decision = "allowed" if verdict.allowed else "denied"
            self._metrics.ratelimit_decisions.add(verdict.policy.name, decision, source)
        return verdicts


def _headers(verdicts: Sequence[Verdict]) -> Headers:
    if not verdicts:
        return []
    state = [b'"%b";r=%d;t=%d' % (v.policy.label, v.remaining, _seconds(v.reset)) for v in verdicts]
    policy = [v.policy.header for v in verdicts]
    return [(b"ratelimit", b", ".join(state)), (b"ratelimit-policy", b", ".join(policy))]


def _passed_or_limited(verdicts: Sequence[Verdict]) -> Headers:
    headers = _headers(verdicts)
    denied = [verdict for verdict in verdicts if not verdict.allowed]
    if denied:
        raise ProblemError(
            "rate_limited",
            "Too many requests.",
            headers=[*headers, retry_after(max(_seconds(verdict.retry) for verdict in denied))],
            violated_policies=[verdict.policy.name for verdict in denied],
        )
    return headers


def _seconds(microseconds: int) -> int:
    """Rounded up."""
    return -(-microseconds // MICROSECONDS)
