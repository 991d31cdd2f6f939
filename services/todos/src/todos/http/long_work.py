"""What a user's long requests share with those of all others."""

from dataclasses import dataclass

from runtime.slices import Slices
from todos.http.user_shares import UserShares
from todos.metrics import Metrics

IMPORTS_PER_USER = 1
EXPORTS_PER_USER = 2
EXPORTS = 64
"""At once; each holds a hundred todos."""


@dataclass(frozen=True, slots=True)
class LongWork:
    """The places of imports and exports, and the turns of what takes the event loop's time."""

    slices: Slices
    imports: UserShares
    exports: UserShares


def long_work(pool_size: int, metrics: Metrics) -> LongWork:
    """Imports, each of which holds a connection to its end, take a third of the pool at most."""
    imports = UserShares("user-imports", total=max(1, pool_size // 3), per_user=IMPORTS_PER_USER, metrics=metrics)
    exports = UserShares("user-exports", total=EXPORTS, per_user=EXPORTS_PER_USER, metrics=metrics)
    return LongWork(Slices(), imports, exports)
