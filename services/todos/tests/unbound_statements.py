"""Statements that could reach a row of another user, or of which nobody can tell."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    func,
    lateral,
    literal,
    literal_column,
    not_,
    or_,
    select,
    table,
    tablesample,
    text,
    true,
    tstring,
    union,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeDecorator, UserDefinedType
from sqlalchemy.util.compat import Template
from sqlmodel import col

from todos.schema.models import Idempotency, Todo, UserState

user = bindparam("user_id", type_=Text)
of_user = col(Todo.user_id) == user
state_of_user = col(UserState.user_id) == user
other: Any = aliased(Todo, name="other")
todo_table = Todo.__table__  # type: ignore[attr-defined]
theirs = select(func.count().label("n")).select_from(Todo)
own = select(col(Todo.id), col(Todo.version)).where(of_user)
own_state = select(col(UserState.seq)).where(state_of_user)


type Planted = Callable[[], Any]


class ReadingType(UserDefinedType[Any]):
    def get_col_spec(self, **_: Any) -> str:
        return "text, (SELECT count(*) FROM TODO)"


class RewritingType(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return func.coalesce(col(Todo.user_id), bindparam)


def a_state(**changed: Any) -> Any:
    row = {"user_id": user, "seq": literal_column("1"), "live_count": literal_column("0"), **changed}
    return insert(UserState).values(**row)


def a_todo_from(query: Select[*tuple[Any, ...]]) -> Any:
    return insert(Todo).from_select(["user_id", "id"], query)


def upsert(**options: Any) -> Any:
    return a_state().on_conflict_do_update(
        **{"index_elements": ["user_id"], "set_": {"live_count": literal_column("1")}, **options}
    )


UNBOUND: dict[str, Planted] = {
    "no condition": lambda: select(col(Todo.id)),
    "select_from alone": lambda: theirs,
    "another condition": lambda: select(col(Todo.id)).where(col(Todo.version) > bindparam("n", type_=Integer)),
    "an equality under OR": lambda: select(col(Todo.id)).where(or_(of_user, col(Todo.completed))),
    "an equality under OR under AND": lambda: select(col(Todo.id)).where(and_(or_(of_user, col(Todo.completed)))),
    "an equality under NOT": lambda: select(col(Todo.id)).where(not_(of_user)),
    "an equality under NOT of AND": lambda: select(col(Todo.id)).where(not_(and_(of_user, col(Todo.completed)))),
    "an equality under CASE": lambda: select(col(Todo.id)).where(case((of_user, true()), else_=true())),
    "an equality that is compared": lambda: select(col(Todo.id)).where(of_user == col(Todo.completed)),
    "an inequality": lambda: select(col(Todo.id)).where(col(Todo.user_id) != user),
    "at least": lambda: select(col(Todo.id)).where(col(Todo.user_id) >= user),
    "another column": lambda: select(col(Todo.id)).where(col(Todo.title) == user),
    "another parameter": lambda: select(col(Todo.id)).where(col(Todo.user_id) == bindparam("owner", type_=Text)),
    "a value": lambda: select(col(Todo.id)).where(col(Todo.user_id) == "bob"),
    "a constant": lambda: select(col(Todo.id)).where(col(Todo.user_id) == literal_column("'bob'")),
    "the parameter of a type that rewrites it": lambda: select(col(Todo.id)).where(
        col(Todo.user_id) == bindparam("user_id", type_=RewritingType)
    ),
    "the parameter in a function": lambda: select(col(Todo.id)).where(col(Todo.user_id) == func.coalesce(user)),
    "the column in a function": lambda: select(col(Todo.id)).where(func.replace(col(Todo.user_id)) == user),
    "the column itself": lambda: select(col(Todo.id)).where(col(Todo.user_id) == col(Todo.user_id)),
    "having": lambda: select(func.count()).select_from(Todo).group_by(col(Todo.user_id)).having(of_user),
    "a filter of an aggregate": lambda: select(func.count().filter(of_user)).select_from(Todo),
    "a table beside": lambda: select(col(Todo.id), col(UserState.seq)).where(of_user),
    "a table beside, equal to a bound one": lambda: select(col(Todo.id)).where(
        state_of_user, col(Todo.user_id) == col(UserState.user_id)
    ),
    "an alias beside": lambda: select(col(Todo.id), other.id).where(of_user),
    "an alias by its table's condition": lambda: select(other.id, col(Todo.id)).where(of_user, of_user),
    "an alias alone": lambda: select(other.id),
    "an alias of an alias": lambda: select(todo_table.alias("a").alias("b").c.id),
    "a sample": lambda: select(tablesample(todo_table, 1).c.id),
    "an inner join": lambda: select(col(Todo.id)).join(UserState, true()).where(of_user),
    "an inner join by OR": lambda: select(col(Todo.id)).join(UserState, or_(state_of_user, true())).where(of_user),
    "an outer join": lambda: select(col(UserState.seq)).outerjoin(Todo, true()).where(state_of_user),
    "an outer join, bound by ON on the side that is kept": lambda: select(col(UserState.seq)).outerjoin(
        other, and_(state_of_user, other.user_id == user)
    ),
    "the left of a full join, bound by ON": lambda: (
        select(col(UserState.seq)).join(Todo, state_of_user, full=True).where(of_user)
    ),
    "the right of a full join, bound by ON": lambda: (
        select(col(UserState.seq)).join(Todo, of_user, full=True).where(state_of_user)
    ),
    "the inner side of a nested join": lambda: (
        select(col(UserState.seq))
        .select_from(
            UserState.__table__.outerjoin(  # type: ignore[attr-defined]
                todo_table.join(Idempotency.__table__, true()),  # type: ignore[attr-defined]
                of_user,
            )
        )
        .where(state_of_user)
    ),
    "a scalar subquery": lambda: select(theirs.scalar_subquery(), col(UserState.seq)).where(state_of_user),
    "a correlated subquery": lambda: own_state.where(
        select(other.id).where(other.version == col(UserState.seq)).exists()
    ),
    "a subquery bound outside": lambda: select(theirs.add_columns(col(Todo.user_id)).subquery().c.user_id).where(
        column("user_id") == user
    ),
    "a lateral subquery": lambda: own_state.add_columns(
        lateral(select(col(Todo.id)).where(col(Todo.version) == col(UserState.seq)), name="page").c.id
    ),
    "exists": lambda: own_state.where(exists().where(col(Todo.version) > col(UserState.seq))),
    "exists of a select": lambda: own_state.where(select(col(Todo.id)).exists()),
    "not exists": lambda: own_state.where(~select(col(Todo.id)).exists()),
    "in": lambda: own_state.where(col(UserState.seq).in_(select(col(Todo.version)))),
    "any": lambda: own_state.where(col(UserState.seq) == select(col(Todo.version)).scalar_subquery()),
    "a function over a subquery": lambda: select(func.coalesce(theirs.scalar_subquery())),
    "a case over a subquery": lambda: own_state.add_columns(
        case((col(UserState.seq) > theirs.scalar_subquery(), true()))
    ),
    "a cast of a subquery": lambda: select(cast(theirs.scalar_subquery(), Text)),
    "a filter over a subquery": lambda: select(
        func.count().filter(col(UserState.seq) > theirs.scalar_subquery())
    ).where(state_of_user),
    "an order within an aggregate": lambda: select(
        func.json_agg(col(UserState.seq)).aggregate_order_by(theirs.scalar_subquery())
    ).where(state_of_user),
    "a window's order": lambda: select(
        func.row_number().over(order_by=theirs.scalar_subquery()), col(UserState.seq)
    ).where(state_of_user),
    "ORDER BY": lambda: own_state.order_by(theirs.scalar_subquery()),
    "GROUP BY": lambda: own_state.group_by(col(UserState.seq), theirs.scalar_subquery()),
    "HAVING": lambda: own_state.group_by(col(UserState.seq)).having(theirs.scalar_subquery() > literal_column("1")),
    "LIMIT": lambda: own_state.limit(theirs.scalar_subquery()),
    "OFFSET": lambda: own_state.offset(theirs.scalar_subquery()),
    "DISTINCT ON": lambda: own_state.ext(distinct_on(theirs.scalar_subquery())),
    "a CTE": lambda: select(theirs.cte("c").c.n),
    "a CTE that nothing reads": lambda: own_state.add_cte(theirs.cte("c")),
    "a CTE in a CTE": lambda: select(select(theirs.cte("a").c.n).cte("b").c.n),
    "a nested CTE": lambda: own_state.where(select(theirs.cte("a", nesting=True)).exists()),
    "a recursive CTE": lambda: select(
        (c := own.cte("c", recursive=True)).union_all(select(other.id, other.version).where(other.id == c.c.id)).c.id
    ),
    "a union": lambda: union(own, select(col(Todo.id), col(Todo.version))),
    "an except": lambda: own.except_(select(other.id, other.version)),
    "a union in a subquery": lambda: select(union(own, select(other.id, other.version)).subquery().c.id),
    "ORDER BY of a union": lambda: union(own_state, own_state).order_by(theirs.scalar_subquery()),
    "VALUES": lambda: select(values(column("n", Integer), name="v").data([(theirs.scalar_subquery(),)]).c.n),
    "a whole row": lambda: select(func.row_to_json(todo_table.table_valued())),
    "an update": lambda: update(Todo).values(completed=true()),
    "an update of an alias": lambda: update(other).values(completed=true()).where(of_user),
    "UPDATE FROM": lambda: update(Todo).values(version=col(UserState.seq)).where(of_user),
    "UPDATE FROM an equal one": lambda: (
        update(Todo).values(version=col(UserState.seq)).where(of_user, col(Todo.user_id) == col(UserState.user_id))
    ),
    "UPDATE FROM a bound one": lambda: update(Todo).values(version=col(UserState.seq)).where(state_of_user),
    "SET": lambda: update(UserState).values(seq=theirs.scalar_subquery()).where(state_of_user),
    "RETURNING of an update": lambda: (
        update(UserState).values(seq=literal_column("1")).where(state_of_user).returning(theirs.scalar_subquery())
    ),
    "a delete": lambda: delete(Todo),
    "a delete bound by OR": lambda: delete(Todo).where(or_(of_user, true())),
    "DELETE USING": lambda: delete(Todo).where(of_user, col(Todo.version) < col(UserState.seq)),
    "DELETE USING a bound one": lambda: delete(Todo).where(state_of_user, col(Todo.version) < col(UserState.seq)),
    "RETURNING of a delete": lambda: (
        delete(Todo).where(of_user).returning(select(col(UserState.seq)).scalar_subquery())
    ),
    "an update in a CTE": lambda: select(update(Todo).values(completed=true()).returning(col(Todo.id)).cte("c").c.id),
    "an insert without a user": lambda: insert(UserState).values(seq=literal_column("1")),
    "an insert of nothing said": lambda: insert(UserState),
    "an insert of another parameter": lambda: a_state(user_id=bindparam("owner", type_=Text)),
    "an insert of a value": lambda: a_state(user_id="bob"),
    "an insert of another's user": lambda: a_state(
        user_id=select(other.user_id).where(other.user_id == user).scalar_subquery()
    ),
    "an insert of a function": lambda: a_state(user_id=func.coalesce(user)),
    "an insert of many rows": lambda: insert(UserState).values(
        [
            {"user_id": user, "seq": literal_column("1")},
            {"user_id": literal_column("'bob'"), "seq": literal_column("1")},
        ]
    ),
    "an insert that reads": lambda: a_state(seq=theirs.scalar_subquery()),
    "RETURNING of an insert": lambda: a_state().returning(theirs.scalar_subquery()),
    "INSERT SELECT": lambda: a_todo_from(select(user, other.id)),
    "INSERT SELECT without a user": lambda: insert(Todo).from_select(
        ["id"], select(other.id).where(other.user_id == user)
    ),
    "INSERT SELECT of their user": lambda: a_todo_from(select(col(Todo.user_id), col(Todo.id))),
    "INSERT SELECT of columns in another order": lambda: a_todo_from(
        select(col(Idempotency.key), user).where(col(Idempotency.user_id) == user)
    ),
    "INSERT SELECT of a union": lambda: insert(Todo).from_select(
        ["user_id", "id"],
        union(
            select(user, bindparam("id", type_=Uuid)),
            select(bindparam("owner", type_=Text), bindparam("i", type_=Uuid)),
        ),
    ),
    "SET of ON CONFLICT": lambda: upsert(set_={"seq": theirs.scalar_subquery()}),
    "WHERE of ON CONFLICT": lambda: upsert(where=theirs.scalar_subquery() > literal_column("1")),
}
CONFLICTING: dict[str, Planted] = {
    "ON CONFLICT on another key": lambda: upsert(index_elements=["seq"]),
    "ON CONFLICT on a constraint": lambda: upsert(index_elements=None, constraint="user_state_pkey"),
    "ON CONFLICT on another key under OR": lambda: upsert(index_elements=["seq"], where=or_(state_of_user, true())),
}
MOVING: dict[str, Planted] = {
    "a user that changes": lambda: update(Todo).values(user_id=bindparam("heir", type_=Text)).where(of_user),
    "a user that changes, by column": lambda: update(Todo).values({col(Todo.user_id): user}).where(of_user),
    "a user that changes, in order": lambda: update(Todo).ordered_values((col(Todo.user_id), user)).where(of_user),
    "a user that ON CONFLICT changes": lambda: upsert(set_={"user_id": bindparam("heir", type_=Text)}),
}
RAW: dict[str, Planted] = {
    "text as a table": lambda: select(literal_column("1")).select_from(text("todo")),
    "text as a column": lambda: own_state.add_columns(text("(SELECT count(*) FROM todo)")),
    "text as a condition": lambda: own_state.where(text("EXISTS (SELECT FROM todo)")),
    "text in ORDER BY": lambda: own_state.order_by(text("(SELECT count(*) FROM todo)")),
    "text as a statement": lambda: text("SELECT * FROM todo"),
    "text as a subquery": lambda: select(text("SELECT id FROM todo").columns(todo_table.c.id).subquery().c.id),
    "a template string": lambda: tstring(Template("SELECT id FROM todo")),
    "a literal column": lambda: select(literal_column("(SELECT count(*) FROM todo)")),
    "a literal column in disguise": lambda: select(literal_column("'a' || (SELECT string_agg(title, '') FROM todo)")),
    "an operator that is text": lambda: own_state.where(
        col(UserState.seq).op("> (SELECT count(*) FROM todo) OR 1 =")(literal_column("1"))
    ),
    "a prefix": lambda: own_state.prefix_with("(SELECT count(*) FROM todo),"),
    "a suffix": lambda: own_state.suffix_with("UNION SELECT version FROM todo"),
    "a hint": lambda: own_state.with_statement_hint("UNION SELECT version FROM todo"),
}
HIDDEN: dict[str, Planted] = {
    "FOR UPDATE OF another table": lambda: own_state.with_for_update(of=Todo),
    "a CTE that hides a table": lambda: select(own.cte("user_state").c.id),
    "a column without its table": lambda: select(column("todo")),
    "a type": lambda: select(cast(literal_column("1"), ReadingType())),
}
UNKNOWN_TABLES: dict[str, Planted] = {
    "a table by name alone": lambda: select(table("todo", column("id")).c.id),
    "a view": lambda: select(table("everything", column("id")).c.id),
    "a table of another catalogue": lambda: select(
        Table("todo", MetaData(), Column("id", String), schema="public").c.id
    ),
    "a table that does not say whose it is": lambda: select(Table("audit", MetaData(), Column("id", String)).c.id),
}
UNKNOWN_FUNCTIONS: dict[str, Planted] = {
    "an unknown function": lambda: select(func.every_todo()),
    "a function that runs text": lambda: select(func.query_to_xml(literal_column("'SELECT * FROM todo'"))),
    "a function of a schema": lambda: select(func.public.count()),
    "a function as a table": lambda: select(func.every_todo().table_valued("id").c.id),
}
WITH_VALUES: dict[str, Planted] = {
    "the parameter with a value": lambda: select(col(Todo.id)).where(
        col(Todo.user_id) == bindparam("user_id", "bob", type_=Text)
    ),
    "the parameter with a callable": lambda: select(col(Todo.id)).where(
        col(Todo.user_id) == bindparam("user_id", callable_=lambda: "bob", type_=Text)
    ),
    "a value in a condition": lambda: own_state.where(col(UserState.seq) > literal(1)),
    "a value in LIMIT": lambda: own_state.limit(1),
}
FAULTS = {
    "is not bound": UNBOUND,
    "another user owns": CONFLICTING,
    "a row is changed": MOVING,
    "raw SQL": RAW,
    "is named": HIDDEN,
    "does not say": UNKNOWN_TABLES,
    "not known to": UNKNOWN_FUNCTIONS,
    "has a value": WITH_VALUES,
}
"""What the error says, and the statements that it says it of."""
