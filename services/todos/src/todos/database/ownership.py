"""Finds whose rows a statement reads and changes, and refuses one that could reach another user's.

The check runs inside the compiler, at every SELECT, INSERT, UPDATE and DELETE that it renders: a table that this walk
misses is not in the SQL. What the walk cannot check is refused too: raw text, a function or a table that it does not
know. The finished SQL is compared with what was walked, for constructs that are rendered in another way.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    Column,
    CompoundSelect,
    Delete,
    FromClause,
    Insert,
    Join,
    Label,
    Select,
    TableClause,
    Text,
    Update,
)
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg, PGDialect_psycopg
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping
from sqlmodel import SQLModel

USER_ID = "user_id"
"""The column in every table of users, and the parameter that it must equal."""
OF_USERS = "of_users"
"""The key in `Table.info` that says whether each row belongs to one user."""

FUNCTIONS = frozenset(
    {
        *("clock_timestamp", "coalesce", "count", "greatest", "json_agg", "json_build_array", "jsonb_to_recordset"),
        *("length", "lower", "now", "nullif", "regexp_like", "replace", "row_number", "row_to_json", "strpos"),
        *("timezone", "to_char", "unnest"),
    }
)
"""Functions that read nothing but their arguments."""

_DIALECT = PGDialect_psycopg(paramstyle="numeric_dollar")
_CONSTANT_OR_OPERATOR = re.compile(r"\d+|true|false|(interval )?'[^'\\]*'(::[a-z]+)?|[-+*/<>=~!@#%^&|`?]+")
_ASSIGNED_USER = re.compile(rf'(?<![.\w"])"?{USER_ID}"?\s*=')

type Expression = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]] | Insert | Update | Delete
type Verb = Literal["select", "insert", "update", "delete"]
type Binding = Literal["where", "on", "values"]


@dataclass(frozen=True, slots=True)
class TableUse:
    """One mention of a table, and what keeps it to one user's rows.

    `where` is the WHERE of the very SELECT, UPDATE or DELETE that names the table, `on` the ON of its join, `values`
    what an INSERT writes. None: the table belongs to all users.
    """

    table: str
    verb: Verb
    bound_by: Binding | None


class UnboundStatementError(Exception):
    """A statement could reach rows of another user; the message names the table and the statement."""


class OwnershipCompiler(PGCompiler_psycopg):
    """Compiles a statement and lists the tables it uses; `faults` say why it must not run.

    It overrides methods of SQLAlchemy's compiler that are not public. If one of them is renamed, `uses` misses
    tables that the SQL names, and every statement is refused.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.uses: list[TableUse] = []
        self.faults: list[str] = []
        super().__init__(*arguments, **options)  # compiles
        self._compare_with_sql()

    def _compose_select_body(self, text: Any, select: Any, state: Any, columns: Any, froms: Any, *rest: Any) -> Any:
        self._add("select", froms, select._where_criteria)
        return super()._compose_select_body(text, select, state, columns, froms, *rest)

    def update_tables_clause(self, update_stmt: Any, from_table: Any, extra_froms: Any, **options: Any) -> Any:
        self._add("update", [from_table], update_stmt._where_criteria)
        self._add("select", extra_froms, update_stmt._where_criteria)
        return super().update_tables_clause(update_stmt, from_table, extra_froms, **options)

    def delete_table_clause(self, delete_stmt: Any, from_table: Any, extra_froms: Any, **options: Any) -> Any:
        self._add("delete", [from_table], delete_stmt._where_criteria)
        self._add("select", extra_froms, delete_stmt._where_criteria)
        return super().delete_table_clause(delete_stmt, from_table, extra_froms, **options)

    def visit_insert(self, insert_stmt: Any, *arguments: Any, **options: Any) -> Any:
        self._record(insert_stmt.table, "insert", "values" if _writes_user(insert_stmt) else None)
        return super().visit_insert(insert_stmt, *arguments, **options)

    def visit_on_conflict_do_update(self, on_conflict: OnConflictDoUpdate, **options: Any) -> Any:
        target = on_conflict.inferred_target_elements or []
        names = {element if isinstance(element, str) else element.name for element in target}
        insert: Any = self.stack[-1]["selectable"]
        if USER_ID not in names and insert.table not in _bound_sources([on_conflict.update_whereclause]):
            self.faults.append(f"ON CONFLICT may update a row of {insert.table.name} that another user owns")
        return super().visit_on_conflict_do_update(on_conflict, **options)

    def visit_function(self, func: Function[Any], *arguments: Any, **options: Any) -> Any:
        if func.packagenames or func.name not in FUNCTIONS:
            self.faults.append(f"the function {func.name} is not known to read nothing but its arguments")
        return super().visit_function(func, *arguments, **options)

    def escape_literal_column(self, text: str) -> Any:
        if not _CONSTANT_OR_OPERATOR.fullmatch(text):
            self._refuse_text(text)
        return super().escape_literal_column(text)

    def post_process_text(self, text: str) -> Any:
        self._refuse_text(text)
        return super().post_process_text(text)

    def get_statement_hint_text(self, hint_texts: Any) -> Any:
        self._refuse_text(" ".join(hint_texts))
        return super().get_statement_hint_text(hint_texts)

    def _refuse_text(self, text: str) -> None:
        self.faults.append(f"raw SQL is neither a constant nor an operator: {text}")

    def _add(self, verb: Verb, sources: Iterable[FromClause], criteria: Iterable[object]) -> None:
        where = _bound_sources(criteria)
        for source in sources:
            for named, on in _named_sources(source, frozenset()):
                bound_by: Binding | None = "where" if named in where else "on" if named in on else None
                self._record(_table(named), verb, bound_by)

    def _record(self, table: TableClause, verb: Verb, bound_by: Binding | None) -> None:
        of_users = getattr(table, "info", {}).get(OF_USERS)
        if of_users is None:
            self.faults.append(f"{table.name} does not say whether it belongs to users")
        elif of_users and bound_by is None:
            self.faults.append(f"{verb} of {table.name} is not bound to its own {USER_ID} = :{USER_ID}")
        self.uses.append(TableUse(table.name, verb, bound_by if of_users else None))

    def _compare_with_sql(self) -> None:
        sql = str(self)
        walked = Counter(use.table for use in self.uses)
        for name in SQLModel.metadata.tables:
            mentioned = len(re.findall(rf'(?<![\w"])"?{name}"?(?![\w".])', sql, re.IGNORECASE))
            if mentioned != walked[name]:
                self.faults.append(f"{name} is named {mentioned} times, where {walked[name]} are understood")
        if _ASSIGNED_USER.search(sql):
            self.faults.append(f"{USER_ID} of a row is changed")


def compile_owned(expression: Expression) -> OwnershipCompiler:
    """Compile a statement, every value of which is a named parameter.

    Raises:
        UnboundStatementError: it could reach rows of another user, or it holds a value.
    """
    compiler = OwnershipCompiler(_DIALECT, expression)
    values = [name for name, value in compiler.params.items() if value is not None]
    if faults := [*compiler.faults, *(f"the parameter {name} has a value" for name in values)]:
        raise UnboundStatementError(f"{'; '.join(faults)}:\n{compiler}")
    return compiler


def _named_sources(
    source: FromClause | None, on: frozenset[FromClause]
) -> Iterator[tuple[FromClause, frozenset[FromClause]]]:
    """The tables and aliases of tables in a FROM, each with what the joins around it bind."""
    match source:
        case Join(left=left, right=right, onclause=condition, isouter=is_outer, full=is_full):
            bound = on | _bound_sources([condition])
            yield from _named_sources(left, on if is_outer or is_full else bound)
            yield from _named_sources(right, on if is_full else bound)
        case FromGrouping(element=element):
            yield from _named_sources(element, on)
        case TableClause() | AliasedReturnsRows() if isinstance(_table(source), TableClause):
            yield source, on
        case _:
            pass  # a SELECT, a CTE, a function: it has a scope of its own


def _table(source: Any) -> Any:
    while isinstance(source, AliasedReturnsRows):
        source = source.element
    return source


def _bound_sources(criteria: Iterable[object]) -> frozenset[FromClause]:
    """The tables and aliases whose own `user_id` equals the user in a condition that always holds."""
    return frozenset(source for condition in _conjuncts(criteria) if (source := _bound_source(condition)) is not None)


def _conjuncts(criteria: Iterable[object]) -> Iterator[object]:
    for condition in criteria:
        match condition:
            case BooleanClauseList(operator=operators.and_, clauses=clauses):
                yield from _conjuncts(clauses)
            case _:
                yield condition


def _bound_source(condition: object) -> FromClause | None:
    if isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
        for column, value in ((condition.left, condition.right), (condition.right, condition.left)):
            if isinstance(column, Column) and column.name == USER_ID and _is_user(value):
                return column.table
    return None


def _is_user(value: object) -> bool:
    # a type of its own could put an expression around the parameter
    return isinstance(value, BindParameter) and value.key == USER_ID and type(value.type) is Text


def _writes_user(insert: Insert) -> bool:
    if insert.select is not None:
        names = insert._select_names or []
        return USER_ID in names and all(
            _is_user(_unlabelled(columns[names.index(USER_ID)])) for columns in _arms(insert.select)
        )
    values = (insert._values or {}).items()
    return any(getattr(column, "key", column) == USER_ID and _is_user(value) for column, value in values)


def _arms(query: Any) -> Iterator[list[Any]]:
    if isinstance(query, CompoundSelect):
        for select in query.selects:
            yield from _arms(select)
    else:
        yield list(query._all_selected_columns)


def _unlabelled(column: object) -> object:
    return column.element if isinstance(column, Label) else column
