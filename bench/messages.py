"""Raw HTTP requests, plain and signed, and a look at how one is answered."""

import json
import socket
import time
from uuid import uuid4

from devtools.processes import LOOPBACK
from identity import Keyring, sign
from strict_http.asgi import Headers

AUTHORITY = b"todos.example"
LIST = b"/v1/todos?limit=20"
TODOS = b"/v1/todos"
NEW_TODO = json.dumps(
    {"title": "Buy milk", "description": "Two bottles, and the good bread", "tags": ["home", "food"], "order": 7}
).encode()


def message(method: str, target: bytes, headers: Headers, body: bytes = b"") -> bytes:
    """The request on the wire."""
    given = [(b"host", AUTHORITY), (b"accept", b"application/json"), *headers]
    if body:
        given += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    lines = b"".join(b"%s: %s\r\n" % field for field in given)
    return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method.encode(), target, lines, body)


def with_token(token: str, method: str = "GET", target: bytes = LIST, body: bytes = b"") -> bytes:
    """As a client of the gateway sends it."""
    return message(method, target, [(b"authorization", b"Bearer " + token.encode())], body)


def of_user(user: str, method: str = "GET", target: bytes = LIST, body: bytes = b"") -> bytes:
    """As a gateway sends it that only names the user."""
    return message(method, target, [(b"x-user-id", user.encode())], body)


def signed(keys: Keyring, user: str, method: str = "GET", target: bytes = LIST, body: bytes = b"") -> bytes:
    """As our gateway sends it; good for 30 seconds, and a write for one time."""
    path, _, query = target.partition(b"?")
    proof = sign(
        keys,
        method=method,
        path=path,
        query=query,
        user_id=user.encode(),
        request_id=str(uuid4()).encode(),
        body=body,
        now=int(time.time()),
    )
    return message(method, target, proof, body)


def status(port: int, request: bytes, seconds: float = 5) -> int | None:
    """The status that `request` is answered with; None where nothing answers."""
    try:
        with socket.create_connection((LOOPBACK, port), seconds) as connection:
            connection.sendall(request)
            start = connection.recv(65_536)
    except OSError:
        return None
    version, _, rest = start.partition(b" ")
    return int(rest[:3]) if version.startswith(b"HTTP/") else None
