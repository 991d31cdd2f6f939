"""JSON read strictly, with the work that a text can cause bounded ahead.

RFC 8259 with what RFC 7493 adds for senders: UTF-8 without a byte order mark, no repeated member, no lone surrogate,
no `NaN` or `Infinity`. Integers too long for 64 bits become floats.
"""

import codecs
import json
import re
from collections.abc import Generator, Iterator
from typing import Never

_MAX_DEPTH = 64
"""Of arrays and objects within each other, where they are read step by step; the decoder has a limit of its own."""
_INT64_DIGITS = 20
_DECODED_AT_ONCE = 256 * 1024
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*+")
_COLON = re.compile(r"[ \t\n\r]*+:[ \t\n\r]*+")
_DELIMITER = re.compile(r"[ \t\n\r]*+([,\]}])[ \t\n\r]*+")

type Location = tuple[int | str, ...]
"""The names and indexes that lead to a value."""


class NotAnArrayError(Exception):
    """The text is JSON of another kind."""


class TooManyValuesError(Exception):
    """Reading ended before the end of the text.

    Attributes:
        read: all that was read.
        location: the array or object with the first value too many.
    """

    def __init__(self, read: object, location: Location) -> None:
        super().__init__("too many values")
        self.read = read
        self.location = location


def parse(octets: bytes, *, most_values: int | None = None) -> object:
    """Read one value; the time is linear in the text, and above 2 bytes a value in `most_values` alone.

    Raises:
        ValueError: not JSON as the module has it, or nested too deep.
        TooManyValuesError: more than `most_values`, each array and object counted as one besides what is in it.
    """
    text = octets.decode()
    value, end = _value(text, _space(text, 0), most_values or len(text) + 1)
    if end != len(text):
        raise ValueError("something follows the value")
    return value


def decode(octets: bytes) -> Generator[None, None, str]:
    """Decode a long text in steps of some 0.1 ms. Raises `ValueError` where it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces: list[str] = []
    for start in range(0, len(octets), _DECODED_AT_ONCE):
        pieces.append(decoder.decode(octets[start : start + _DECODED_AT_ONCE]))
        yield
    pieces.append(decoder.decode(b"", final=True))
    return "".join(pieces)


def elements(text: str, *, most_values: int) -> Iterator[object]:
    """Read the elements of an array one after another, each of which takes time as `parse` does.

    Raises:
        ValueError: as `parse`.
        NotAnArrayError: something else stands there.
        TooManyValuesError: an element holds more than `most_values`; `location` begins in the element.
    """
    start = _space(text, 0)
    if not text.startswith("[", start):
        _value(text, start, most_values)
        raise NotAnArrayError
    place = _space(text, start + 1)
    if text.startswith("]", place):
        delimiter, place = "]", _space(text, place + 1)
    else:
        delimiter = ","
    while delimiter == ",":
        value, place = _value(text, place, most_values)
        delimiter, place = _delimiter(text, place)
        yield value
    if delimiter != "]" or place != len(text):
        raise ValueError("the array does not end as it should")


def _value(text: str, place: int, most_values: int) -> tuple[object, int]:
    """The value at `place`, and where the next character after it is that is no space."""
    end = place + 2 * most_values  # so many characters hold no more values
    if text.startswith(("{", "["), place):
        try:
            value, length = _decode_whole(text[place:end])
        except ValueError:
            if len(text) <= end:
                raise
        else:
            return value, _space(text, place + length)
    value, end = _Reader(text, most_values).read(place)
    return value, _space(text, end)


def _decode_whole(text: str) -> tuple[object, int]:
    try:
        value, end = _decoder.raw_decode(text)
        if _SURROGATE_ESCAPE.search(text, 0, end):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value, end


class _Reader:
    """Reads a value step by step: arrays and objects here, what is in them by the decoder."""

    def __init__(self, text: str, most_values: int) -> None:
        self._text = text
        self._left = most_values
        self._root: object = None
        self._location: list[int | str] = []

    def read(self, place: int) -> tuple[object, int]:
        """The value at `place`, and its end."""
        if self._left == 0:
            raise TooManyValuesError(self._root, tuple(self._location[:-1]))
        self._left -= 1
        if self._text.startswith("{", place):
            return self._object(place)
        if self._text.startswith("[", place):
            return self._array(place)
        value, end = _decoder.raw_decode(self._text, place)
        if isinstance(value, str) and not value.isascii():
            value.encode()
        return value, end

    def _object(self, place: int) -> tuple[object, int]:
        members: dict[str, object] = {}
        place, is_empty = self._enter(members, place, "}")
        while not is_empty:
            if not self._text.startswith('"', place):
                raise ValueError("a member has no name")
            name, place = _decoder.raw_decode(self._text, place)
            name.encode()
            colon = _COLON.match(self._text, place)
            if colon is None or name in members:
                raise ValueError("a member has no value, or has two")
            members[name] = None  # named, where its value is too much
            members[name], place = self._inner(name, colon.end())
            place, is_empty = self._after(place, "}")
        return members, place

    def _array(self, place: int) -> tuple[object, int]:
        items: list[object] = []
        place, is_empty = self._enter(items, place, "]")
        while not is_empty:
            item, place = self._inner(len(items), place)
            items.append(item)
            place, is_empty = self._after(place, "]")
        return items, place

    def _enter(self, container: object, place: int, closing: str) -> tuple[int, bool]:
        if len(self._location) >= _MAX_DEPTH:
            raise ValueError("nested too deep")
        if self._root is None:
            self._root = container
        place = _space(self._text, place + 1)
        is_empty = self._text.startswith(closing, place)
        return place + is_empty, is_empty

    def _inner(self, name: int | str, place: int) -> tuple[object, int]:
        self._location.append(name)
        found = self.read(place)
        self._location.pop()
        return found

    def _after(self, place: int, closing: str) -> tuple[int, bool]:
        """Where the next one begins, or the end of the container; the second item says which: true for the end."""
        found = _DELIMITER.match(self._text, place)
        if found is None or found[1] not in (",", closing):
            raise ValueError("neither a comma nor the end")
        return (found.end(), False) if found[1] == "," else (found.end(1), True)


def _space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _delimiter(text: str, place: int) -> tuple[str, int]:
    found = _DELIMITER.match(text, place)
    if found is None:
        raise ValueError("neither a comma nor the end")
    return found[1], found.end()


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a repeated member")
    return members


def _no_constant(_name: str) -> Never:
    raise ValueError("not a JSON number")


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _INT64_DIGITS else float(text)


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer)
