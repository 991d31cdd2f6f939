"""What is going on, and for how long already."""

import time

_BEGAN = time.monotonic()


def tell(what: str) -> None:
    """A line on the screen, at once."""
    print(f"  {time.monotonic() - _BEGAN:4.0f} s  {what}", flush=True)
