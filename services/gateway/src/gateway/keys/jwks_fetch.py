"""Fetches a JWK Set, found by OIDC discovery or at its own URL, within bounds."""

import asyncio
import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from gateway.keys.jwks import KeySet, parse_jwks

TIMEOUT_SECONDS = 5
MAX_BYTES = 256 * 1024
DEFAULT_FRESH_SECONDS = 300
_FRESH_RANGE = (60, 3600)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})", re.IGNORECASE)


class JwksFetchError(Exception):
    """The fetch brought no valid set; the message names the step and never quotes what was received."""


@dataclass(frozen=True, slots=True)
class FetchedJwks:
    """The result of a fetch; `keys` is None if the provider says that nothing changed."""

    keys: KeySet | None
    etag: str | None
    fresh_seconds: float


class JwksFetcher:
    """Fetches the keys of one issuer."""

    def __init__(self, client: httpx.AsyncClient, *, issuer: str, jwks_url: str | None, allow_http: bool) -> None:
        self._client = client
        self._issuer = issuer
        self._configured_url = jwks_url
        self._allow_http = allow_http

    async def fetch(self, etag: str | None) -> FetchedJwks:
        """Fetch once, within 5 s in all: no redirect, at most 256 KiB and 64 keys.

        Args:
            etag: of the current set, so that the provider need not send an unchanged one.

        Raises:
            JwksFetchError: the fetch brought no valid set.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                url = self._configured_url or await self._discover()
                response, body = await self._get(url, etag)
        except TimeoutError:
            raise JwksFetchError("timed out") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # ValueError: the standard library cannot parse the URL
            raise JwksFetchError(f"transport: {type(error).__name__}") from None
        fresh_seconds = _fresh_seconds(response.headers)
        if response.status_code == httpx.codes.NOT_MODIFIED and etag is not None:
            return FetchedJwks(None, etag, fresh_seconds)
        _require_ok(response)
        try:
            return FetchedJwks(parse_jwks(_json(body)), _etag(response.headers), fresh_seconds)
        except ValueError as error:
            raise JwksFetchError(str(error)) from None

    async def _discover(self) -> str:
        """OpenID Connect Discovery 1.0 section 4; RFC 8414 section 3.3 on the issuer."""
        response, body = await self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration", None)
        _require_ok(response)
        try:
            document = _json(body)
        except ValueError:
            raise JwksFetchError("discovery: not JSON") from None
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise JwksFetchError("discovery: another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise JwksFetchError("discovery: no jwks_uri")
        return url

    async def _get(self, url: str, etag: str | None) -> tuple[httpx.Response, bytes]:
        if urlsplit(url).scheme != "https" and not self._allow_http:
            raise JwksFetchError("not https")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if etag is not None:
            headers["If-None-Match"] = etag
        body = bytearray()
        async with self._client.stream("GET", url, headers=headers, follow_redirects=False) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise JwksFetchError("too large")
        return response, bytes(body)


def _require_ok(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        raise JwksFetchError(f"status {response.status_code}")


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError:
        raise ValueError("not JSON") from None


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
