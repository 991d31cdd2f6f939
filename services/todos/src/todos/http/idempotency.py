"""`Idempotency-Key`: a repeated creation happens once and gets the same answer."""

import hashlib
import re

from runtime.problems import ProblemError
from strict_http.asgi import Headers
from todos.store.idempotency import IdempotentRequest

_NAME = b"idempotency-key"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


def keyed_request(headers: Headers, body: bytes) -> IdempotentRequest | None:
    """The key of the request with its body's digest; None without the header.

    Raises:
        ProblemError: `bad_request`, it came more than once or is not 1 to 255 visible characters.
    """
    keys = [value for name, value in headers if name == _NAME]
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise ProblemError("bad_request", "Idempotency-Key is not one key of 1 to 255 visible characters.")
    return IdempotentRequest(keys[0].decode(), hashlib.sha256(body).digest())
