#!/bin/sh
# Makes the development environment in .venv; does nothing where it is current.
# Needs Python 3.13 and a package index. PYTHON names an interpreter to use.
set -eu
cd "$(dirname "$0")/.."

is_python_3_13() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3 python; do
        if is_python_3_13 "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    if command -v uv >/dev/null && found=$(UV_PYTHON='' uv python find --no-python-downloads 3.13 2>/dev/null); then
        echo "$found"
    fi
}

lists="requirements-dev.txt devtools/setup.sh VERSION"
projects="services/gateway services/todos libs/identity libs/runtime libs/strict_http devtools"
stamp=.venv/.current
wanted=$(pwd; cat $lists; for project in $projects; do cat "$project/pyproject.toml"; done)
if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

python=$(find_python)
if [ -z "$python" ]; then
    echo "Python 3.13 is missing: install it, or name it with make PYTHON=/path/to/python3.13 …" >&2
    exit 1
fi

unset UV_PYTHON VIRTUAL_ENV
export UV_SYSTEM_CERTS=1
if uv --version >/dev/null 2>&1; then
    uv=uv
else
    uv=.uv/bin/uv
    if ! $uv --version >/dev/null 2>&1; then
        echo "Installing uv into .uv" >&2
        "$python" -m venv --clear .uv
        sed -n '/^uv==/,/[^\\]$/p' requirements-dev.txt > .uv/requirements.txt
        .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .uv/requirements.txt
    fi
fi

echo "Installing the development environment into .venv" >&2
# what runs from .venv goes on running: only a new place or a broken interpreter makes it anew
if ! is_python_3_13 .venv/bin/python || [ "$(head -n 1 $stamp 2>/dev/null)" != "$(pwd)" ]; then
    $uv venv --quiet --clear --python "$python" .venv
fi
rm -f $stamp
export VIRTUAL_ENV="$PWD/.venv"
$uv pip sync --quiet --compile-bytecode --require-hashes requirements-dev.txt
editables=$(for project in $projects; do printf -- '-e %s ' "$project"; done)
$uv pip install --quiet --no-deps --no-build-isolation $editables
printf '%s\n' "$wanted" > $stamp
