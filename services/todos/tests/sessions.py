"""One user's session and todos without HTTP, each write as if by a request of its own."""

import os
import time

from todos.database.pool import Database
from todos.database.user_session import UserSession
from todos.store.repository import TodoRepository
from todos.store.seen_signatures import Signature, remember


def session_of(database: Database, user_id: str) -> UserSession:
    return UserSession(database, user_id, lambda: remember(Signature(os.urandom(32), int(time.time()) + 30)))


def todos_of(database: Database, user_id: str) -> TodoRepository:
    return TodoRepository(session_of(database, user_id))
