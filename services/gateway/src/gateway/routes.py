"""The paths of the contract by template, so that metric labels stay bounded."""

import re

TEMPLATES = (
    "/v1/todos",
    "/v1/todos/restore",
    "/v1/todos/{id}",
    "/v1/todos/{id}/restore",
    "/v1/changes",
    "/v1/stats",
    "/v1/export",
    "/v1/import",
    "/v1/me",
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
IMPORT = b"/v1/import"
IMPORT_TIMES = 5
"""The body of an import may be this many times larger than others."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OTHER = "other"

_FIXED = {template.encode(): template for template in TEMPLATES if "{" not in template}
_PATTERNS = [
    (template, re.compile(re.sub(r"\\\{[a-z]+\\\}", "[^/]+", re.escape(template)).encode()))
    for template in TEMPLATES
    if "{" in template
]


def template_of(path: bytes) -> str:
    """The template that a raw path matches, or `other`."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    return next((template for template, pattern in _PATTERNS if pattern.fullmatch(path)), OTHER)


def body_times(path: bytes) -> int:
    """By how much the body limit is multiplied for this path."""
    return IMPORT_TIMES if path == IMPORT else 1


def label_of(method: str) -> str:
    return method if method in METHODS else OTHER


def writes(method: str) -> bool:
    """Whether the method may change something (RFC 9110 section 9.2.1)."""
    return method not in _SAFE_METHODS
