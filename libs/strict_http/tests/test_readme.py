"""README.md names each promise's test, and all that is used of uvicorn."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).parents[1]
README = (LIBRARY / "README.md").read_text()
TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


def row(of: str) -> set[str]:
    """The code spans in the second cell of the row that begins with `of`."""
    (cells,) = re.findall(rf"^\| {re.escape(of)} \| (.*) \|$", README, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", cells))


def nodes[Node: ast.AST](kind: type[Node], module: str = "*") -> Iterator[Node]:
    for path in (LIBRARY / "src").rglob(f"{module}.py"):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kind))


def class_of(name: str) -> ast.ClassDef:
    (found,) = [node for node in nodes(ast.ClassDef) if node.name == name]
    return found


def attributes(of: str, within: ast.AST | None = None) -> set[str]:
    """The attributes that are read from the name or attribute `of`, in the whole library or one node of it."""
    found = nodes(ast.Attribute) if within is None else (n for n in ast.walk(within) if isinstance(n, ast.Attribute))
    return {
        node.attr
        for node in found
        if (isinstance(node.value, ast.Name) and node.value.id == of)
        or (isinstance(node.value, ast.Attribute) and node.value.attr == of)
    }


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", README))
    assert named
    assert named <= set(re.findall(r"def (test_\w+)", TESTS))


def test_nothing_but_the_classes_of_the_page_is_imported_from_uvicorn() -> None:
    imported = {
        f"{node.module}.{name.name}"
        for node in nodes(ast.ImportFrom)
        if (node.module or "").split(".")[0] == "uvicorn"
        for name in node.names
    }
    whole = {name.name for node in nodes(ast.Import) for name in node.names if name.name.startswith("uvicorn")}
    assert imported == {"uvicorn.Config", "uvicorn.Server", "uvicorn.server.ServerState"}
    assert whole == set()


def test_the_page_names_all_that_is_used_of_the_configuration() -> None:
    (call,) = [node for node in ast.walk(class_of("StrictConfig")) if isinstance(node, ast.Call) and node.keywords]
    arguments = {str(keyword.arg) for keyword in call.keywords}
    assert row("`Config`") == arguments | attributes("config", class_of("StrictProtocol")) - {"errors"}


def test_the_page_names_all_that_is_used_of_the_server() -> None:
    server = class_of("StrictServer")
    own = {node.name for node in server.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    overridden = own - {"__init__"} - {name for name in own if name.startswith("_")}
    used = attributes("self", server) - own
    assert row("`Server`") == overridden | used | {"serve", "should_exit"}
    assert row("`server.ServerState`") == attributes("_server_state", class_of("StrictProtocol"))


def test_the_page_names_all_that_the_parser_calls() -> None:
    called = {node.name for node in ast.walk(class_of("FramingProtocol")) if isinstance(node, ast.FunctionDef)}
    (sentence,) = re.findall(r"HttpRequestParser`, which calls (.*)\.", README)
    assert set(re.findall(r"`(\w+)`", sentence)) == {name for name in called if name.startswith("on_")}
