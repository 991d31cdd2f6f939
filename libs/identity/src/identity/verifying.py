"""The private service's side."""

import base64
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from identity import message
from identity.keys import Keyring

_INPUT = re.compile(
    rb'gateway=(?P<params>\("@method" "@path" "@query" "x-user-id" "x-request-id"(?P<body> "content-digest")?\)'
    rb';created=(?P<created>[0-9]{1,12});expires=(?P<expires>[0-9]{1,12});keyid="(?P<kid>[A-Za-z0-9._-]{1,64})"'
    rb';alg="hmac-sha256";tag="todos")'
)
_SIGNATURE = re.compile(rb"gateway=:(?P<value>[A-Za-z0-9+/]{43}=):")
_USER_ID = re.compile(rb"[\x21-\x7e]{1,%d}" % message.MAX_USER_ID_LENGTH)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,255}")


class IdentityRefusedError(Exception):
    """The request does not prove its user.

    `reason` is one of `missing`, `malformed`, `unknown_key`, `signature`, `expired`, `not_yet_valid`, `digest`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user, and the proof, which counts once."""

    user_id: str
    request_id: str
    proof: bytes
    """The 32 bytes of the signature: only a replay has the same."""
    expires: int
    """Unix time in seconds after which the proof is no longer valid."""
    content_digest: bytes
    """What the proof says of the body; empty where there is none."""

    def check_body(self, body: bytes, now: float) -> None:
        """Check the body that came with the proof, and that the proof is still valid at `now`, in Unix seconds.

        Raises:
            IdentityRefusedError: `malformed`, `digest` or `expired`.
        """
        if bool(body) != bool(self.content_digest):
            raise IdentityRefusedError("malformed")
        if body and not hmac.compare_digest(self.content_digest, message.content_digest(body)):
            raise IdentityRefusedError("digest")
        if self.expires < now:
            raise IdentityRefusedError("expired")


def verify(
    keys: Keyring,
    *,
    method: str,
    path: bytes,
    query: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    now: float,
) -> Identity:
    """Prove which user sent the request, only from the headers that `sign` writes (RFC 9421 section 3.2).

    Accepts one header of each name, the one list of components in the one order, a known key, `created` at
    most 5 s ahead, `expires` not past and at most 30 s after `created`. The body is not needed for that, and has to be
    checked by `Identity.check_body` once it is there.

    Args:
        keys: any of them verifies.
        method: of the request as it was received.
        path: raw path of the request target.
        query: raw query without its question mark; empty if there is none.
        headers: every header of the request, names in lower case.
        now: Unix time in seconds.

    Raises:
        IdentityRefusedError: with the reason.
    """
    fields = _single_fields(headers)
    try:
        user_id, request_id = fields[message.USER_ID], fields[message.REQUEST_ID]
        signature_input, signature_field = fields[message.SIGNATURE_INPUT], fields[message.SIGNATURE]
    except KeyError:
        raise IdentityRefusedError("missing") from None
    given = _INPUT.fullmatch(signature_input)
    signed = _SIGNATURE.fullmatch(signature_field)
    digest = fields.get(message.CONTENT_DIGEST, b"")
    covers_body = given is not None and given["body"] is not None
    if (
        not given
        or not signed
        or not _USER_ID.fullmatch(user_id)
        or not _REQUEST_ID.fullmatch(request_id)
        or covers_body != bool(digest)
    ):
        raise IdentityRefusedError("malformed")
    kid = given["kid"].decode()
    key = keys.get(kid)
    if key is None:
        raise IdentityRefusedError("unknown_key")
    expected = message.signature(
        key,
        method=method.encode(),
        path=path,
        query=query,
        user_id=user_id,
        request_id=request_id,
        digest=digest,
        params=given["params"],
    )
    if not hmac.compare_digest(base64.b64encode(expected), signed["value"]):
        raise IdentityRefusedError("signature")
    _check_times(int(given["created"]), int(given["expires"]), now)
    return Identity(
        user_id=user_id.decode(),
        request_id=request_id.decode(),
        proof=expected,
        expires=int(given["expires"]),
        content_digest=digest,
    )


def _single_fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in message.HEADERS:
            if name in fields:
                raise IdentityRefusedError("malformed")
            fields[name] = value
    return fields


def _check_times(created: int, expires: int, now: float) -> None:
    if not 0 < expires - created <= message.LIFETIME_SECONDS:
        raise IdentityRefusedError("malformed")
    if created > now + message.MAX_CLOCK_AHEAD_SECONDS:
        raise IdentityRefusedError("not_yet_valid")
    if expires < now:
        raise IdentityRefusedError("expired")
