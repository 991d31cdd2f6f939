"""One todo, from its creation to its deletion."""

import json
from uuid import UUID, uuid4

import psycopg
import pytest

from runtime import logs
from services.todos.tests.assertions import assert_problem, in_milliseconds, path
from services.todos.tests.serving import Client, Running
from todos.schema.limits import QUOTA

DEFAULTS = {
    "description": "",
    "completed": False,
    "priority": "none",
    "tags": [],
    "due_date": None,
    "timezone": "UTC",
    "recurrence": None,
    "order": 0,
    "completed_at": None,
    "deleted_at": None,
    "next_id": None,
}
FIELDS = [
    *("id", "url", "title", "description", "completed", "priority", "tags", "due_date", "timezone"),
    *("recurrence", "order", "completed_at", "created_at", "updated_at", "deleted_at", "next_id", "version"),
]


async def test_a_created_todo_has_defaults_an_address_and_a_version(alice: Client) -> None:
    answer = await alice.send("POST", "/v1/todos", json_body={"title": "  Milk "})
    todo = answer.json()
    assert answer.status_code == 201
    assert list(todo) == FIELDS
    assert {name: todo[name] for name in DEFAULTS} == DEFAULTS
    assert todo["title"] == "Milk"
    assert UUID(todo["id"]).version == 7
    assert todo["created_at"] == todo["updated_at"]
    assert todo["created_at"].endswith("Z")
    assert answer.headers["location"] == path(todo)
    assert answer.headers["etag"] == f'"{todo["version"]}"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Authorization"
    assert (await alice.get(path(todo))).json() == todo


async def test_every_field_comes_back_as_it_was_given(alice: Client) -> None:
    fields = {
        "title": "Cœur 😀",
        "description": "two\nlines\tand \\ \" ' % _ $1",
        "completed": True,
        "priority": "urgent",
        "tags": ["b", "a", '"{}', "ä\\", "NULL"],
        "due_date": "2026-03-01",
        "timezone": "Asia/Kathmandu",
        "recurrence": "FREQ=WEEKLY;BYDAY=MO,TH",
        "order": -(2**31),
    }
    todo = await alice.create(**fields)
    assert {name: todo[name] for name in fields} == fields
    assert todo["completed_at"] == todo["created_at"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-03-01", "2026-03-01"),
        ("0001-01-01", "0001-01-01"),
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2026-03-01T09:30:00+02:00", "2026-03-01T07:30:00Z"),
        ("2026-03-01T09:30:00.25-02:00", "2026-03-01T11:30:00.250000Z"),
    ],
)
async def test_a_due_date_comes_back_in_the_form_it_was_given(alice: Client, given: str, shown: str) -> None:
    todo = await alice.create(due_date=given)
    assert todo["due_date"] == shown
    assert (await alice.get(path(todo))).json()["due_date"] == shown


async def test_a_day_whose_midnight_cannot_be_reckoned_is_invalid(alice: Client) -> None:
    body = {"title": "x", "due_date": "0001-01-01", "timezone": "Asia/Tokyo"}
    answer = await alice.send("POST", "/v1/todos", json_body=body)
    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["pointer"] == "/due_date"


async def test_a_patch_of_the_time_zone_moves_an_all_day_date(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create(due_date="2026-03-01", timezone="Europe/Berlin")

    def stored() -> str:
        row = superuser.execute(
            "SELECT to_char(due_at AT TIME ZONE 'UTC', 'DD HH24:MI') FROM todo WHERE id = %s", [todo["id"]]
        )
        return str((row.fetchone() or [""])[0])

    assert stored() == "28 23:00"
    patched = (await alice.send("PATCH", path(todo), json_body={"timezone": "America/New_York"})).json()
    assert patched["due_date"] == "2026-03-01"
    assert stored() == "01 05:00"


async def test_a_put_creates_under_the_clients_id_and_then_replaces(alice: Client) -> None:
    target = f"/v1/todos/{uuid4()}"
    first = await alice.send("PUT", target, json_body={"title": "one", "tags": ["a"], "completed": True})
    assert first.status_code == 201
    assert first.headers["location"] == target
    second = await alice.send("PUT", target, json_body={"title": "two"})
    assert second.status_code == 200
    assert "location" not in second.headers
    one, two = first.json(), second.json()
    assert {name: two[name] for name in DEFAULTS} == DEFAULTS
    assert two["created_at"] == one["created_at"]
    assert two["updated_at"] > one["updated_at"]
    assert two["version"] == one["version"] + 1


async def test_what_was_read_can_be_written_back(alice: Client) -> None:
    todo = await alice.create(due_date="2026-03-01T09:30:00.5Z", tags=["a"], completed=True)
    answer = await alice.send("PUT", path(todo), json_body=todo)
    assert answer.status_code == 200
    changed = {"updated_at", "version"}
    assert {name: value for name, value in answer.json().items() if name not in changed} == {
        name: value for name, value in todo.items() if name not in changed
    }


async def test_completed_at_is_the_moment_it_was_completed(alice: Client) -> None:
    todo = await alice.create()
    done = (await alice.send("PATCH", path(todo), json_body={"completed": True})).json()
    assert done["completed_at"] == done["updated_at"]
    still = (await alice.send("PATCH", path(todo), json_body={"title": "still", "completed": True})).json()
    assert still["completed_at"] == done["completed_at"]
    assert still["updated_at"] > done["updated_at"]
    again = (await alice.send("PATCH", path(todo), json_body={"completed": None})).json()
    assert (again["completed"], again["completed_at"]) == (False, None)


async def test_a_patch_leaves_alone_what_it_does_not_name(alice: Client) -> None:
    todo = await alice.create(description="d", priority="high", tags=["a"], due_date="2026-03-01", order=7)
    answer = await alice.send(
        "PATCH", path(todo), body=b'{"order": 8}', headers={"content-type": "application/merge-patch+json"}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        **todo,
        "order": 8,
        "version": todo["version"] + 1,
        "updated_at": answer.json()["updated_at"],
    }


async def test_a_deleted_todo_is_gone_for_every_route_but_the_list_of_deleted_ones(alice: Client) -> None:
    todo = await alice.create()
    gone = await alice.send("DELETE", path(todo))
    assert (gone.status_code, gone.content) == (204, b"")
    assert gone.headers["x-request-id"]
    assert_problem(await alice.get(path(todo)), 404, "not_found")
    assert_problem(await alice.send("DELETE", path(todo)), 404, "not_found")
    assert_problem(await alice.send("PATCH", path(todo), json_body={"order": 1}), 404, "not_found")
    refused = await alice.send("PUT", path(todo), json_body={"title": "x"})
    assert_problem(refused, 409, "deleted")
    assert "was deleted" in refused.json()["detail"]
    assert (await alice.get("/v1/todos")).json() == []
    (deleted,) = (await alice.get("/v1/todos?deleted=true")).json()
    assert deleted["deleted_at"] == deleted["updated_at"]
    assert deleted["version"] == todo["version"] + 1


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "0192F7C0-0000-7000-8000-00000000000A",
        "0192f7c00000700080000000000000aa",
        "{0192f7c0-0000-7000-8000-00000000000a}",
        "urn:uuid:0192f7c0-0000-7000-8000-00000000000a",
        "0192f7c0-0000-7000-8000-00000000000a%00",
        "%30192f7c0-0000-7000-8000-00000000000a",
        "0192f7c0-0000-7000-8000-00000000000a/",
        "..",
    ],
)
async def test_another_spelling_of_an_id_is_no_second_address(alice: Client, text: str) -> None:
    await alice.send("PUT", "/v1/todos/0192f7c0-0000-7000-8000-00000000000a", json_body={"title": "x"})
    assert_problem(await alice.get(f"/v1/todos/{text}"), 404, "not_found")


async def test_each_change_takes_the_next_number_of_its_user(alice: Client, bob: Client) -> None:
    one = await alice.create()
    await bob.create()
    two = await alice.create()
    patched = (await alice.send("PATCH", path(one), json_body={"order": 1})).json()
    assert (
        await alice.send("PATCH", path(one), json_body={"order": 2}, headers={"if-match": '"1"'})
    ).status_code == 412
    assert (await alice.send("DELETE", path(two))).status_code == 204
    three = await alice.create()
    first = one["version"]
    assert [two["version"], patched["version"], three["version"]] == [first + 1, first + 2, first + 4]
    assert abs(first - in_milliseconds(one["created_at"])) < 1000


async def test_conditions_on_writes_are_judged_after_body_and_existence(alice: Client) -> None:
    todo = await alice.create()
    absent = f"/v1/todos/{uuid4()}"
    stale = {"if-match": '"1"'}
    current = {"if-match": f'"0", "{todo["version"]}"'}
    for method in ("PUT", "PATCH"):
        assert_problem(await alice.send(method, path(todo), json_body={"order": "x"}, headers=stale), 422, "invalid")
        refused = await alice.send(method, path(todo), json_body={"title": "x"}, headers=stale)
        assert_problem(refused, 412, "precondition_failed")
        assert refused.headers["etag"] == f'"{todo["version"]}"'
    assert_problem(await alice.send("PATCH", absent, json_body={"order": 1}, headers=stale), 404, "not_found")
    assert_problem(await alice.send("DELETE", absent, headers=stale), 404, "not_found")
    for condition in ('"1"', "*"):
        refused = await alice.send("PUT", absent, json_body={"title": "x"}, headers={"if-match": condition})
        assert_problem(refused, 412, "precondition_failed")
        assert "etag" not in refused.headers
    refused = await alice.send("DELETE", path(todo), headers={"if-match": f'W/"{todo["version"]}"'})
    assert_problem(refused, 412, "precondition_failed")
    assert refused.headers["etag"] == f'"{todo["version"]}"'
    assert (await alice.send("PATCH", path(todo), json_body={"order": 1}, headers=current)).status_code == 200
    assert (await alice.send("PUT", path(todo), json_body={"title": "y"}, headers={"if-match": "*"})).status_code == 200
    assert (await alice.send("DELETE", path(todo), headers={"if-match": "*"})).status_code == 204


async def test_a_put_can_insist_on_creating(alice: Client) -> None:
    target, only_new = f"/v1/todos/{uuid4()}", {"if-none-match": "*"}
    assert (await alice.send("PUT", target, json_body={"title": "x"}, headers=only_new)).status_code == 201
    assert_problem(
        await alice.send("PUT", target, json_body={"title": "x"}, headers=only_new), 412, "precondition_failed"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_malformed_condition_is_a_bad_request(alice: Client, method: str) -> None:
    todo = await alice.create()
    name = "if-none-match" if method == "GET" else "if-match"
    body = {"title": "x"} if method in ("PUT", "PATCH") else None
    assert_problem(await alice.send(method, path(todo), json_body=body, headers={name: "7"}), 400, "bad_request")


async def test_what_the_client_has_already_is_not_sent_again(alice: Client) -> None:
    todo = await alice.create()
    for target, tag in ((path(todo), f'"{todo["version"]}"'), ("/v1/todos", f'W/"{todo["version"]}"')):
        assert (await alice.get(target)).headers["etag"] == tag
        for known in (tag, f'"other", {tag}', "*", f'"{todo["version"]}"'):
            answer = await alice.get(target, {"if-none-match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
            assert answer.headers["cache-control"] == "private, no-cache"
            assert answer.headers["vary"] == "Authorization"
            assert answer.headers["x-request-id"]
        assert (await alice.get(target, {"if-none-match": '"1"'})).status_code == 200
    await alice.create()
    assert (await alice.get("/v1/todos", {"if-none-match": f'W/"{todo["version"]}"'})).status_code == 200


async def test_a_user_never_seen_has_an_empty_list_with_the_tag_of_zero(alice: Client) -> None:
    answer = await alice.get("/v1/todos")
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, [], 'W/"0"')


async def test_the_url_is_where_the_caller_found_the_todo(alice: Client) -> None:
    todo = await alice.create()
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "todo.example:8443", "x-forwarded-prefix": "/api"}
    one = (await alice.get(path(todo), forwarded)).json()
    assert one["url"] == f"https://todo.example:8443/api{path(todo)}"
    assert (await alice.get("/v1/todos", forwarded)).json()[0]["url"] == one["url"]
    assert todo["url"] == f"{str(alice.http.base_url).rstrip('/')}{path(todo)}"
    broken = {"x-forwarded-proto": "javascript", "x-forwarded-host": "a b/<x>", "x-forwarded-prefix": "x?y"}
    assert (await alice.get(path(todo), broken)).json()["url"] == todo["url"]
    nothing = {"host": "<x>"}
    assert (await alice.get(path(todo), nothing)).json()["url"] == f"http://localhost{path(todo)}"


METHODS_OF = {
    "/v1/todos": "DELETE, GET, HEAD, POST",
    "/v1/todos/0192f7c0-0000-7000-8000-00000000000a": "DELETE, GET, HEAD, PATCH, PUT",
    "/v1/todos/0192f7c0-0000-7000-8000-00000000000a/restore": "POST",
    "/v1/changes": "GET, HEAD",
    "/v1/stats": "GET, HEAD",
    "/v1/export": "GET, HEAD",
    "/v1/me": "DELETE",
    "/v1/import": "POST",
}
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")


@pytest.mark.parametrize(
    ("method", "target"),
    [(method, target) for target, known in METHODS_OF.items() for method in METHODS if method not in known.split(", ")],
)
async def test_a_method_that_a_route_lacks_is_answered_with_those_it_has(
    alice: Client, method: str, target: str
) -> None:
    answer = await alice.send(method, target)
    assert answer.status_code == 405
    assert answer.headers["allow"] == METHODS_OF[target]
    if method != "HEAD":
        assert_problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/",
        "/v1/todos/",
        "/docs",
        "/openapi.json",
        "/redoc",
        "/metrics",
        "/V1/todos",
        "//v1/todos",
        "/v1/%74odos",
    ],
)
async def test_there_are_no_other_routes_and_no_redirects(alice: Client, target: str) -> None:
    assert_problem(await alice.get(target), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status", "code"),
    [
        ("POST", "/v1/todos", b"{", {"content-type": "application/json"}, 400, "bad_request"),
        ("POST", "/v1/todos", b"{}", {}, 415, "unsupported_media_type"),
        ("POST", "/v1/todos", b"{}", {"content-type": "application/json"}, 422, "invalid"),
        ("POST", "/v1/todos?a=1", b'{"title":"x"}', {"content-type": "application/json"}, 422, "invalid"),
        ("GET", "/v1/todos?nope=1", b"", {}, 422, "invalid"),
        ("GET", "/v1/todos/0192f7c0-0000-7000-8000-00000000000a?x", b"", {}, 422, "invalid"),
        ("PATCH", "/v1/todos/x", b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
async def test_faults_of_a_request_are_problems(
    alice: Client, method: str, target: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await alice.send(method, target, body=body, headers=headers)
    assert_problem(answer, status, code)
    assert ("errors" in answer.json()) == (status == 422)


async def test_415_to_a_patch_names_what_a_patch_reads(alice: Client) -> None:
    """RFC 5789 section 2.2; to other methods `Accept-Patch` says nothing."""
    target = f"/v1/todos/{uuid4()}"
    patch, put = [await alice.send(method, target, body=b"a=1") for method in ("PATCH", "PUT")]
    assert (patch.status_code, put.status_code) == (415, 415)
    assert patch.headers["accept-patch"] == "application/json, application/merge-patch+json"
    assert "accept-patch" not in put.headers


async def test_a_nul_never_reaches_the_database(alice: Client) -> None:
    for fields in ({"title": "a\0b"}, {"title": "x", "description": "\0"}, {"title": "x", "tags": ["\0"]}):
        answer = await alice.send(
            "POST", "/v1/todos", body=json.dumps(fields).encode(), headers={"content-type": "application/json"}
        )
        assert_problem(answer, 422, "invalid")
    for query in ("q=%00", "tag=%00", "cursor=%00"):
        assert_problem(await alice.get(f"/v1/todos?{query}"), 422, "invalid")


async def test_no_user_has_more_live_todos_than_the_quota(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    superuser.execute("UPDATE user_state SET live_count = %s WHERE user_id = %s", [QUOTA, alice.user])
    assert_problem(await alice.send("POST", "/v1/todos", json_body={"title": "x"}), 409, "quota")
    assert_problem(await alice.send("PUT", f"/v1/todos/{uuid4()}", json_body={"title": "x"}), 409, "quota")
    assert (await alice.send("PUT", path(todo), json_body={"title": "x"})).status_code == 200
    assert (await alice.send("DELETE", path(todo))).status_code == 204
    assert (await alice.send("POST", "/v1/todos", json_body={"title": "x"})).status_code == 201
    assert_problem(await alice.send("POST", "/v1/todos", json_body={"title": "x"}), 409, "quota")


async def test_a_method_that_no_route_could_know_is_no_label(service: Running, alice: Client) -> None:
    assert (await alice.send("TRACE", "/v1/todos")).status_code == 405
    labels = {"route": "/v1/todos", "method": "other", "status": "405"}
    assert service.registry.get_sample_value("todos_requests_total", labels) == 1


async def test_requests_are_counted_by_template_and_logged_without_the_user(
    service: Running, alice: Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "todos.access")
    logs.flush()
    capsys.readouterr()
    todo = await alice.create()
    await alice.get(path(todo))
    logs.flush()
    labels = {"route": "/v1/todos/{todo_id}", "method": "GET", "status": "200"}
    assert service.registry.get_sample_value("todos_requests_total", labels) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (fields,) = [line for line in lines if line["route"] == labels["route"]]
    assert (fields["service"], fields["logger"], fields["message"]) == ("todos", "todos.access", "request")
    assert (fields["method"], fields["status"]) == ("GET", 200)
    assert len(fields["user"]) == 16
    assert alice.user not in str(fields)
    assert todo["id"] not in str(fields)
