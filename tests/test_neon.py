"""What docs/neon.md says to paste works where the roles of the console are as Neon's."""

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from devtools.fixtures import Database
from runtime.serve import StartRefusedError
from todos.schema.check import check
from todos.schema.migrate import migrate
from todos.settings import MigrateSettings

PAGE = Path(__file__).parents[1] / "docs" / "neon.md"


async def test_the_roles_of_the_page_are_fit_and_those_of_the_console_are_refused(database: Database) -> None:
    prefix = f"neon{uuid4().hex[:8]}"
    make, look = (
        block.replace("todos\\_", f"{prefix}\\_")
        .replace("DATABASE todos ", f"DATABASE {database.name} ")
        .replace("todos_", f"{prefix}_")
        .replace("neon_superuser", f"{prefix}superuser")
        .replace("'…'", "'secret'")
        for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    )
    parts = urlsplit(database.owner_url)

    def url(role: str) -> SecretStr:
        return SecretStr(urlunsplit(parts._replace(netloc=f"{role}:secret@{parts.hostname}:{parts.port}")))

    console = f"{prefix}console"
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {prefix}superuser NOLOGIN CREATEROLE CREATEDB BYPASSRLS".encode())
        superuser.execute(
            f"CREATE ROLE {console} LOGIN CREATEROLE CREATEDB PASSWORD 'secret' IN ROLE {prefix}superuser".encode()
        )
        superuser.execute(f"ALTER DATABASE {database.name} OWNER TO {console}".encode())
    with psycopg.connect(url(console).get_secret_value(), autocommit=True) as pasting:
        for statement in make.split(";"):
            if statement.strip():
                pasting.execute(statement.encode())
        found = pasting.execute(look.encode()).fetchall()
        assert [row[1:] for row in found] == [(False, False, False)] * 3
    settings = MigrateSettings(
        database_url=url(f"{prefix}_app"),
        migration_database_url=url(f"{prefix}_owner"),
        maintenance_database_url=url(f"{prefix}_maintenance"),
    )
    told = list(migrate(settings))
    assert told[-2:] == [
        "the owner may not set the serving role's time-outs: left as they are",
        "the maintenance role may purge",
    ]
    assert await check(url(f"{prefix}_app")) is None
    with psycopg.connect(url(f"{prefix}_app").get_secret_value()) as app:
        assert app.execute("SHOW statement_timeout").fetchone() == ("5s",)
    with pytest.raises(StartRefusedError, match="BYPASSRLS"):
        await check(url(console))
