"""The contract's paths by template, so that labels stay bounded."""

import re

TEMPLATES = ("/v1/todos", "/v1/todos/{id}")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OTHER = "other"

_PATTERNS = [
    (template, re.compile(re.sub(r"\\\{[a-z]+\\\}", "[^/]+", re.escape(template)).encode())) for template in TEMPLATES
]


def template_of(path: bytes) -> str:
    """The template that a raw path fits, or `other`."""
    return next((template for template, pattern in _PATTERNS if pattern.fullmatch(path)), OTHER)


def label_of(method: str) -> str:
    return method if method in METHODS else OTHER


def writes(method: str) -> bool:
    """Whether the method may change something (RFC 9110 section 9.2.1)."""
    return method not in _SAFE_METHODS
