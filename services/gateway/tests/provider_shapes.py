"""What each provider documents of its key set and its tokens, and the tokens that come nearest to a good one.

The names in them are those of its page in docs/providers.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from devtools.testing.tokens import Signer, rsa_key

HOUR = 3600
CERTIFICATE = {"x5t": "VvfZ6bZ4nk4", "x5c": ["MIICmzCCAYMCBg"]}
UUID = "123e4567-e89b-12d3-a456-426614174000"


@dataclass(frozen=True)
class Attack:
    """A token of the provider that is for somebody else, and the reason for which it is refused."""

    reason: str
    claims: Mapping[str, Any]
    header: Mapping[str, Any] = field(default_factory=dict)
    status: int = 401


@dataclass(frozen=True)
class Shape:
    """A provider's key set and access token.

    Attributes:
        user: the user id that the token stands for.
        keys_at: the URL of its key set.
        discovery_at: the URL of its OpenID Connect discovery document, where its settings rely on that.
        signer: its key.
        jwk: how that key differs from one with `kty`, `kid`, `use` and `alg`; None takes a member away.
        header: how the token's header differs from one with `alg`, `kid` and the `typ` JWT.
        claims: of the token, without `iat` and `exp`.
        lifetime: of the token, in seconds.
        attacks: changes to the claims and the header, by what they make of the token; None takes a claim away.
        variants: changes to the claims that the provider documents as well.
    """

    user: str
    keys_at: str
    claims: Mapping[str, Any]
    attacks: Mapping[str, Attack]
    discovery_at: str | None = None
    signer: Signer = field(default_factory=lambda: Signer("2011-04-29-key"))
    jwk: Mapping[str, Any] = field(default_factory=dict)
    other_keys: tuple[Mapping[str, Any], ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    lifetime: int = HOUR
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def documents(self) -> dict[str, Any]:
        """What the provider publishes, by URL."""
        published: dict[str, Any] = {self.keys_at: {"keys": [self.signer.jwk(**self.jwk), *self.other_keys]}}
        if self.discovery_at is not None:
            published[self.discovery_at] = {"issuer": self.claims["iss"], "jwks_uri": self.keys_at}
        return published

    def token(self, claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """A fresh token, with these changes."""
        now = int(time.time())
        members = {**self.claims, "iat": now, "exp": now + self.lifetime, **(claims or {})}
        members = {name: value for name, value in members.items() if value is not None}
        return self.signer.token(members, **{**self.header, **(header or {})})


def elliptic(curve: ec.EllipticCurve) -> Signer:
    return Signer("2011-04-29-key", f"ES{curve.key_size}", ec.generate_private_key(curve))


AUTH0 = Shape(
    user="auth0|123456",
    keys_at="https://example.eu.auth0.com/.well-known/jwks.json",
    discovery_at="https://example.eu.auth0.com/.well-known/openid-configuration",
    jwk=CERTIFICATE,
    claims={
        "iss": "https://example.eu.auth0.com/",
        "sub": "auth0|123456",
        "aud": ["https://todos.example.com", "https://example.eu.auth0.com/userinfo"],
        "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
        "scope": "openid profile email",
    },
    lifetime=24 * HOUR,
    variants={
        "the RFC 9068 profile": {"azp": None, "client_id": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja", "jti": "73WakrfV"}
    },
    attacks={
        "the client's ID token": Attack(
            "audience", {"aud": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja", "nonce": "n-0S6_WzA2Mj"}
        ),
        "a token for /userinfo alone": Attack("audience", {"aud": "https://example.eu.auth0.com/userinfo"}),
        "another tenant's": Attack("issuer", {"iss": "https://other.eu.auth0.com/"}),
    },
)

BETTER_AUTH = Shape(
    user="pXO5bLW7AfJmr0rNC4UhgzrZDf2jNdSS",
    keys_at="https://app.example.com/api/auth/jwks",
    signer=Signer("Wl9yZ6p3qFwc5sEk", "EdDSA", ed25519.Ed25519PrivateKey.generate()),
    jwk={"use": None},
    header={"typ": None},
    claims={
        "iss": "https://app.example.com",
        "aud": "https://app.example.com",
        "sub": "pXO5bLW7AfJmr0rNC4UhgzrZDf2jNdSS",
        "id": "pXO5bLW7AfJmr0rNC4UhgzrZDf2jNdSS",
        "name": "Alice",
        "email": "alice@example.com",
        "emailVerified": False,
        "image": None,
        "createdAt": "2026-03-01T12:00:00.000Z",
        "updatedAt": "2026-03-01T12:00:00.000Z",
    },
    lifetime=HOUR // 4,
    attacks={
        "for another service": Attack("audience", {"aud": "https://billing.example.com"}),
        "of the staging instance": Attack("issuer", {"iss": "https://staging.example.com"}),
    },
)

CLERK = Shape(
    user="user_2b6fcd92dvf96q05x8e4a8xvt6a",
    keys_at="https://clerk.example.com/.well-known/jwks.json",
    header={"cat": "cl_B7d4PD111AAA"},
    claims={
        "azp": "https://app.example.com",
        "fva": [7, -1],
        "iss": "https://clerk.example.com",
        "jti": "1234567890",
        "nbf": 1713158399,
        "sid": "sess_123",
        "sub": "user_2b6fcd92dvf96q05x8e4a8xvt6a",
        "v": 2,
    },
    lifetime=60,
    attacks={
        "from another origin": Attack("audience", {"azp": "https://evil.example"}),
        "without an origin": Attack("audience", {"azp": None}),
        "from a template for another service": Attack("audience", {"aud": "hasura"}),
        "another instance's": Attack("issuer", {"iss": "https://clerk.other.example"}),
    },
)

COGNITO = Shape(
    user="c27a05a2-4ce1-4173-be51-9bbc3fe65a0a",
    keys_at="https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE/.well-known/jwks.json",
    discovery_at=(
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE/.well-known/openid-configuration"
    ),
    signer=Signer("1234example="),
    header={"typ": None},
    claims={
        "sub": "c27a05a2-4ce1-4173-be51-9bbc3fe65a0a",
        "cognito:groups": ["testgroup"],
        "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE",
        "version": 2,
        "client_id": "1example23456789",
        "origin_jti": "b9349d4b-d9c9-4d4c-8e0c-4b2b1e1c9f0d",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "access",
        "scope": "openid",
        "auth_time": 1676312777,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "username": "my-test-user",
    },
    attacks={
        "the ID token": Attack("claims", {"client_id": None, "aud": "1example23456789", "token_use": "id"}),
        "another app client's": Attack("audience", {"client_id": "2example23456789"}),
        "another pool's": Attack(
            "issuer", {"iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_OTHER"}
        ),
    },
)

ENTRA_ID = Shape(
    user="aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
    keys_at="https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/discovery/v2.0/keys",
    discovery_at=(
        "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0/.well-known/openid-configuration"
    ),
    jwk={"alg": None, "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", **CERTIFICATE},
    claims={
        "aud": "00001111-aaaa-2222-bbbb-3333cccc4444",
        "iss": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0",
        "nbf": 1537231048,
        "aio": "AXQAi/8IAAAA",
        "azp": "11112222-bbbb-3333-cccc-4444dddd5555",
        "azpacr": "0",
        "name": "Alice",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "preferred_username": "alice@example.com",
        "rh": "0.ARoAv4j5cvGGr0GRqy180BHbR",
        "scp": "access_as_user",
        "sub": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    },
    attacks={
        "another tenant's, signed with the same key": Attack(
            "issuer", {"iss": "https://login.microsoftonline.com/ccccdddd-2222-eeee-3333-ffff4444aaaa/v2.0"}
        ),
        "version 1": Attack("issuer", {"iss": "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/"}),
        "for Microsoft Graph": Attack("audience", {"aud": "00000003-0000-0000-c000-000000000000"}),
        "the client's ID token": Attack("audience", {"aud": "11112222-bbbb-3333-cccc-4444dddd5555", "scp": None}),
        "without the scope profile": Attack("claims", {"oid": None}),
        "an application's own": Attack("scope", {"scp": None, "roles": ["Todos.Read"]}, status=403),
    },
)

FIREBASE = Shape(
    user="aBcD1234efGH",
    keys_at="https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
    claims={
        "iss": "https://securetoken.google.com/my-project",
        "aud": "my-project",
        "auth_time": 1676312777,
        "user_id": "aBcD1234efGH",
        "sub": "aBcD1234efGH",
        "email": "alice@example.com",
        "email_verified": False,
        "firebase": {"identities": {"email": ["alice@example.com"]}, "sign_in_provider": "password"},
    },
    attacks={
        "another project's, signed with the same key": Attack(
            "issuer", {"iss": "https://securetoken.google.com/other-project", "aud": "other-project"}
        ),
        "for another project": Attack("audience", {"aud": "other-project"}),
        "the session cookie": Attack("issuer", {"iss": "https://session.firebase.google.com/my-project"}),
    },
)

GOOGLE = Shape(
    user="3141592653589793238",
    keys_at="https://www.googleapis.com/oauth2/v3/certs",
    discovery_at="https://accounts.google.com/.well-known/openid-configuration",
    claims={
        "iss": "https://accounts.google.com",
        "nbf": 161803398,
        "aud": "1234-abc.apps.googleusercontent.com",
        "sub": "3141592653589793238",
        "hd": "example.com",
        "email": "alice@example.com",
        "email_verified": True,
        "azp": "1234-abc.apps.googleusercontent.com",
        "name": "Alice",
        "given_name": "Alice",
        "jti": "abc161803398874def",
    },
    variants={"the issuer without a scheme": {"iss": "accounts.google.com"}},
    attacks={
        "another client's": Attack("audience", {"aud": "5678-def.apps.googleusercontent.com"}),
        "another issuer's": Attack("issuer", {"iss": "https://accounts.google.com.evil.example"}),
    },
)

KEYCLOAK = Shape(
    user="f1f4b0d5-6e2a-4b6c-9a3b-0f6a5f1f3b11",
    keys_at="https://id.example.com/realms/example/protocol/openid-connect/certs",
    discovery_at="https://id.example.com/realms/example/.well-known/openid-configuration",
    jwk=CERTIFICATE,
    other_keys=(Signer("encryption-key", private=rsa_key(1)).jwk(use="enc", alg="RSA-OAEP", **CERTIFICATE),),
    claims={
        "auth_time": 1781348900,
        "jti": "onrtac:312ee6f2-7c4b-4a57-8d0a-8a1b4b3b2a10",
        "iss": "https://id.example.com/realms/example",
        "aud": ["todos", "account"],
        "sub": "f1f4b0d5-6e2a-4b6c-9a3b-0f6a5f1f3b11",
        "typ": "Bearer",
        "azp": "frontend",
        "sid": "6a1c7b0e-9a0e-4ef5-8df7-3d6a4e4a7f5c",
        "acr": "1",
        "allowed-origins": ["https://app.example.com"],
        "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account"]}},
        "scope": "openid profile email",
        "preferred_username": "alice",
    },
    lifetime=300,
    attacks={
        "the ID token of a client of that name": Attack("claims", {"aud": "todos", "azp": "todos", "typ": "ID"}),
        "without the mapper": Attack("audience", {"aud": "account"}),
        "without any audience": Attack("audience", {"aud": None}),
        "another realm's": Attack("issuer", {"iss": "https://id.example.com/realms/master"}),
    },
)

LOGTO = Shape(
    user="foo6x1b9q2zr",
    keys_at="https://tenant-id.logto.app/oidc/jwks",
    discovery_at="https://tenant-id.logto.app/oidc/.well-known/openid-configuration",
    signer=elliptic(ec.SECP384R1()),
    header={"typ": "at+jwt"},
    claims={
        "jti": "VovNyqJ5_tuYac89eTbpF",
        "sub": "foo6x1b9q2zr",
        "scope": "read write",
        "client_id": "s6BhdRkqt3",
        "iss": "https://tenant-id.logto.app/oidc",
        "aud": "https://todos.example.com",
    },
    attacks={
        "the application's ID token": Attack("audience", {"aud": "s6BhdRkqt3", "client_id": None}, {"typ": "JWT"}),
        "for the Management API": Attack("audience", {"aud": "https://tenant-id.logto.app/api"}),
        "another tenant's": Attack("issuer", {"iss": "https://other.logto.app/oidc"}),
    },
)

OKTA = Shape(
    user="00u15c6ukel5jXEd0698",
    keys_at="https://example.okta.com/oauth2/default/v1/keys",
    discovery_at="https://example.okta.com/oauth2/default/.well-known/openid-configuration",
    header={"typ": None},
    claims={
        "ver": 1,
        "jti": "AT.BD_sfLzShWmrnaHt3kX6CI0hhehOMyuaYOWK4EegfsQ",
        "iss": "https://example.okta.com/oauth2/default",
        "aud": "api://default",
        "cid": "0oa15d4jr5oIR5Eel698",
        "uid": "00u15c6ukel5jXEd0698",
        "scp": ["openid", "profile"],
        "auth_time": 1784432545,
        "sub": "alice@example.com",
    },
    attacks={
        "the client's ID token": Attack("audience", {"aud": "0oa15d4jr5oIR5Eel698", "jti": "ID.T0-9", "cid": None}),
        "of the organization's server": Attack(
            "issuer", {"iss": "https://example.okta.com", "aud": "https://example.okta.com"}
        ),
        "an application's own": Attack("claims", {"uid": None, "sub": "0oa15d4jr5oIR5Eel698"}),
    },
)

SUPABASE = Shape(
    user=UUID,
    keys_at="https://project-ref.supabase.co/auth/v1/.well-known/jwks.json",
    signer=elliptic(ec.SECP256R1()),
    jwk={"key_ops": ["verify"], "ext": True},
    claims={
        "iss": "https://project-ref.supabase.co/auth/v1",
        "aud": "authenticated",
        "sub": UUID,
        "role": "authenticated",
        "aal": "aal1",
        "session_id": UUID,
        "email": "alice@example.com",
        "phone": "",
        "is_anonymous": False,
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "amr": [{"method": "password", "timestamp": 1640991600}],
    },
    attacks={
        "with another role": Attack("claims", {"role": "service_role"}),
        "the service role key": Attack(
            "issuer", {"iss": "supabase", "ref": "project-ref", "role": "service_role", "aud": None, "sub": None}
        ),
        "for nobody": Attack("audience", {"aud": "anon", "role": "anon"}),
        "another project's": Attack("issuer", {"iss": "https://other-ref.supabase.co/auth/v1"}),
    },
)

WORKOS = Shape(
    user="user_01HBEQKA6K4QJAS93VPE39W1JT",
    keys_at="https://api.workos.com/sso/jwks/client_01EXAMPLE",
    header={"typ": None},
    claims={
        "iss": "https://api.workos.com/user_management/client_01EXAMPLE",
        "sub": "user_01HBEQKA6K4QJAS93VPE39W1JT",
        "client_id": "client_01EXAMPLE",
        "org_id": "org_01HRDMC6CM357W30QMHMQ96Q0S",
        "role": "member",
        "roles": ["member"],
        "permissions": ["posts:read"],
        "sid": "session_01HQSXZGF8FHF7A9ZZFCW4387R",
        "jti": "01HQSXZXPPFPKMDD32RKTFY6PV",
    },
    lifetime=300,
    attacks={
        "another client's": Attack("audience", {"client_id": "client_01OTHER"}),
        "another environment's": Attack("issuer", {"iss": "https://api.workos.com/user_management/client_01OTHER"}),
        "from a template for another service": Attack("audience", {"aud": "https://billing.example.com"}),
    },
)

ZITADEL = Shape(
    user="163840776835432705",
    keys_at="https://example-abcdef.zitadel.cloud/oauth/v2/keys",
    discovery_at="https://example-abcdef.zitadel.cloud/.well-known/openid-configuration",
    claims={
        "iss": "https://example-abcdef.zitadel.cloud",
        "sub": "163840776835432705",
        "aud": ["187654321098765432@example", "287654321098765432"],
        "nbf": 1676312777,
        "jti": "V2_163840776835432999-at_163840776835433000",
        "client_id": "187654321098765432@example",
    },
    lifetime=12 * HOUR,
    attacks={
        "another project's": Attack("audience", {"aud": ["387654321098765432@other", "387654321098765433"]}),
        "another instance's": Attack("issuer", {"iss": "https://other-abcdef.zitadel.cloud"}),
    },
)

SHAPES = {
    "auth0": AUTH0,
    "better-auth": BETTER_AUTH,
    "clerk": CLERK,
    "cognito": COGNITO,
    "entra-id": ENTRA_ID,
    "firebase": FIREBASE,
    "google": GOOGLE,
    "keycloak": KEYCLOAK,
    "logto": LOGTO,
    "okta": OKTA,
    "supabase": SUPABASE,
    "workos": WORKOS,
    "zitadel": ZITADEL,
}
