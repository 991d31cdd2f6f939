"""The bytes that are signed: one fixed form of signature base (RFC 9421 section 2.5)."""

import base64
import hashlib
from functools import lru_cache

from identity.mac import Mac

USER_ID = b"x-user-id"
REQUEST_ID = b"x-request-id"
CONTENT_DIGEST = b"content-digest"
SIGNATURE_INPUT = b"signature-input"
SIGNATURE = b"signature"
HEADERS = frozenset({USER_ID, REQUEST_ID, CONTENT_DIGEST, SIGNATURE_INPUT, SIGNATURE})

LABEL = b"gateway"
TAG = b"todos"
LIFETIME_SECONDS = 30
MAX_CLOCK_AHEAD_SECONDS = 5
MAX_USER_ID_LENGTH = 512

_COMPONENTS = b'("@method" "@path" "@query" "x-user-id" "x-request-id"'


def content_digest(body: bytes) -> bytes:
    """The `Content-Digest` of `body` (RFC 9530 section 2): `sha-256=:base64:`."""
    return b"sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()) + b":"


@lru_cache(maxsize=16)  # the same for every request of one second
def signature_params(*, created: int, expires: int, kid: bytes, with_body: bool) -> bytes:
    """The value of `@signature-params` (RFC 9421 section 2.3); times are Unix seconds."""
    return b'%s%s;created=%d;expires=%d;keyid="%s";alg="hmac-sha256";tag="%s"' % (
        _COMPONENTS,
        b' "content-digest")' if with_body else b")",
        created,
        expires,
        kid,
        TAG,
    )


def signature(
    key: Mac,
    *,
    method: bytes,
    path: bytes,
    query: bytes,
    user_id: bytes,
    request_id: bytes,
    digest: bytes,
    params: bytes,
) -> bytes:
    """The HMAC-SHA-256 (RFC 9421 section 3.3.3) over the base of these components.

    `path` is the raw path of the request target, `query` the raw query without its question mark, `digest`
    the value of `Content-Digest`, empty without a body.
    """
    base = (
        b'"@method": %s\n"@path": %s\n"@query": ?%s\n"x-user-id": %s\n"x-request-id": %s\n%s"@signature-params": %s'
        % (
            method,
            path,
            query,
            user_id,
            request_id,
            b'"content-digest": %s\n' % digest if digest else b"",
            params,
        )
    )
    return key.digest(base)
