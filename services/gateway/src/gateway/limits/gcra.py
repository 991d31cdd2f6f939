"""The generic cell rate algorithm (ITU-T I.371, annex A) in whole microseconds.

One number is kept for a key: the theoretical arrival time, at which its allowance is full again. `limit`
requests pass at once, and the allowance refills evenly over the window. `gcra.lua` is the same arithmetic on
Redis's clock.
"""

from typing import NamedTuple

from gateway.limits.policy import Policy

MICROSECONDS = 1_000_000


class Verdict(NamedTuple):
    """What one policy says of one request.

    `remaining` requests would pass now; the allowance is full again in `reset` microseconds; a refused
    request would pass in `retry` microseconds, which is 0 for an allowed one.
    """

    policy: Policy
    allowed: bool
    remaining: int
    reset: int
    retry: int


def evaluate(policy: Policy, arrival: int, now: int) -> tuple[Verdict, int]:
    """Evaluate one request, without charging it.

    Args:
        policy: the limit.
        arrival: the theoretical arrival time that is kept, 0 where there is none; microseconds.
        now: on the same clock, in microseconds.

    Returns:
        The verdict, and the theoretical arrival time to keep if the request is charged.
    """
    interval = policy.window * MICROSECONDS // policy.limit
    allowance = interval * policy.limit
    start = max(arrival, now)
    charged = start + interval
    if charged - now <= allowance:
        return Verdict(
            policy, allowed=True, remaining=(allowance - charged + now) // interval, reset=charged - now, retry=0
        ), charged
    return Verdict(policy, allowed=False, remaining=0, reset=start - now, retry=charged - now - allowance), arrival
