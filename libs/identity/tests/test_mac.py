import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from identity.mac import Mac


@given(st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
@example(b"k" * 64, [b"m"])
@example(b"k" * 65, [b"m"])
def test_a_code_is_that_of_the_standard_library_for_every_message(key: bytes, messages: list[bytes]) -> None:
    mac = Mac(key)
    for message in messages:
        assert mac.digest(message) == hmac.digest(key, message, "sha256")
