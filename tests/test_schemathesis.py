"""Schemathesis, with all its checks, against what the document says: through the gateway, and todos directly.

One check has nothing to go by here, that of one user's access to another's objects: it wants passwords to log in with.
`test_isolation_matrix.py` asks that of every route.
"""

import time
import uuid
from copy import deepcopy
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.adapters import HTTPAdapter
from schemathesis.specs.openapi.checks import negative_data_rejection

from identity import Keyring, parse_key, sign
from tests.contract import DOCUMENT, check_response
from tests.pair import Pair, template_of

pytestmark = pytest.mark.xdist_group("pair")


class Signing(HTTPAdapter):
    """Signs each request as the gateway does, over the very bytes that go out."""

    def __init__(self, keys: str, user: str) -> None:
        super().__init__()
        self._keys = Keyring(dict([parse_key(keys)]))
        self._user = user.encode()

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        path, _, query = request.path_url.encode().partition(b"?")
        body = request.body or b""
        assert isinstance(body, bytes | str)
        request.body = body = body.encode() if isinstance(body, str) else body
        assert request.method
        for name, value in sign(
            self._keys,
            method=request.method,
            path=path,
            query=query,
            user_id=self._user,
            request_id=str(uuid.uuid4()).encode(),
            body=body,
            now=int(time.time()),
        ):
            request.headers[name.decode()] = value.decode()
        return super().send(request, *arguments, **options)


type Case = schemathesis.Case[Any]
type Document = dict[str, Any]
IDS = [f"0192f672-b56e-7c11-8f5e-3b1d2a6c9e0{digit}" for digit in range(4)]
SEEDED, ABSENT = IDS[:3], IDS[3]


def answerable(document: Document) -> Document:
    """The document with some fields narrowed to values that lead somewhere, of which random ones never do."""
    narrowed = deepcopy(document)
    schemas, parameters = narrowed["components"]["schemas"], narrowed["components"]["parameters"]
    # a schema has no word for the names of the IANA database, nor for the grammar of a rule and what must go with it
    schemas["Timezone"] = {"type": "string", "enum": ["UTC", "Europe/Berlin", "America/New_York"], "default": "UTC"}
    rules = ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY;BYDAY=-1FR;COUNT=12"]
    schemas["Recurrence"] = {"anyOf": [{"type": "string", "enum": rules}, {"type": "null"}], "default": None}
    # the generator of boundaries does not heed this pattern: it takes `0` for an entity tag
    schemas["EntityTags"] = {"type": "string", "enum": ['"1"', 'W/"1730711565678", "2"', "*"]}
    # opaque: an invented one is always refused, and would stand in nearly every request
    del parameters["Cursor"], parameters["Since"]
    for path, opaque in {"/v1/todos": "Cursor", "/v1/changes": "Since"}.items():
        narrowed["paths"][path]["get"]["parameters"].remove({"$ref": f"#/components/parameters/{opaque}"})
    # an invented id is never there: most of the answers would be the same 404
    parameters["Id"]["schema"] = {"type": "string", "format": "uuid", "enum": IDS}
    return narrowed


CONFIGURATION = {
    # each run the same: what the settings of Hypothesis derandomize is drawn here from a seed
    "seed": 1,
    "generation": {"deterministic": True},
    "checks": {
        "positive_data_acceptance": {
            # 410 and 412 tell of the state of things, and so does 409; no schema tells whether a request meets them.
            # 422 is let through here for `refused_for_what_a_schema_cannot_say`, which looks closer.
            "expected-statuses": ["2xx", "304", "404", "409", "410", "412", "422"]
        },
    },
}


def loaded(document: Document) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(answerable(document), config=schemathesis.Config.from_dict(CONFIGURATION))


THROUGH_THE_GATEWAY = loaded(DOCUMENT)
# the signature of the gateway is no security scheme that OpenAPI has, and a token means nothing here
DIRECTLY = loaded({**DOCUMENT, "security": []})
BOUNDED = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,  # an answer takes as long as the machine lets it
    suppress_health_check=list(HealthCheck),  # strict schemas are slow to draw from
)


def refused_for_what_a_schema_cannot_say(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: Case
) -> None:
    """A request that fits the document is 422 for these reasons alone."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.method == "HEAD":
        return  # it says no reason, and GET is the same
    problem = response.json()
    if problem["code"] == "idempotency_mismatch":
        return
    for fault in problem["errors"]:
        reason = fault.get("parameter") or fault["pointer"].rpartition("/")[2], fault["detail"]
        assert reason in CANNOT_SAY, f"a request that fits the document: {reason}"


CANNOT_SAY = {
    # of two fields together, and on a PATCH of what is there already
    ("recurrence", "needs a due_date"),
    # of two parameters together
    ("deleted_after", "goes with deleted=true"),
    # `uniqueItems` compares whole items
    ("id", "stands in this import twice"),
    # to JSON Schema 7.0 is an integer; the description of the field tells that it is refused
    ("order", "Input should be a valid integer"),
}


def user_of(case: Case, pair: Pair, test: str) -> str:
    """A user of this operation alone; of this very request, where a key that was used would refuse all others."""
    label: str = case.operation.label
    return f"schemathesis-{uuid.uuid4()}" if label == "POST /v1/todos" else user_with_todos(f"{test} {label}", pair)


@cache
def user_with_todos(purpose: str, pair: Pair) -> str:
    user = "schemathesis-" + "-".join(purpose.split())
    for number, todo_id in enumerate(SEEDED):
        fields = {"title": f"Todo {number}", "tags": ["home"], "due_date": "2024-11-08", "recurrence": "FREQ=DAILY"}
        assert pair.request(user, "PUT", f"/v1/todos/{todo_id}", json=fields).status_code == 201
    return user


@THROUGH_THE_GATEWAY.parametrize()
@BOUNDED
def test_schemathesis_finds_nothing_through_the_gateway(case: Case, pair: Pair) -> None:
    user = user_of(case, pair, "through")
    answer = case.call_and_validate(
        base_url=pair.gateway,
        headers={"Authorization": f"Bearer {pair.token(user)}"},
        additional_checks=[refused_for_what_a_schema_cannot_say],
    )
    method, path = answer.request.method, urlsplit(str(answer.request.url)).path
    assert method
    headers = {name: ", ".join(values) for name, values in answer.headers.items()}
    check_response(method, template_of(path), answer.status_code, headers, answer.content)


@DIRECTLY.parametrize()
@BOUNDED
def test_schemathesis_finds_nothing_in_todos_itself(case: Case, pair: Pair) -> None:
    user = user_of(case, pair, "directly")
    with requests.Session() as session:
        session.trust_env = False
        session.mount(pair.todos, Signing(pair.description["identity_keys"], user))
        case.call_and_validate(
            base_url=pair.todos, session=session, additional_checks=[refused_for_what_a_schema_cannot_say]
        )


def test_schemathesis_finds_nothing_in_what_follows_from_what(pair: Pair) -> None:
    """Chains of requests, in which one answer gives the next its id: only these find a use after a deletion."""

    class Chain(THROUGH_THE_GATEWAY.as_state_machine()):  # type: ignore[misc] # made at run time
        def setup(self) -> None:
            # a chain that is played again has to meet the same answers: nothing may be left of the one before
            self.user = f"schemathesis-{uuid.uuid4()}"

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": pair.gateway, "headers": {"Authorization": f"Bearer {pair.token(self.user)}"}}

        def validate_response(self, response: schemathesis.Response, case: Case, **options: Any) -> None:
            case.validate_response(
                response,
                additional_checks=[refused_for_what_a_schema_cannot_say],
                # what the step before gives takes the place of what was made wrong, and the case still counts as wrong
                excluded_checks=[negative_data_rejection],
                transport_kwargs=options,
            )

    Chain.run(settings=settings(BOUNDED, stateful_step_count=8))
