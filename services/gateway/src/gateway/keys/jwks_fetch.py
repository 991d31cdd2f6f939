"""Fetches a JWK Set, found by OIDC discovery or at its own URL, within bounds."""

import asyncio
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from gateway.keys.jwks import KeySet, parse_jwks
from runtime.certificates import naming_issuers
from runtime.reachability import ServerFault, reason_of
from strict_http.deadline import time_limit

TIMEOUT_SECONDS = 5
MAX_BYTES = 256 * 1024
DEFAULT_FRESH_SECONDS = 300
_FRESH_RANGE = (60, 3600)
_PORTS = {"http": 80, "https": 443}
_CLIENT_ERRORS: dict[type[BaseException], str] = {
    httpx.ProxyError: "the proxy of the environment does not connect to it",
    httpx.RemoteProtocolError: "it closes the connection early, or does not speak HTTP",
}
_DISCOVERY = "/.well-known/openid-configuration"
_GZIP_ALONE = 16 + zlib.MAX_WBITS
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)


class JwksFetchError(Exception):
    """No good set came back; `fault` names the server and the step, and never quotes what was received."""

    def __init__(self, fault: ServerFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _UnusableError(Exception):
    """What the server sent cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class FetchedJwks:
    """The result of a fetch; `keys` is None if the provider says that nothing changed."""

    keys: KeySet | None
    etag: str | None
    fresh_seconds: float


def jwks_client() -> httpx.AsyncClient:
    """The client of every `JwksFetcher`, which limits the time: it names who issued a certificate it does not trust."""
    return httpx.AsyncClient(verify=naming_issuers(httpx.create_ssl_context()), timeout=httpx.Timeout(None))


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an http or https URL.

    Raises:
        ValueError: "is not a URL".
    """
    try:
        parts, _ = urlsplit(url), httpx.URL(url)  # each refuses what the other takes
        port = parts.port
    except (httpx.InvalidURL, ValueError):
        raise ValueError("is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("is not a URL")
    return parts.hostname, port or _PORTS[parts.scheme]


class JwksFetcher:
    """Fetches the keys of one issuer."""

    def __init__(self, client: httpx.AsyncClient, *, issuer: str, jwks_url: str | None, allow_http: bool) -> None:
        self._client = client
        self._issuer = issuer
        self._configured_url = jwks_url
        self._allow_http = allow_http

    async def fetch(self, etag: str | None) -> FetchedJwks:
        """Fetch once, within 5 s in all: no redirect, at most 256 KiB (decoded too, where it is gzip) and 64 keys.

        Args:
            etag: of the current set, so that the provider need not send an unchanged one.

        Raises:
            JwksFetchError: the fetch brought no valid set.
        """
        deadline = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
        url = self._configured_url or await self._discover(deadline)
        with _naming_server(url):
            response, body = await self._get(url, etag, deadline)
            fresh_seconds = _fresh_seconds(response.headers)
            if response.status_code == httpx.codes.NOT_MODIFIED and etag is not None:
                return FetchedJwks(None, etag, fresh_seconds)
            return FetchedJwks(_keys(_document(response, body)), _etag(response.headers), fresh_seconds)

    async def _discover(self, deadline: float) -> str:
        """OpenID Connect Discovery 1.0 section 4; RFC 8414 section 3.3 on the issuer."""
        url = self._issuer.rstrip("/") + _DISCOVERY
        with _naming_server(url):
            response, body = await self._get(url, None, deadline)
            if response.is_client_error:
                status = f"status {response.status_code} for {urlsplit(url).path}"
                raise _UnusableError(f"{status}; set GATEWAY_JWKS_URL if the provider has no discovery")
            document = _document(response, body)
            if not isinstance(document, dict) or document.get("issuer") != self._issuer:
                raise _UnusableError("discovery: another issuer")
            jwks_uri = document.get("jwks_uri")
            if not isinstance(jwks_uri, str):
                raise _UnusableError("discovery: no jwks_uri")
            try:
                address_of(jwks_uri)
            except ValueError as error:
                raise _UnusableError(f"discovery: jwks_uri {error}") from None
            return jwks_uri

    async def _get(self, url: str, etag: str | None, deadline: float) -> tuple[httpx.Response, bytes]:
        if urlsplit(url).scheme != "https" and not self._allow_http:
            raise _UnusableError("not https")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if etag is not None:
            headers["If-None-Match"] = etag
        body = bytearray()
        async with (
            time_limit(max(0, deadline - asyncio.get_running_loop().time())),
            self._client.stream("GET", url, headers=headers, follow_redirects=False) as response,
        ):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _UnusableError("too large")
        return response, bytes(body)


@contextmanager
def _naming_server(url: str) -> Iterator[None]:
    try:
        yield
    except _UnusableError as error:
        raise JwksFetchError(ServerFault(*address_of(url), str(error))) from None
    except (TimeoutError, httpx.HTTPError) as error:
        raise JwksFetchError(ServerFault(*address_of(url), reason_of(error, _CLIENT_ERRORS))) from None


def _keys(jwks: object) -> KeySet:
    try:
        return parse_jwks(jwks)
    except ValueError as error:
        raise _UnusableError(str(error)) from None


def _document(response: httpx.Response, body: bytes) -> object:
    if response.status_code != httpx.codes.OK:
        raise _UnusableError(f"status {response.status_code}")
    match response.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            return _json(body)
        case "gzip" | "x-gzip":
            return _json(_unzipped(body))
        case _:
            raise _UnusableError("a Content-Encoding other than gzip")


def _unzipped(body: bytes) -> bytes:
    """What gzip packed (RFC 1952), of which no more than the bound is ever unpacked."""
    unpacker = zlib.decompressobj(_GZIP_ALONE)
    try:
        unpacked = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error:
        raise _UnusableError("not gzip") from None
    if len(unpacked) > MAX_BYTES:
        raise _UnusableError("too large")
    if not unpacker.eof:
        raise _UnusableError("gzip that is cut off")
    return unpacked


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError:
        raise _UnusableError("nested too deep") from None
    except ValueError:
        raise _UnusableError("not JSON") from None


def _etag(headers: httpx.Headers) -> str | None:
    """The validator, unless httpx could not send it back."""
    etag = headers.get("etag")
    return etag if etag is not None and etag.isascii() else None


def _fresh_seconds(headers: httpx.Headers) -> float:
    match = _MAX_AGE.search(headers.get("cache-control", ""))
    if match is None:
        return DEFAULT_FRESH_SECONDS
    low, high = _FRESH_RANGE
    return min(max(int(match[1]), low), high)
