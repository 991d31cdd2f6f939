"""The routes of the contract, each from its parameters to its response."""

from contextlib import AsyncExitStack

from fastapi import Response

from todos.domain.preconditions import condition, strong_tag, weak_tag
from todos.http import body, cursor, idempotency, responses
from todos.http.client_presence import while_connected
from todos.http.declared import bare_api
from todos.http.import_body import read_items
from todos.http.negotiation import preferred
from todos.http.query import changes_query, filter_query, list_query, no_parameters, restore_query
from todos.http.request import TodoRequest
from todos.portability import export, import_
from todos.store import bulk
from todos.store.changes import read_changes
from todos.store.erasure import erase
from todos.store.stats import read_stats

IF_MATCH, IF_NONE_MATCH = b"if-match", b"if-none-match"

READ = ["GET", "HEAD"]
"""HEAD is answered as GET is; the server leaves the body out (RFC 9110 section 9.3.2)."""

api = bare_api()


@api.api_route("/v1/todos", methods=READ)
async def list_todos(request: TodoRequest) -> Response:
    query = list_query(request.raw_query, request.caller.user_id)
    if_none_match = condition(request.raw_headers, IF_NONE_MATCH)
    page = await request.todos.page(query)
    tag = weak_tag(page.number)
    if unchanged := responses.not_modified(tag, if_none_match, request.caller.request_id):
        return unchanged
    next_query = None
    if page.last and page.last.todo:
        after = cursor.encode(cursor.Position(page.last.key, page.last.todo.id), query.bound_to)
        next_query = f"{query.repeated}&cursor={after}".lstrip("&")
    return responses.todo_page(page.rows, request.raw_headers, request.caller.request_id, tag, next_query)


@api.post("/v1/todos")
async def create_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    keyed = idempotency.keyed_request(request.raw_headers, request.caller.body)
    fields = body.parse_todo(request.raw_headers, request.caller.body)
    if keyed:
        known = await request.todos.create_once(fields, keyed, responses.base_url(request.raw_headers))
        return responses.created_once(known, request.caller.request_id)
    row = await request.todos.create(fields)
    return responses.created(row, request.raw_headers, request.caller.request_id)


@api.delete("/v1/todos")
async def delete_todos(request: TodoRequest) -> Response:
    filters, deleted = filter_query(request.raw_query)
    change = bulk.empty_bin if deleted else bulk.delete_all
    done = await change(request.user_session, filters)
    return responses.json(done._asdict(), request.caller.request_id)


@api.post("/v1/todos/restore")
async def restore_todos(request: TodoRequest) -> Response:
    done = await bulk.restore_all(request.user_session, restore_query(request.raw_query))
    return responses.json(done._asdict(), request.caller.request_id)


@api.api_route("/v1/todos/{todo_id}", methods=READ)
async def get_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    if_none_match = condition(request.raw_headers, IF_NONE_MATCH)
    row = await request.todos.get(request.todo_id)
    unchanged = responses.not_modified(strong_tag(row.version), if_none_match, request.caller.request_id)
    return unchanged or responses.todo(row, request.raw_headers, request.caller.request_id)


@api.put("/v1/todos/{todo_id}")
async def put_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    fields = body.parse_todo(request.raw_headers, request.caller.body)
    if_match, if_none_match = condition(request.raw_headers, IF_MATCH), condition(request.raw_headers, IF_NONE_MATCH)
    row, is_new = await request.todos.put(request.todo_id, fields, if_match, if_none_match)
    answer = responses.created if is_new else responses.todo
    return answer(row, request.raw_headers, request.caller.request_id)


@api.patch("/v1/todos/{todo_id}")
async def patch_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    changes = body.parse_patch(request.raw_headers, request.caller.body)
    if_match = condition(request.raw_headers, IF_MATCH)
    row = await request.todos.patch(request.todo_id, changes, if_match)
    return responses.todo(row, request.raw_headers, request.caller.request_id)


@api.delete("/v1/todos/{todo_id}")
async def delete_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    if_match = condition(request.raw_headers, IF_MATCH)
    await request.todos.delete(request.todo_id, if_match)
    return responses.no_content(request.caller.request_id)


@api.post("/v1/todos/{todo_id}/restore")
async def restore_todo(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    row = await request.todos.restore(request.todo_id)
    return responses.todo(row, request.raw_headers, request.caller.request_id)


@api.api_route("/v1/changes", methods=READ)
async def list_changes(request: TodoRequest) -> Response:
    query = changes_query(request.raw_query, request.caller.user_id)
    page = await read_changes(request.user_session, query)
    return responses.changes(page, request.caller.user_id, request.raw_headers, request.caller.request_id)


@api.api_route("/v1/stats", methods=READ)
async def get_stats(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    return responses.json(await read_stats(request.user_session), request.caller.request_id)


@api.delete("/v1/me")
async def erase_me(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    await erase(request.user_session)
    return responses.no_content(request.caller.request_id)


@api.get("/v1/export")
async def export_todos(request: TodoRequest) -> Response:
    filters, deleted = filter_query(request.raw_query)
    document = _export_document(request)
    async with AsyncExitStack() as held:
        await held.enter_async_context(request.long_work.exports.held(request.caller.user_id))
        found = await export.begun(export.batches(request.user_session, filters, deleted=deleted))
        pieces = export.written(found, document)
        request_id = request.caller.request_id
        return responses.streamed(pieces, document.media_type, document.filename, request_id, held.pop_all())


@api.head("/v1/export")
async def export_head(request: TodoRequest) -> Response:
    filter_query(request.raw_query)
    document = _export_document(request)
    return responses.streamed_head(document.media_type, document.filename, request.caller.request_id)


def _export_document(request: TodoRequest) -> export.Format:
    media_type = preferred(request.raw_headers, export.MEDIA_TYPES)
    return export.open_format(media_type, responses.base_url(request.raw_headers))


@api.post("/v1/import")
async def import_todos(request: TodoRequest) -> Response:
    no_parameters(request.raw_query)
    imported = await while_connected(request.receive, _import(request))
    return responses.json(imported._asdict(), request.caller.request_id)


async def _import(request: TodoRequest) -> import_.Imported:
    work = request.long_work
    async with work.imports.held(request.caller.user_id):
        items = await work.slices.run(read_items(request.raw_headers, request.caller.body))
        return await import_.put_all(request.user_session, items)
