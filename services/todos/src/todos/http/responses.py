"""Responses: todos in the contract's form, with their headers."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import override

from starlette.responses import Response, StreamingResponse

from strict_http.asgi import Headers, Receive, Scope, Send
from todos.domain.preconditions import Condition, strong_tag
from todos.http import sync_token
from todos.store.changes import Changes
from todos.store.idempotency import kept_answer
from todos.store.json_columns import ShownRow
from todos.store.statements import KnownRow
from todos.store.todo_json import encode

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ADDRESS = frozenset({b"host", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-proto"})
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_CACHING = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization"))


class Answer(Response):
    """A whole answer with the headers it is given, and no others."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body
        self.background = None


def base_url(headers: Headers) -> str:
    """The base URL of this API as the caller used it: as the gateway forwards it, or else of this request."""
    given = {name: value.decode("latin-1") for name, value in headers if name in _ADDRESS}
    scheme = given.get(b"x-forwarded-proto", "http")
    hosts = (given.get(b"x-forwarded-host", ""), given.get(b"host", ""), "localhost")
    prefix = given.get(b"x-forwarded-prefix", "").rstrip("/")
    return "".join(
        (
            scheme if scheme in ("http", "https") else "http",
            "://",
            next(host for host in hosts if _HOST.fullmatch(host)),
            prefix if _PREFIX.fullmatch(prefix) else "",
        )
    )


def _shown(row: ShownRow, base: str) -> str:
    return f'{{"id":"{row.id}","url":"{base}/v1/todos/{row.id}",{row.document[1:]}'


def todo(row: ShownRow, headers: Headers, request_id: str) -> Response:
    """200 with a todo."""
    return _answer(200, _shown(row, base_url(headers)), request_id, [(b"etag", strong_tag(row.version))])


def created(row: ShownRow, headers: Headers, request_id: str) -> Response:
    """201 with a todo and where it is."""
    return _created(row.id, row.version, _shown(row, base_url(headers)), request_id)


def created_once(known: KnownRow, request_id: str) -> Response:
    """201 as `created`, of the answer that is kept under an Idempotency-Key, independent of the caller's URL."""
    document = kept_answer(known)
    return _created(str(document["id"]), known.version, encode(document), request_id)


def _created(todo_id: str, version: int, document: str, request_id: str) -> Response:
    more = [(b"etag", strong_tag(version)), (b"location", b"/v1/todos/%s" % todo_id.encode())]
    return _answer(201, document, request_id, more)


def todo_page(
    rows: Iterable[ShownRow], headers: Headers, request_id: str, tag: bytes, next_query: str | None
) -> Response:
    """200 with an array, and a link to the next page if there is one (RFC 8288)."""
    base = base_url(headers)
    more = [(b"etag", tag)]
    if next_query is not None:
        more.append((b"link", b'</v1/todos?%s>; rel="next"' % next_query.encode()))
    return _answer(200, _array(_shown(row, base) for row in rows), request_id, more)


def json(document: Mapping[str, object], request_id: str) -> Response:
    """200 with an object that has no version of its own."""
    return _answer(200, encode(document), request_id, [])


def changes(page: Changes, user_id: str, headers: Headers, request_id: str) -> Response:
    """200 with a page of changes: todos, and of deleted ones their id, version and time of deletion."""
    base = base_url(headers)
    items = _array(_tombstone(row) if row.deleted_at else _shown(row, base) for row in page.rows)
    rest = encode({"next_since": sync_token.encode(page.next_since, user_id), "has_more": page.has_more})
    return _answer(200, f'{{"items":{items},{rest[1:]}', request_id, [])


def _tombstone(row: ShownRow) -> str:
    return encode({"id": row.id, "deleted_at": row.deleted_at, "version": row.version})


def _array(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


class _Streamed(StreamingResponse):
    """Ends what is `held` once it was sent, or cannot be sent any more."""

    def __init__(self, pieces: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(pieces)
        self._held = held

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def streamed(
    pieces: AsyncIterator[bytes], media_type: bytes, filename: str, request_id: str, held: AsyncExitStack
) -> Response:
    """200 with a document to keep (RFC 6266), as it comes; `held` ends with it."""
    response = _Streamed(pieces, held)
    response.raw_headers = _headers_of_file(media_type, filename, request_id)
    return response


def streamed_head(media_type: bytes, filename: str, request_id: str) -> Response:
    """What a HEAD has of `streamed`: no body, and no length, as that is not known ahead."""
    return Answer(200, _headers_of_file(media_type, filename, request_id))


def _headers_of_file(media_type: bytes, filename: str, request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", media_type),
        (b"content-disposition", b'attachment; filename="%s"' % filename.encode()),
        (b"x-request-id", request_id.encode()),
        *_CACHING,
    ]


def no_content(request_id: str) -> Response:
    """204."""
    return _bare(204, request_id, [])


def not_modified(tag: bytes, if_none_match: Condition | None, request_id: str) -> Response | None:
    """304 if the client holds the version of `tag`."""
    if if_none_match is None or not if_none_match.holds_weakly(tag):
        return None
    return _bare(304, request_id, [(b"etag", tag), *_CACHING])


def _bare(status: int, request_id: str, headers: Headers) -> Response:
    return Answer(status, [(b"x-request-id", request_id.encode()), *headers])


def _answer(status: int, document: str, request_id: str, headers: Headers) -> Response:
    content = document.encode()
    common = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"x-request-id", request_id.encode()),
    )
    return Answer(status, [*common, *_CACHING, *headers], content)
