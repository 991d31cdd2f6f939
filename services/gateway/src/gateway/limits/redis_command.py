"""The command that checks one request in Redis, and the names of its keys."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import hiredis

from gateway.limits.gcra import MICROSECONDS, Verdict
from gateway.limits.policy import Policy
from gateway.limits.redis_connection import RedisError, pack, refusal
from gateway.token.claims import Bearer

_UNKNOWN_FORM = "its reply to the script has an unknown form"


class LimitCheck(NamedTuple):
    """Is this token revoked (where there is one), and is its subject within these policies?"""

    subject: str
    policies: Sequence[Policy]
    bearer: Bearer | None = None

    def command(self, script_sha: str) -> bytes:
        """The check as `EVALSHA` in Redis's protocol; for a token worked out once, and kept with it."""
        if self.bearer is None:
            return self.pack("EVALSHA", script_sha)
        names = tuple([policy.name for policy in self.policies])
        command = self.bearer.memo.get(names)
        if command is None:
            command = self.bearer.memo[names] = self.pack("EVALSHA", script_sha)
        return command

    def pack(self, name: str, script: str) -> bytes:
        """The check in Redis's protocol."""
        keys = self.keys()
        return pack(name, script, len(keys), *keys, *self.arguments())

    def keys(self) -> list[str]:
        """All in one hash slot, which the braces make, and without a name in them."""
        revocations = [] if self.bearer is None else revocation_keys(self.bearer.user_id, self.bearer.token_id)
        return [*revocations, *(_key(self.subject, policy.name) for policy in self.policies)]

    def arguments(self) -> list[int]:
        if self.bearer is None:
            revocations, issued = 0, 0
        else:
            revocations = 1 if self.bearer.token_id is None else 2
            issued = int(self.bearer.issued or 0)
        limits = [n for policy in self.policies for n in (policy.limit, policy.window * MICROSECONDS)]
        return [revocations, issued, *limits]


class CheckResult(NamedTuple):
    """Redis's answer: `revoked_until` is the second up to which the user's tokens are revoked."""

    revoked_until: int | None
    token_revoked: bool
    verdicts: list[Verdict]

    @classmethod
    def read(cls, check: LimitCheck, reply: object) -> "CheckResult":
        """From what `gcra.lua` returns.

        Raises:
            RedisError: this is something else.
        """
        if isinstance(reply, hiredis.ReplyError):
            raise refusal("the script", reply)
        if not isinstance(reply, list) or {*map(type, reply)} != {int}:
            raise RedisError(_UNKNOWN_FORM)
        if reply[0] == 0 and len(reply) == 1 + 4 * len(check.policies):
            verdicts = [
                Verdict(policy, reply[at] == 1, reply[at + 1], reply[at + 2], reply[at + 3])
                for at, policy in zip(range(1, len(reply), 4), check.policies, strict=True)
            ]
            return cls(None, token_revoked=False, verdicts=verdicts)
        if reply[0] == 1 and len(reply) == 2:  # noqa: PLR2004
            return cls(reply[1], token_revoked=False, verdicts=[])
        if reply == [2]:
            return cls(None, token_revoked=True, verdicts=[])
        raise RedisError(_UNKNOWN_FORM)


def script_is_missing(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


def user_subject(user_id: str) -> str:
    return f"user:{user_id}"


def address_subject(address: str) -> str:
    return f"address:{address}"


def revocation_keys(user_id: str, token_id: str | None) -> list[str]:
    """Where the revocation of the user stands, and that of one token of theirs (`jti`, RFC 7519)."""
    subject = user_subject(user_id)
    of_user = _key(subject, "revoked")
    if token_id is None:
        return [of_user]
    return [of_user, f"{of_user}:{_digest(token_id)}"]


def _key(subject: str, name: str) -> str:
    return f"gateway:{{{_digest(subject)}}}:{name}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
