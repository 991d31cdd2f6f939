"""Where the longer measurements are kept, each under its own name."""

import json

from bench.record import RESULTS, machine

LONG = RESULTS / "long.json"


def keep(name: str, found: dict[str, object]) -> None:
    """Put `found` into long.json and leave what other measurements have written."""
    RESULTS.mkdir(exist_ok=True)
    document = json.loads(LONG.read_text()) if LONG.exists() else {}
    document[name] = {**found, "machine": machine()}
    LONG.write_text(json.dumps(document, indent=2) + "\n")
    print(f"Written: {LONG.relative_to(RESULTS.parent.parent)}")
