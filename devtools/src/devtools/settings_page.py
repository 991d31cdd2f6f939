"""`docs/settings.md`, written from the settings classes of both services: `make settings`."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
SERVICES = ("gateway", "todos")

_INTRODUCTION = """\
# Settings

<!-- Written by `make settings` from the settings classes: change those, not this page. -->

Each setting comes from the environment or, where the environment leaves it out, from a file of its name in
`/run/secrets`, which is how containers are given secrets. An empty value counts as not set. Durations are
in seconds and sizes in bytes, as plain numbers. No secret has a default.

A command reads the settings of its column and no others. Where some are wrong it exits with 2 and names every one of
them, with the entry where the setting is a list (`entry 2 of GATEWAY_TRUSTED_PROXIES: …`), and never shows a value.
`gateway check` and `todos check` look further: whether the keys can be fetched, and whether the database and its role
can be served from. `gateway settings` and `todos settings` print these tables.

An identity key is made by `python3 -c 'import secrets; print("k1:" + secrets.token_urlsafe(32))'`.
"""


def render() -> str:
    """The page as the installed services describe themselves."""
    sections = (f"\n## {service}\n\n{_table(service)}" for service in SERVICES)
    return _INTRODUCTION + "".join(sections)


def _table(service: str) -> str:
    script = Path(sys.executable).with_name(service)
    return subprocess.run([script, "settings"], check=True, capture_output=True, text=True).stdout


def main() -> int:
    PAGE.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
