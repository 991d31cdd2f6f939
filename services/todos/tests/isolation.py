"""Taking the first wall between users away, to see what the others hold."""

import dataclasses

from todos.database.command import Statement
from todos.schema.models import TABLES


def without_first_wall[Row](statement: Statement[Row]) -> Statement[Row]:
    number = statement.names.index("user_id") + 1
    sql = statement.sql.decode()
    for table in TABLES:
        sql = sql.replace(f"{table}.user_id = ${number}::VARCHAR", f"${number}::VARCHAR IS NOT NULL")
    return dataclasses.replace(statement, sql=sql.encode())
