"""How the standard library has to be set up to read JSON as the project does."""

LONGEST_INTEGER = 20


def short_integer(text: str) -> int | float:
    """For `parse_int`: integers too long for 64 bits are floats."""
    return int(text) if len(text) <= LONGEST_INTEGER else float(text)
