"""The gateways' logs: each error that a user was answered must be found there by its id."""

import re
from collections.abc import Iterator, Sequence

from tests.resilience.client import Outcome
from tests.resilience.cluster import Cluster
from tests.resilience.promises import Breach, Promise

LOST_SECONDS = 0.3
"""A process that is killed loses what it has not written yet: the lines of a tenth of a second, and some leeway."""
_REQUEST_ID = re.compile(r'"request_id": "([0-9a-f-]+)"')


def missing(cluster: Cluster, outcomes: Sequence[Outcome]) -> list[Breach]:
    """Errors of which no gateway's log knows the id."""
    wanted = {each.request_id: each for each in outcomes if each.status >= 400}
    known = set(_request_ids(cluster)) if wanted else set()
    kills = [moment for gateway in cluster.gateways for moment in gateway.kills]
    return [
        Breach(Promise.LOGGED, f"{request_id}: {each.method} {each.route} {each.status} {each.code}")
        for request_id, each in wanted.items()
        if request_id not in known and not any(0 < kill - each.ended < LOST_SECONDS for kill in kills)
    ]


def _request_ids(cluster: Cluster) -> Iterator[str]:
    for log in (log for gateway in cluster.gateways for log in gateway.logs):
        with log.open() as lines:
            for line in lines:
                if found := _REQUEST_ID.search(line):
                    yield found[1]
