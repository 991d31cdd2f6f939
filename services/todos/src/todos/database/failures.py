"""What a failure of the database means for a request."""

import contextlib
import logging
from collections.abc import Iterator

import psycopg
from psycopg.errors import DeadlockDetected, QueryCanceled, ReadOnlySqlTransaction, SerializationFailure
from pydantic import SecretStr

from runtime.logs import fields
from runtime.problems import ProblemError, retry_after
from todos.database.reachability import fault_of

RETRY_AFTER_SECONDS = 2
OVERLOADED_RETRY_AFTER_SECONDS = 1

log = logging.getLogger("todos.database")


class LostConnectionError(psycopg.OperationalError):
    """The connection broke, or the server stopped answering.

    Attributes:
        was_committing: a COMMIT had been sent, so that the change may have been made.
    """

    def __init__(self, cause: BaseException, *, was_committing: bool) -> None:
        super().__init__(*cause.args)
        self.sqlstate = getattr(cause, "sqlstate", None)
        self.was_committing = was_committing
        self.__cause__ = cause


class SilentDatabaseError(Exception):
    """The server has sent nothing for a while, on any connection."""


def unavailable() -> ProblemError:
    """The database cannot be used, and the request changed nothing."""
    return _problem("The database cannot be reached at the moment. Nothing was changed; try again.")


def overloaded() -> ProblemError:
    """Every attempt lost against a concurrent transaction."""
    retry = retry_after(OVERLOADED_RETRY_AFTER_SECONDS)
    return ProblemError("overloaded", "Too much is under way. Try again shortly.", headers=[retry])


@contextlib.contextmanager
def answering_failures(url: SecretStr) -> Iterator[None]:
    """Turn every failure of the database into a 503; the log does not quote the database.

    Raises:
        ProblemError: `database_timeout` where a statement took too long, `overloaded` where every attempt lost against
        a concurrent transaction,
            else `database_unavailable`.
    """
    try:
        yield
    except (QueryCanceled, SilentDatabaseError):
        log.warning("statement timed out")
        detail = "The database took too long for this request. Nothing was changed; request less, or try again."
        retry = retry_after(RETRY_AFTER_SECONDS)
        raise ProblemError("database_timeout", detail, headers=[retry]) from None
    except (SerializationFailure, DeadlockDetected):
        log.warning("transaction lost against others")
        raise overloaded() from None
    except (psycopg.OperationalError, psycopg.InterfaceError, ReadOnlySqlTransaction, TimeoutError) as error:
        cause = error.__cause__ if isinstance(error, LostConnectionError) and error.__cause__ else error
        fault = fault_of(cause, url.get_secret_value())
        log.warning("database unavailable", extra=fields(**fault._asdict(), sqlstate=getattr(error, "sqlstate", None)))
        if isinstance(error, LostConnectionError) and error.was_committing:
            raise _problem(
                "The database stopped before it confirmed the change, which may or may not have been made. Read again, "
                "or repeat the request with an Idempotency-Key."
            ) from None
        raise unavailable() from None


def _problem(detail: str) -> ProblemError:
    return ProblemError("database_unavailable", detail, headers=[retry_after(RETRY_AFTER_SECONDS)])
