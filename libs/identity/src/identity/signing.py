"""The gateway's side."""

import base64

from identity import message
from identity.keys import Keyring


def sign(
    keys: Keyring,
    *,
    method: str,
    path: bytes,
    query: bytes,
    user_id: bytes,
    request_id: bytes,
    body: bytes,
    now: int,
) -> list[tuple[bytes, bytes]]:
    """The headers that prove to todos which user sent the request, valid for this request and 30 seconds.

    Args:
        keys: the first key signs.
        method: of the request, as it goes on the wire.
        path: raw path of the request target, as it goes on the wire.
        query: raw query without its question mark; empty if there is none.
        user_id: 1 to 512 visible ASCII characters.
        request_id: visible ASCII characters.
        body: the whole body.
        now: Unix time in seconds.

    Returns:
        Lower-case header names with their values: `x-user-id`, `x-request-id`, `content-digest` where there
        is a body, `signature-input`, `signature` (RFC 9421 section 4).
    """
    digest = message.content_digest(body) if body else b""
    params = message.signature_params(
        created=now,
        expires=now + message.LIFETIME_SECONDS,
        kid=keys.signing_kid.encode(),
        with_body=bool(body),
    )
    signature = message.signature(
        keys.signing_key,
        method=method.encode(),
        path=path,
        query=query,
        user_id=user_id,
        request_id=request_id,
        digest=digest,
        params=params,
    )
    return [
        (message.USER_ID, user_id),
        (message.REQUEST_ID, request_id),
        *([(message.CONTENT_DIGEST, digest)] if body else []),
        (message.SIGNATURE_INPUT, message.LABEL + b"=" + params),
        (message.SIGNATURE, message.LABEL + b"=:" + base64.b64encode(signature) + b":"),
    ]
