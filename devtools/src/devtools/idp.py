"""The identity provider of the local stack. FOR DEVELOPMENT ONLY: it gives anyone a token for anybody.

`python -m devtools.idp --port 8080` listens on loopback alone and keeps its keys in memory, or with `--keys FILE` in a
file, so that tokens outlive a restart. Tokens are RS256. A container, whose port nobody publishes, listens with
`--host 0.0.0.0`, under the URL given with `--issuer`.

    GET  /.well-known/openid-configuration   discovery
    GET  /jwks.json                          the public keys
    POST /token                              form or JSON: `TokenRequest`
    POST /rotate                             a new key signs, the earlier ones stay in the key set;
                                             with JSON {"drop": true} the earlier ones go and none is made
"""

import argparse
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from jwt.algorithms import RSAAlgorithm
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from devtools.files import write_private
from devtools.processes import LOOPBACK

ALGORITHM = "RS256"
AUDIENCE = "todos"
JWKS_MAX_AGE_SECONDS = 300
PAST_LIFE_SECONDS = 300
"""The lifetime of a token that is requested as expired."""


class TokenRequest(BaseModel):
    """What `POST /token` takes.

    `ttl` is in seconds; 0 or less makes an expired token. `claims`, in JSON alone, are laid over the rest, and
    null removes one.
    """

    model_config = ConfigDict(extra="forbid")

    sub: str
    aud: str | list[str] = AUDIENCE
    ttl: Annotated[int, Field(ge=-(10**9), le=10**9)] = 3600
    scope: str | None = None
    claims: dict[str, JsonValue] = {}

    def payload(self, issuer: str, now: int) -> dict[str, JsonValue]:
        """The claims of the token (RFC 7519 section 4.1), issued at `now` in Unix seconds."""
        expires = now + self.ttl
        standard: dict[str, JsonValue] = {
            "iss": issuer,
            "sub": self.sub,
            "aud": self.aud if isinstance(self.aud, str) else [*self.aud],
            "iat": now if self.ttl > 0 else expires - PAST_LIFE_SECONDS,
            "exp": expires,
            "jti": secrets.token_hex(16),
            "scope": self.scope,
        }
        return {name: value for name, value in {**standard, **self.claims}.items() if value is not None}


class RotateRequest(BaseModel):
    """What `POST /rotate` takes, if anything."""

    model_config = ConfigDict(extra="forbid")

    drop: bool = False


class Keys:
    """The signing keys, newest first; the first signs. They are read from `file` where it exists, and kept in it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._keys: dict[str, RSAPrivateKey] = {}
        if file and file.exists():
            self._keys = {kid: _read_pem(pem) for kid, pem in json.loads(file.read_text()).items()}
        else:
            self.add()

    @property
    def kids(self) -> list[str]:
        return list(self._keys)

    def add(self) -> None:
        """Make a key and sign with it from now on."""
        key = generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = {secrets.token_hex(8): key, **self._keys}
        self._keep()

    def drop_earlier(self) -> None:
        """Forget every key but the one that signs."""
        self._keys = dict([next(iter(self._keys.items()))])
        self._keep()

    def sign(self, payload: dict[str, JsonValue]) -> str:
        """The token in its compact form (RFC 7515 section 3.1).

        Raises:
            TypeError: a claim has a type that PyJWT refuses to sign.
        """
        kid, key = next(iter(self._keys.items()))
        return jwt.encode(payload, key, algorithm=ALGORITHM, headers={"kid": kid})

    def public(self) -> dict[str, list[dict[str, str]]]:
        """The key set (RFC 7517 section 5)."""
        return {"keys": [_public_key(kid, key) for kid, key in self._keys.items()]}

    def _keep(self) -> None:
        if self._file:
            write_private(self._file, json.dumps({kid: _pem(key) for kid, key in self._keys.items()}))


class InvalidRequestError(Exception):
    """The client gets this sentence with a 400, as RFC 6749 section 5.2 has it."""


def create_app(issuer: str, keys: Keys) -> FastAPI:
    """The provider, which says that it is reached at the URL `issuer`."""
    app = FastAPI(title="Development identity provider", openapi_url=None)

    @app.exception_handler(InvalidRequestError)
    async def refuse(_request: Request, error: InvalidRequestError) -> JSONResponse:
        return JSONResponse({"error": "invalid_request", "error_description": str(error)}, 400)

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, str | list[str]]:
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/jwks.json",
            "token_endpoint": f"{issuer}/token",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    @app.get("/jwks.json")
    async def jwks() -> JSONResponse:
        return JSONResponse(keys.public(), headers={"cache-control": f"public, max-age={JWKS_MAX_AGE_SECONDS}"})

    @app.post("/token")
    async def token(fields: Annotated[object, Depends(_fields)]) -> JSONResponse:
        wanted = _validated(TokenRequest, fields)
        try:
            signed = keys.sign(wanted.payload(issuer, int(time.time())))
        except TypeError as error:
            raise InvalidRequestError(str(error)) from None
        answer = {"access_token": signed, "token_type": "Bearer", "expires_in": max(wanted.ttl, 0)}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    @app.post("/rotate")
    async def rotate(fields: Annotated[object, Depends(_fields)]) -> dict[str, list[str]]:
        if _validated(RotateRequest, fields).drop:
            keys.drop_earlier()
        else:
            keys.add()
        return {"kids": keys.kids}

    return app


async def _fields(request: Request) -> object:
    """The body, a form or a JSON document; nothing is an empty object."""
    body = await request.body()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return {}
    if media_type == "application/x-www-form-urlencoded":
        form = await request.form()
        repeated = sorted(name for name in form if len(form.getlist(name)) > 1)
        if repeated:
            raise InvalidRequestError(f"{repeated[0]} is given more than once")
        return dict(form)
    if media_type != "application/json":
        raise InvalidRequestError("send application/x-www-form-urlencoded or application/json")
    try:
        document: object = json.loads(body)
    except ValueError:
        raise InvalidRequestError("the body is not JSON") from None
    return document


def _validated[Fields: BaseModel](kind: type[Fields], fields: object) -> Fields:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise InvalidRequestError("; ".join(faults)) from None


def _public_key(kid: str, key: RSAPrivateKey) -> dict[str, str]:
    numbers = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kid": kid, "use": "sig", "alg": ALGORITHM, **{name: numbers[name] for name in ("kty", "n", "e")}}


def _pem(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _read_pem(pem: str) -> RSAPrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("the key file holds a key that is not RSA")
    return key


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.idp", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default=LOOPBACK, help="the address to listen on")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--issuer", help="the URL it is reached at, where that is not its own address")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="where the signing keys are kept; made if missing")
    arguments = parser.parse_args()
    issuer: str = arguments.issuer or f"http://{arguments.host}:{arguments.port}"
    print(f"Identity provider FOR DEVELOPMENT ONLY at {issuer}: it gives anyone a token for anybody.", flush=True)
    app = create_app(issuer, Keys(arguments.keys))
    uvicorn.run(app, host=arguments.host, port=arguments.port, timeout_graceful_shutdown=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
