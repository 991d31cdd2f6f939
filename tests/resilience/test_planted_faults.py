"""Each promise, broken on purpose, is found broken: by a gateway that lies, and by faults that touch more than said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from devtools.processes import LOOPBACK
from tests.resilience import network_faults
from tests.resilience.conductor import Conductor, Pace, Played
from tests.resilience.lying_gateway import COMMAND, HONEST
from tests.resilience.promises import Promise
from tests.resilience.run import conducting
from tests.resilience.scenario import Scenario, Stage, everybody, nobody
from tests.resilience.usage import MORE_DESCRIPTORS

pytestmark = [
    pytest.mark.xdist_group("resilience"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
USERS = 8
TIMES_TOLD = 5
"""More than there are users of the first gateway: one is lied to twice."""
PACE = Pace(calm=0.1, fault=0.1, after=0.1, back=0.5)


@dataclass(frozen=True)
class Lies:
    """The first gateway's: the file that names the one to tell."""

    file: Path

    def choose(self, lie: str) -> None:
        self._told.write_text("")
        self.file.write_text(lie)

    @contextlib.asynccontextmanager
    async def telling(self, lie: str) -> AsyncIterator[None]:
        """Until it was told a few times at least."""
        self.choose(lie)
        try:
            while len(self._told.read_text()) < TIMES_TOLD:  # noqa: ASYNC110 - another process tells
                await asyncio.sleep(0.05)
            yield
        finally:
            self.choose(HONEST)

    @property
    def _told(self) -> Path:
        return self.file.with_name(f"{self.file.name}.told")


@pytest.fixture(scope="module")
def lies(tmp_path_factory: pytest.TempPathFactory) -> Lies:
    found = Lies(tmp_path_factory.mktemp("lies") / "lie")
    found.choose(HONEST)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def conductor(lies: Lies) -> AsyncIterator[Conductor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIES_FILE", str(lies.file))
        async with conducting(1, PACE, USERS, COMMAND) as started:
            assert await started.warm_up(2) == []
            yield started


def broken(played: Played) -> set[Promise]:
    return {breach.promise for breach in played.breaches}


async def test_without_a_planted_fault_every_promise_holds(conductor: Conductor) -> None:
    played = await conductor.play(Scenario("honest", "nothing", nobody, lambda _stage: contextlib.nullcontext()))
    assert broken(played) - {Promise.QUICK} == set()


@pytest.mark.parametrize(
    ("lie", "promise"),
    [
        ("another-user", Promise.OWN),
        ("twice", Promise.ONCE),
        ("forgotten", Promise.KEPT),
        ("old-number", Promise.GROWING),
        ("skipped-changes", Promise.FOLLOWED),
        ("plain-error", Promise.CONTRACT),
        ("leak", Promise.RETURNED),
    ],
    ids=lambda value: value if value.__class__ is str else "",
)
async def test_a_lie_breaks_its_promise(conductor: Conductor, lies: Lies, lie: str, promise: Promise) -> None:
    played = await conductor.play(Scenario(lie, "a gateway lies", everybody, lambda _stage: lies.telling(lie)))
    assert promise in broken(played)


async def test_an_error_whose_id_the_log_does_not_have_is_found(conductor: Conductor, lies: Lies) -> None:
    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        async with network_faults.cut(stage.cluster.links["todos-1-postgres"]), lies.telling("unknown-id"):
            yield

    played = await conductor.play(Scenario("unknown-id", "errors have other ids", everybody, fault))
    assert broken(played) == {Promise.LOGGED}


async def test_a_fault_that_touches_more_than_said_is_found(conductor: Conductor) -> None:
    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        async with network_faults.cut(stage.cluster.links["gateway-2-todos"]):
            await failure(stage)
            yield

    played = await conductor.play(Scenario("wider", "the network is cut", nobody, fault))
    assert broken(played) - {Promise.QUICK} == {Promise.UNTOUCHED}


async def failure(stage: Stage) -> None:
    """Wait until a request has failed."""
    while not any(each.failed for each in stage.crowd.outcomes):  # noqa: ASYNC110 - whoever it is
        await asyncio.sleep(0.05)


async def test_connections_that_stay_open_are_found(conductor: Conductor) -> None:
    writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        port = stage.cluster.gateways[0].port
        writers.extend([(await asyncio.open_connection(LOOPBACK, port))[1] for _ in range(2 * MORE_DESCRIPTORS)])
        yield

    played = await conductor.play(Scenario("open", "connections stay open", everybody, fault))
    for writer in writers:
        writer.transport.abort()
    assert Promise.RETURNED in broken(played)
