"""The request as a handler gets it."""

from starlette.requests import Request

from runtime.identifiers import is_canonical_uuid
from strict_http.asgi import Receive, Scope
from todos.database.pool import Database
from todos.database.user_session import UserSession
from todos.http.authentication import CALLER, Caller
from todos.http.long_work import LongWork
from todos.store.repository import TodoRepository, not_found
from todos.store.seen_signatures import remember


class TodoRequest(Request):
    """A request of an authenticated caller, with this caller's todos."""

    def __init__(self, scope: Scope, receive: Receive, database: Database, long_work: LongWork) -> None:
        super().__init__(scope, receive)
        self.caller: Caller = scope[CALLER]
        self.raw_query: bytes = scope["query_string"]
        self.raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._database = database
        self.long_work = long_work

    @property
    def todo_id(self) -> str:
        """The id in the path. Raises `not_found` where it is no UUID in canonical form."""
        todo_id: str = self.path_params["todo_id"]
        if not is_canonical_uuid(todo_id):
            raise not_found()
        return todo_id

    @property
    def todos(self) -> TodoRepository:
        return TodoRepository(self.user_session)

    @property
    def user_session(self) -> UserSession:
        return UserSession(self._database, self.caller.user_id, lambda: remember(self.caller.signature))
