"""Every scenario there is, and the few that are played at each run of the tests."""

from tests.resilience import (
    abuse_faults,
    disk,
    network_faults,
    postgres_faults,
    process_faults,
    provider_faults,
    random_faults,
    valkey_faults,
)
from tests.resilience.conductor import Pace
from tests.resilience.scenario import Scenario

SHORT = ("gateway-1-killed", "todos-1-frozen", "postgres-killed", "gateway-1-valkey-held", "all-killed")
SHORT_PACE = Pace(calm=0.3, fault=0.7, after=0.5)


def scenarios() -> list[Scenario]:
    """In the order in which they are played."""
    faults = (process_faults, postgres_faults, valkey_faults, provider_faults, network_faults, random_faults)
    return [scenario for room in (*faults, abuse_faults) for scenario in room.scenarios()]


def skipped() -> list[Scenario]:
    """Those that this system does not allow."""
    return [scenario for scenario in scenarios() if scenario.needs_disk and not disk.available()]


def short() -> list[Scenario]:
    """Those of the short form."""
    return [scenario for scenario in scenarios() if scenario.name in SHORT]
