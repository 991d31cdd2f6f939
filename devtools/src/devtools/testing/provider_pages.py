"""The settings that the pages of docs/providers give."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[4] / "docs" / "providers"


def settings_of_page(name: str) -> dict[str, str]:
    """The one block of settings on a page, by the names of the settings."""
    [block] = re.findall(r"^```env\n(.*?)^```$", (PAGES / f"{name}.md").read_text(), re.MULTILINE | re.DOTALL)
    return dict(line.split("=", 1) for line in block.splitlines())
