"""One run of libFuzzer, by atheris: `python -m tests.fuzz.engine MODULE TARGET [libFuzzer's arguments]`.

MODULE has `TARGETS`. The coverage of the project's packages leads to the next inputs. Exits 0 unless an input breaks
the target, which libFuzzer then writes where `-artifact_prefix` says.
"""

import sys
from importlib import import_module

import atheris

PACKAGES = ["gateway", "todos", "identity", "runtime", "strict_http"]


def main() -> None:
    module, target, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=[*PACKAGES, module]):
        targets = import_module(module).TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
