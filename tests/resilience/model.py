"""What one user must find, from the answers that this user got.

A user writes one thing at a time and is the only one to write its todos. A write whose answer was lost may have been
applied, or may be later: until it is settled, both states are right. Numbers are accounted for: each write takes the
next one of its user, so that a write applied twice shows as a number too many.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.resilience.promises import Breaches, Promise

type Fields = dict[str, Any]
type Document = Mapping[str, Any]
"""A todo as the service shows it."""
type Kind = Literal["create", "put", "patch", "replace", "delete", "restore"]

CLIENT_SET = ("title", "description", "completed", "priority", "tags")
"""The fields that are compared."""


@dataclass(frozen=True)
class State:
    """A live todo; the version is None where no answer has shown it yet."""

    fields: Fields
    version: int | None


@dataclass(frozen=True)
class Write:
    """A write; `fields` are those of the todo after it, None where it is deleted.

    `id` is None for a creation whose id the server chooses. `repeatable` ones carry a precondition or a key: however
    often they are sent, they are applied once.
    """

    kind: Kind
    id: str | None
    fields: Fields | None
    repeatable: bool = True


class Model:
    """One user's todos. What does not fit goes into `breaches`."""

    def __init__(self, user: str, breaches: Breaches) -> None:
        self.user = user
        self.live: dict[str, State] = {}
        self.deleted: dict[str, Fields] = {}
        self.pending: Write | None = None
        self._breaches = breaches
        self._awaited: dict[str, Fields] = {}
        """By title: creations, not repeatable, whose answer was lost."""
        self._low = self._high = 0
        """The user's latest number is one of these or between them; both 0 before the first."""

    @property
    def unsettled(self) -> int:
        """How many todos more or fewer than `live` there may be."""
        return len(self._awaited) + (self.pending is not None)

    def begin(self, write: Write) -> None:
        """The write is sent for the first time."""
        self.pending = write
        self._high += 1

    def lose(self) -> None:
        """No answer came to a creation that cannot be repeated: it may show up at any time."""
        write = self._done()
        assert write.fields
        self._awaited[write.fields["title"]] = write.fields

    def refuse(self) -> None:
        """The answer says that the write was not applied."""
        self._done()
        self._high -= 1

    def acknowledge(self, document: Document) -> None:
        """The answer shows the todo as the pending write has left it."""
        write = self._done()
        assert write.fields
        if not self._is_own(document):
            return
        if shown(document) != write.fields or write.id not in (None, document["id"]):
            self._breaches.add(Promise.KEPT, f"{self.user} wrote {write.fields} and was answered {dict(document)}")
        self._number(document["version"])
        self._put(document["id"], State(write.fields, document["version"]))

    def acknowledge_deletion(self) -> None:
        """The answer says that the todo is deleted; its number is not in it."""
        write = self._done()
        assert write.id
        self._low += 1
        self.deleted[write.id] = self.live.pop(write.id).fields

    def acknowledge_version(self, version: int) -> None:
        """The pending write, sent again, fails its precondition: it was applied before, and took this number."""
        write = self._done()
        assert write.id
        assert write.fields
        self._number(version)
        self._put(write.id, State(write.fields, version))

    def check_one(self, todo_id: str, document: Document | None) -> None:
        """A read of one todo; None stands for 404."""
        if document is None:
            self._check_absent(todo_id)
        elif document["id"] != todo_id:
            self._breaches.add(Promise.OWN, f"{self.user} read {todo_id} and was answered {dict(document)}")
        else:
            self._check_present(document)

    def check_all(self, documents: Iterable[Document]) -> None:
        """A read of all live todos."""
        found: set[str] = set()
        titles: set[str] = set()
        for document in documents:
            self._check_present(document)
            if document["id"] in found or document["title"] in titles:
                self._breaches.add(Promise.ONCE, f"{self.user} finds {document['title']} twice")
            found.add(document["id"])
            titles.add(document["title"])
        for todo_id in self.live.keys() - found:
            self._check_absent(todo_id)

    def check_count(self, total: int) -> None:
        """A count of all live todos."""
        if abs(total - len(self.live)) > self.unsettled:
            promise = Promise.KEPT if total < len(self.live) else Promise.ONCE
            self._breaches.add(promise, f"{self.user} has {len(self.live)} todos and is told of {total}")

    def check_copy(self, copy: Mapping[str, State]) -> None:
        """What a follower holds, at rest."""
        if copy != self.live:
            differing = {key for key in copy.keys() | self.live.keys() if copy.get(key) != self.live.get(key)}
            examples = [(key, copy.get(key), self.live.get(key)) for key in sorted(differing)[:3]]
            self._breaches.add(Promise.FOLLOWED, f"{self.user}: {len(differing)} differ (follower, owner): {examples}")

    def _done(self) -> Write:
        write, self.pending = self.pending, None
        assert write
        return write

    def _check_present(self, document: Document) -> None:
        if not self._is_own(document):
            return
        todo_id, fields = document["id"], shown(document)
        states = self._states(todo_id)
        if any(state and state.fields == fields and self._fits(state, document["version"]) for state in states):
            return
        if fields["title"] in self._awaited and states == [None]:
            if fields != self._awaited.pop(fields["title"]):
                self._breaches.add(Promise.KEPT, f"{self.user} finds another todo than was created: {dict(document)}")
            self._number(document["version"], late=True)
            self._put(todo_id, State(fields, document["version"]))
        elif todo_id in self.live or todo_id in self.deleted:
            self._breaches.add(Promise.KEPT, f"{self.user} finds {dict(document)} where {states} was acknowledged")
        elif self.pending and self.pending.kind == "create" and self.pending.fields == fields:
            pass
        else:
            self._breaches.add(Promise.ONCE, f"{self.user} finds a todo that no write has made: {dict(document)}")

    def _check_absent(self, todo_id: str) -> None:
        if None not in self._states(todo_id):
            self._breaches.add(Promise.KEPT, f"{self.user} misses {todo_id}: {self.live[todo_id]}")

    def _is_own(self, document: Document) -> bool:
        own = str(document["title"]).startswith(f"{self.user}/")
        if not own:
            self._breaches.add(Promise.OWN, f"{self.user} is shown {dict(document)}")
        return own

    def _states(self, todo_id: str) -> list[State | None]:
        """Those that are right now; None stands for a todo that is not there."""
        states = [self.live.get(todo_id)]
        if self.pending and self.pending.id == todo_id:
            states.append(State(self.pending.fields, None) if self.pending.fields else None)
        return states

    def _fits(self, state: State, version: int) -> bool:
        if state.version is None:
            return self._low < version <= self._high or self._low == 0
        return state.version == version

    def _number(self, version: int, *, late: bool = False) -> None:
        """Account for a number; one that is seen `late` may have been taken before those seen since."""
        if self._low == 0:
            self._high += version - 1
        elif version > self._high:
            taken = f"{version}, and writes account for no more than {self._high}"
            self._breaches.add(Promise.ONCE, f"{self.user}: the latest number is {taken}")
            self._high = version
        elif version <= self._low and not late:
            self._breaches.add(Promise.GROWING, f"{self.user} is given number {version} after {self._low}")
        self._low = max(self._low, version)

    def _put(self, todo_id: str, state: State) -> None:
        self.live[todo_id] = state
        self.deleted.pop(todo_id, None)


def shown(document: Document) -> Fields:
    """The fields that are compared."""
    return {name: document[name] for name in CLIENT_SET}
