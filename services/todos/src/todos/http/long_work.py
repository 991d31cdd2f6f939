"""What a user's long requests share with those of all others."""

from dataclasses import dataclass

from runtime.slices import Slices
from runtime.user_shares import UserShares
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


def long_work(long_connections: int, metrics: Metrics) -> LongWork:
    """Each import holds a connection to its end; all together hold `long_connections` at most."""
    imports = metrics.user_shares("user-import", total=long_connections, per_user=IMPORTS_PER_USER)
    exports = metrics.user_shares("user-export", total=EXPORTS, per_user=EXPORTS_PER_USER)
    return LongWork(Slices(), imports, exports)
