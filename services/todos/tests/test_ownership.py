"""No statement compiles that could reach a row of another user."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Text,
    and_,
    bindparam,
    exists,
    func,
    lateral,
    literal_column,
    or_,
    select,
    text,
    true,
    union,
    update,
)
from sqlalchemy import delete as delete_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col

from services.todos.tests.unbound_statements import FAULTS
from todos.database.command import compiled, nothing
from todos.database.ownership import TableUse, UnboundStatementError
from todos.schema.models import Erasure, Idempotency, Todo, UserState

PLANTED = [
    pytest.param(fault, statement, id=name) for fault, planted in FAULTS.items() for name, statement in planted.items()
]
MODULE = """
from sqlalchemy import select
from sqlmodel import col
from todos.database.command import compiled
from todos.schema.models import Todo, UserState
from todos.store.statements import of_user

joined = select(col(Todo.id), col(UserState.seq)).join(UserState, col(UserState.seq) == col(Todo.version))
read = compiled(joined{}, tuple)
"""

user = bindparam("user_id", type_=Text)
of_user = col(Todo.user_id) == user
state_of_user = user == col(UserState.user_id)
user_state_table = UserState.__table__  # type: ignore[attr-defined]
other: Any = aliased(Todo)
of_other = other.user_id == user
at_state = [TableUse("user_state", "select", "where")]


def a_state() -> Any:
    return insert(UserState).values(user_id=user, seq=literal_column("1"), live_count=literal_column("0"))


LEGAL: dict[str, tuple[Callable[[], Any], list[TableUse]]] = {
    "a select": (lambda: select(col(Todo.id)).where(of_user), [TableUse("todo", "select", "where")]),
    "under AND": (
        lambda: select(col(Todo.id)).where(and_(and_(true(), of_user), or_(col(Todo.completed), true()))),
        [TableUse("todo", "select", "where")],
    ),
    "an alias": (lambda: select(other.id).where(of_other), [TableUse("todo", "select", "where")]),
    "a table and its alias": (
        lambda: select(other.id, col(Todo.id)).where(of_other, of_user),
        [TableUse("todo", "select", "where")] * 2,
    ),
    "an inner join": (
        lambda: select(col(Todo.id)).join(UserState, state_of_user).where(of_user),
        [TableUse("todo", "select", "where"), TableUse("user_state", "select", "on")],
    ),
    "both sides by the ON of an inner join": (
        lambda: select(col(Todo.id)).join(UserState, and_(state_of_user, of_user)),
        [TableUse("todo", "select", "on"), TableUse("user_state", "select", "on")],
    ),
    "the nullable side of an outer join": (
        lambda: select(col(UserState.seq)).outerjoin(Todo, of_user).where(state_of_user),
        [*at_state, TableUse("todo", "select", "on")],
    ),
    "both sides of a full join": (
        lambda: select(col(UserState.seq)).join(Todo, true(), full=True).where(state_of_user, of_user),
        [*at_state, TableUse("todo", "select", "where")],
    ),
    "a lateral subquery": (
        lambda: select(col(UserState.seq), lateral(select(col(Todo.id)).where(of_user)).c.id).where(state_of_user),
        [*at_state, TableUse("todo", "select", "where")],
    ),
    "exists": (
        lambda: select(col(UserState.seq)).where(state_of_user, exists().where(of_user)),
        [*at_state, TableUse("todo", "select", "where")],
    ),
    "a column of a scope outside": (
        lambda: select(col(UserState.seq)).where(
            state_of_user, select(col(Todo.id)).where(of_user, col(Todo.version) == col(UserState.seq)).exists()
        ),
        [*at_state, TableUse("todo", "select", "where")],
    ),
    "a union": (
        lambda: union(select(col(Todo.id)).where(of_user), select(other.id).where(of_other)),
        [TableUse("todo", "select", "where")] * 2,
    ),
    "a table of all users": (lambda: select(col(Erasure.highest)), [TableUse("erasure", "select", None)]),
    "an insert": (a_state, [TableUse("user_state", "insert", "values")]),
    "an upsert on the user's key": (
        lambda: a_state().on_conflict_do_update(index_elements=["user_id"], set_={"seq": literal_column("2")}),
        [TableUse("user_state", "insert", "values")],
    ),
    "an insert into a table, and an upsert on a key by its column": (
        lambda: (
            insert(user_state_table)
            .values(user_id=user, seq=literal_column("1"), live_count=literal_column("0"))
            .on_conflict_do_update(index_elements=[col(UserState.user_id)], set_={"seq": literal_column("2")})
        ),
        [TableUse("user_state", "insert", "values")],
    ),
    "an upsert of the user's row on another key": (
        lambda: a_state().on_conflict_do_update(
            index_elements=["seq"], set_={"seq": literal_column("2")}, where=state_of_user
        ),
        [TableUse("user_state", "insert", "values")],
    ),
    "INSERT SELECT": (
        lambda: insert(Todo).from_select(["id", "user_id"], select(other.id, user.label("u")).where(of_other)),
        [TableUse("todo", "insert", "values"), TableUse("todo", "select", "where")],
    ),
    "INSERT SELECT of a union": (
        lambda: insert(Idempotency).from_select(
            ["user_id", "key"],
            union(select(user, bindparam("k", type_=Text)), select(user, literal_column("'k'"))),
        ),
        [TableUse("idempotency", "insert", "values")],
    ),
    "UPDATE FROM": (
        lambda: update(Todo).values(version=col(UserState.seq)).where(of_user, state_of_user),
        [TableUse("todo", "update", "where"), *at_state],
    ),
    "DELETE USING": (
        lambda: delete_(Todo).where(of_user, state_of_user, col(Todo.version) < col(UserState.seq)),
        [TableUse("todo", "delete", "where"), *at_state],
    ),
    "an update in a CTE": (
        lambda: select(update(UserState).values(seq=func.greatest(user)).where(state_of_user).returning(user).cte("c")),
        [TableUse("user_state", "update", "where")],
    ),
}


@pytest.mark.filterwarnings("ignore:Column 'user_state.user_id'")  # SQLAlchemy sees that one is missing, too
@pytest.mark.parametrize(("fault", "planted"), PLANTED)
def test_a_statement_that_could_reach_another_user_does_not_compile(fault: str, planted: Callable[[], Any]) -> None:
    statement = planted()
    with pytest.raises(UnboundStatementError) as refused:
        compiled(statement, nothing)
    reasons, _, sql = str(refused.value).partition(":\n")
    assert fault in reasons.partition("; ")[0]
    assert sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "(SELECT")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (lambda: select(literal_column("now() - x")).where(of_user), "now() - x"),
        (lambda: select(col(Todo.id)).where(of_user, text("x = 1")), "x = 1"),
        (lambda: select(col(Todo.id)).where(of_user).with_statement_hint("a").with_statement_hint("b"), "a b"),
    ],
)
def test_raw_sql_is_refused_with_its_words(statement: Callable[[], Any], words: str) -> None:
    with pytest.raises(UnboundStatementError) as refused:
        compiled(statement(), nothing)
    assert f"raw SQL is neither a constant nor an operator: {words}" in str(refused.value).partition(":\n")[0].split(
        "; "
    )


@pytest.mark.parametrize(("legal", "uses"), LEGAL.values(), ids=LEGAL)
def test_a_bound_statement_compiles_and_lists_its_tables(legal: Callable[[], Any], uses: list[TableUse]) -> None:
    assert list(compiled(legal(), nothing).uses) == uses


@pytest.mark.parametrize(("bound", "unbound"), [(".where(of_user)", "user_state"), ("", "todo")])
def test_a_module_with_an_unbound_statement_does_not_import(tmp_path: Path, bound: str, unbound: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(MODULE.format(bound))
    spec = importlib.util.spec_from_file_location("planted", path)
    assert spec
    assert spec.loader
    with pytest.raises(
        UnboundStatementError, match=rf"select of {unbound} is not bound[^$]*\nSELECT todo\.id, user_state\.seq"
    ):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
