"""The routes of the contract, each from its parameters to its answer."""

# ruff: noqa: FAST003 - `Asked` reads the parts of a path

import asyncio

from fastapi import APIRouter, Response

from todos.domain.preconditions import condition, strong_tag, weak_tag
from todos.http import body, cursor, idempotency, responses
from todos.http.negotiation import preferred
from todos.http.query import export_query, filter_query, list_query, no_parameters
from todos.http.request import Asked
from todos.portability import export, import_
from todos.store import bulk_delete
from todos.store.changes import changes_query, read_changes
from todos.store.erasure import erase
from todos.store.stats import read_stats

IF_MATCH, IF_NONE_MATCH = b"if-match", b"if-none-match"

router = APIRouter()


@router.get("/v1/todos")
async def list_todos(asked: Asked) -> Response:
    query = list_query(asked.raw_query, asked.caller.user_id)
    if_none_match = condition(asked.raw_headers, IF_NONE_MATCH)
    page = await asked.todos.page(query)
    tag = weak_tag(page.number)
    if unchanged := responses.unchanged(tag, if_none_match, asked.caller.request_id):
        return unchanged
    next_query = None
    if page.last and page.last.todo:
        after = cursor.encode(cursor.Position(page.last.key, page.last.todo.id), query.bound_to)
        next_query = f"{query.repeated}&cursor={after}".lstrip("&")
    return responses.many(page.rows, asked.raw_headers, asked.caller.request_id, tag, next_query)


@router.post("/v1/todos")
async def create_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    keyed = idempotency.keyed_request(asked.raw_headers, asked.caller.body)
    fields = body.parse_todo(asked.raw_headers, asked.caller.body)
    if keyed:
        known = await asked.todos.create_once(fields, keyed, lambda row: responses.draft(row, asked.raw_headers))
        return responses.created_once(known, asked.caller.request_id)
    row = await asked.todos.create(fields)
    return responses.created(row, asked.raw_headers, asked.caller.request_id)


@router.delete("/v1/todos")
async def delete_todos(asked: Asked) -> Response:
    affected = await bulk_delete.delete_all(asked.scoped, filter_query(asked.raw_query))
    return responses.figures({"affected": affected}, asked.caller.request_id)


@router.get("/v1/todos/{todo_id}")
async def get_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    if_none_match = condition(asked.raw_headers, IF_NONE_MATCH)
    row = await asked.todos.get(asked.todo_id)
    unchanged = responses.unchanged(strong_tag(row.version), if_none_match, asked.caller.request_id)
    return unchanged or responses.one(row, asked.raw_headers, asked.caller.request_id)


@router.put("/v1/todos/{todo_id}")
async def put_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    fields = body.parse_todo(asked.raw_headers, asked.caller.body)
    if_match, if_none_match = condition(asked.raw_headers, IF_MATCH), condition(asked.raw_headers, IF_NONE_MATCH)
    row, is_new = await asked.todos.put(asked.todo_id, fields, if_match, if_none_match)
    answer = responses.created if is_new else responses.one
    return answer(row, asked.raw_headers, asked.caller.request_id)


@router.patch("/v1/todos/{todo_id}")
async def patch_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    changes = body.parse_patch(asked.raw_headers, asked.caller.body)
    if_match = condition(asked.raw_headers, IF_MATCH)
    row = await asked.todos.patch(asked.todo_id, changes, if_match)
    return responses.one(row, asked.raw_headers, asked.caller.request_id)


@router.delete("/v1/todos/{todo_id}")
async def delete_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    if_match = condition(asked.raw_headers, IF_MATCH)
    await asked.todos.delete(asked.todo_id, if_match)
    return responses.no_content(asked.caller.request_id)


@router.post("/v1/todos/{todo_id}/restore")
async def restore_todo(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    row = await asked.todos.restore(asked.todo_id)
    return responses.one(row, asked.raw_headers, asked.caller.request_id)


@router.get("/v1/changes")
async def list_changes(asked: Asked) -> Response:
    query = changes_query(asked.raw_query, asked.caller.user_id)
    page = await read_changes(asked.scoped, query)
    return responses.changes(page, asked.caller.user_id, asked.raw_headers, asked.caller.request_id)


@router.get("/v1/stats")
async def get_stats(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    return responses.figures(await read_stats(asked.scoped), asked.caller.request_id)


@router.delete("/v1/me")
async def erase_me(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    await erase(asked.scoped)
    return responses.no_content(asked.caller.request_id)


@router.get("/v1/export")
async def export_todos(asked: Asked) -> Response:
    filters, deleted = export_query(asked.raw_query)
    media_type, base = preferred(asked.raw_headers, export.MEDIA_TYPES), responses.base_url(asked.raw_headers)
    form = await asyncio.to_thread(export.form_of, media_type, base)
    found = await export.begun(export.batches(asked.scoped, filters, deleted=deleted))
    pieces = export.written(found, form)
    return responses.streamed(pieces, form.media_type, form.filename, asked.caller.request_id)


@router.post("/v1/import")
async def import_todos(asked: Asked) -> Response:
    no_parameters(asked.raw_query)
    # in a thread: ten thousand todos take a second
    items = await asyncio.to_thread(import_.read_items, asked.raw_headers, asked.caller.body)
    imported = await import_.put_all(asked.scoped, items)
    return responses.figures(imported._asdict(), asked.caller.request_id)
