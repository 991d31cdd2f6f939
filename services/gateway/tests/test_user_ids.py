"""Which user a token speaks for: any Unicode text names one, and no two share an id."""

import base64
import json
import unicodedata

import pytest
from gateway_harness import Provider, StartGateway
from hypothesis import assume, example, given
from hypothesis import strategies as st

from devtools.testing.servers import ScriptedServer
from gateway.token.user_ids import UserIds

names = st.text(min_size=1, max_size=80).filter(lambda name: len(name.encode()) <= 255)
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)


def encoded(name: str) -> str:
    return "=u8:" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


USERS = {
    "alice": "alice",
    "auth0|5f7c8ec7": "auth0|5f7c8ec7",
    "=u8": "=u8",
    "=U8:YQ": "=U8:YQ",
    "=u8:YQ": encoded("=u8:YQ"),
    "Ünal": encoded("Ünal"),
    unicodedata.normalize("NFD", "Ünal"): encoded(unicodedata.normalize("NFD", "Ünal")),
    "аlice": encoded("аlice"),  # noqa: RUF001 - the first letter is Cyrillic
    "Alice": "Alice",
    "al ice": encoded("al ice"),
    " alice": encoded(" alice"),
    "alice\r\nX-User-Id: bob": encoded("alice\r\nX-User-Id: bob"),
    "alice\0": encoded("alice\0"),
    "alice\u200b": encoded("alice\u200b"),
    "👩‍💻": encoded("👩‍💻"),
    "~" * 255: "~" * 255,
    "é" * 127: encoded("é" * 127),
}


async def test_any_unicode_text_names_a_user_of_its_own(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    """RFC 7519 section 4.1.2: `sub` is case-sensitive text. What looks alike or has one normal form stays apart."""
    async with start_gateway() as gateway:
        for name in USERS:
            headers = {"Authorization": f"Bearer {provider.token(sub=name)}"}
            assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == 200, name
    assert [request["x-user-id"] for request in upstream.requests] == list(USERS.values())
    assert len(set(USERS.values())) == len(USERS)


@pytest.mark.parametrize("name", ["", "a" * 256, "é" * 128, "\ud800", "a\udfff"])
def test_what_is_no_text_or_too_long_names_nobody(name: str) -> None:
    with pytest.raises(ValueError, match=r"bytes of UTF-8|Unicode text"):
        UserIds().of(name)


@given(names)
@example("é" * 127)
@example("\x00" * 255)
def test_an_id_is_visible_ascii_of_bounded_length(name: str) -> None:
    user_id = UserIds("x" * 64).of(name)
    assert user_id.isascii()
    assert all("!" <= letter <= "~" for letter in user_id)
    assert len(user_id) <= 512


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_who_had_an_id_keeps_it(name: str) -> None:
    """Ids were visible ASCII as it stands."""
    assume(not name.startswith("=u8:"))
    assert UserIds().of(name) == name
    assert UserIds("one|").of(name) == f"one|{name}"


@st.composite
def issuers(draw: st.DrawFn) -> tuple[list[UserIds], list[str]]:
    """Issuers as the settings allow them, and their prefixes: none begins with another, and one may be empty."""
    pool = draw(st.lists(st.sampled_from(["=", "=u8:", "=u8:YQ", "a", "ab", "a|", "|", "b"]) | visible))
    prefixes: list[str] = []
    for prefix in pool:
        begins_alike = any(prefix.startswith(other) or other.startswith(prefix) for other in prefixes)
        if prefix and not begins_alike:
            prefixes.append(prefix)
    ids = [UserIds(prefix) for prefix in prefixes]
    if draw(st.booleans()) or not ids:
        ids.append(UserIds("", tuple(prefixes)))
    return ids, prefixes


@st.composite
def two_users(draw: st.DrawFn) -> list[tuple[UserIds, str]]:
    """Two users, with names that begin like prefixes and like encoded ids more often than chance has it."""
    ids, prefixes = draw(issuers())
    starts = st.sampled_from(["", *prefixes, "=u8:", "=u8:YQ"])
    return [(draw(st.sampled_from(ids)), draw(starts) + draw(visible | names)) for _ in range(2)]


@given(two_users())
@example([(UserIds(), "=u8:w6k"), (UserIds(), "é")])
@example([(UserIds("=u8:"), "w6k"), (UserIds("", ("=u8:",)), "é")])
@example([(UserIds("a"), "b"), (UserIds("", ("a",)), "ab")])
def test_no_two_users_share_an_id(users: list[tuple[UserIds, str]]) -> None:
    """A user is an issuer and the name that it gives; where a name is refused there is no user."""
    (one, one_name), (other, other_name) = users
    assume(users[0] != users[1])
    try:
        assert one.of(one_name) != other.of(other_name)
    except ValueError:
        assume(False)  # noqa: FBT003 - of Hypothesis


async def test_an_issuer_without_a_prefix_cannot_name_the_users_of_another(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    both = json.dumps(
        [
            {"issuer": provider.issuer, "audience": "todos"},
            {"issuer": "https://other.example", "audience": "todos", "user_prefix": "other|"},
            {"issuer": "https://third.example", "audience": "todos", "user_prefix": "=u8:"},
        ]
    )
    async with start_gateway(issuer="", audience="", issuers=both, wait_for_keys=False) as gateway:
        for name, status in (("alice", 200), ("other", 200), ("other|alice", 401), ("other|é", 401), ("é", 401)):
            headers = {"Authorization": f"Bearer {provider.token(sub=name)}"}
            assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == status, name
        assert gateway.metric("gateway_auth_failures_total", reason="claims") == 3
    assert [request["x-user-id"] for request in upstream.requests] == ["alice", "other"]
