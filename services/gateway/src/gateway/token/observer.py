"""Shows a verification rule by rule to whoever has to explain its result."""

from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Called before a rule is applied: the rule that raises is the last one observed."""

    def __call__(self, rule: str, wanted: object, members: Mapping[str, object], /, *names: str) -> None:
        """`members` has what the rule looks at under `names`, where the token has it; never the signature."""


def unobserved(_rule: str, _wanted: object, _members: Mapping[str, object], /, *_names: str) -> None:
    """Of a request, nobody needs to know more than the result."""
