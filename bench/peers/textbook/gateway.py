"""The gateway as a competent reader of the FastAPI, PyJWT, redis-py and httpx documentation writes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic_settings import BaseSettings
from redis.asyncio import Redis


class Settings(BaseSettings):
    issuer: str = ""
    audience: str = ""
    jwks_url: str = ""
    redis_url: str = ""
    upstream_url: str = ""
    limit: int = 50_000_000
    window_seconds: int = 60


KEPT_HERE = {"host", "authorization", "content-length", "connection", "transfer-encoding", "x-user-id"}
NOT_RETURNED = {"content-length", "content-encoding", "connection", "transfer-encoding"}

settings = Settings()
keys = jwt.PyJWKClient(settings.jwks_url, cache_keys=True)
redis = Redis.from_url(settings.redis_url)
upstream = httpx.AsyncClient(base_url=settings.upstream_url, limits=httpx.Limits(max_keepalive_connections=100))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await upstream.aclose()
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


async def current_user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    token = credentials.credentials
    try:
        claims = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token).key,
            algorithms=["RS256"],
            issuer=settings.issuer,
            audience=settings.audience,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError:
        raise HTTPException(401, "invalid token", {"WWW-Authenticate": "Bearer"}) from None
    subject: str = claims["sub"]
    return subject


async def limited_user(user: Annotated[str, Depends(current_user)]) -> str:
    key = f"requests:{user}"
    async with redis.pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, settings.window_seconds, nx=True)
        count, _ = await pipeline.execute()
    if count > settings.limit:
        raise HTTPException(429, "too many requests")
    return user


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def forward(request: Request, user: Annotated[str, Depends(limited_user)]) -> Response:
    headers = {name: value for name, value in request.headers.items() if name not in KEPT_HERE}
    answer = await upstream.request(
        request.method,
        request.url.path,
        params=request.query_params,
        headers={**headers, "X-User-Id": user},
        content=await request.body(),
    )
    returned = {name: value for name, value in answer.headers.items() if name not in NOT_RETURNED}
    return Response(answer.content, answer.status_code, returned)
