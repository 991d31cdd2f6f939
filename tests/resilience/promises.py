"""What must hold whatever breaks, and what shows that it did not."""

from dataclasses import dataclass, field
from enum import StrEnum


class Promise(StrEnum):
    """Each in the words of the report."""

    OWN = "no user is shown another's todo"
    KEPT = "no acknowledged write is lost"
    ONCE = "no write is applied twice"
    GROWING = "versions grow"
    FOLLOWED = "whoever follows the changes holds what the server holds"
    CONTRACT = "errors are those of the contract"
    LOGGED = "the log has the id of every error"
    UNTOUCHED = "users whom the fault does not touch see no error"
    QUICK = "users whom the fault does not touch are answered as quickly"
    RECOVERED = "everybody is served well from 5 s after the fault on"
    SERVED = "at rest everything is answered"
    RETURNED = "memory, descriptors and connections are back where they were"
    BOUNDED = "memory stays within what the manifests give"


TIMED = frozenset({Promise.QUICK, Promise.RECOVERED})
"""Those that a busy machine can break, and that a test therefore prints and does not assert."""


@dataclass(frozen=True)
class Breach:
    """A promise that did not hold, and how it showed."""

    promise: Promise
    detail: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.detail}"


@dataclass
class Breaches:
    """What was found so far, in its order."""

    found: list[Breach] = field(default_factory=list)

    def add(self, promise: Promise, detail: str) -> None:
        self.found.append(Breach(promise, detail))

    def take(self) -> list[Breach]:
        """What was found, which is then forgotten."""
        found, self.found = self.found, []
        return found
