"""Files that their owner alone may read."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(0o600)
    unfinished.write_text(text)
    unfinished.rename(path)


def private_opener(path: str, flags: int) -> int:
    """For `open`: a file made by it is private."""
    return os.open(path, flags, 0o600)
