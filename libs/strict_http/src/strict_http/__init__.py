"""HTTP/1 for ASGI applications, read strictly: see README.md."""

from strict_http.errors import ErrorResponses, RejectedError, Response
from strict_http.server import StrictServer

__all__ = ["ErrorResponses", "RejectedError", "Response", "StrictServer"]
