"""What a client gets whose user cannot have its share at the moment."""

import contextlib
from collections.abc import Callable, Iterator

from runtime.problems import ProblemError, retry_after
from runtime.shares import ShareExceededError, SharesExhaustedError

RETRY_SECONDS = 1


@contextlib.contextmanager
def refusing(policy: str, count: Callable[[], object]) -> Iterator[None]:
    """Surrounds the taking of a share; `count` is called for each user that is refused for what it holds itself.

    Raises:
        ProblemError: `rate_limited`, naming `policy`, where the user holds its share or its fair part; `overloaded`
            where it does not and others hold the rest.
    """
    try:
        yield
    except ShareExceededError:
        count()
        raise ProblemError(
            "rate_limited",
            "This user has too much under way; try again shortly.",
            headers=[retry_after(RETRY_SECONDS)],
            violated_policies=[policy],
        ) from None
    except SharesExhaustedError:
        detail = "Too much is under way; try again shortly."
        raise ProblemError("overloaded", detail, headers=[retry_after(RETRY_SECONDS)]) from None
