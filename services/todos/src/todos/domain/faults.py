"""The problems for a body or a query that breaks the contract."""

from collections.abc import Sequence

from runtime.problems import Fault, ProblemError


def invalid_body(faults: Sequence[Fault]) -> ProblemError:
    """422 with a `pointer` into the body for each fault."""
    return ProblemError("invalid", "The body breaks the contract.", faults=faults)


def invalid_parameters(faults: Sequence[Fault]) -> ProblemError:
    """422 with the `parameter` of each fault."""
    return ProblemError("invalid", "The parameters break the contract.", faults=faults)
