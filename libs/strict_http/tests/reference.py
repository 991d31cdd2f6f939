"""What a strict reader makes of the bytes of one connection: the rules once more, by other means."""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from http import HTTPMethod

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
PATH = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*"
QUERY = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*"
AUTHORITY = rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
ORIGIN_FORM = rb"(?P<path>/" + PATH + rb")(?:\?(?P<query>" + QUERY + rb"))?"
ABSOLUTE_FORM = rb"(?:http|https)://(?P<authority>" + AUTHORITY + rb")(?P<rest>(?:[/?].*)?)"
LINE = re.compile(rb"(?P<method>[A-Z]+) (?P<target>[^ ]+) HTTP/1\.(?P<minor>[01])\r\n", re.DOTALL)
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")

METHODS = {method.encode() for method in HTTPMethod} - {b"CONNECT"}

type Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Good:
    """A request that may be served."""

    method: str
    path: bytes
    query: bytes
    headers: Fields
    body: bytes
    closes: bool


@dataclass
class Reading:
    """What a connection brings; `unsure` where chunk extensions come in, whose grammar is not told here."""

    good: list[Good] = field(default_factory=list)
    faulty: bool = False
    unsure: bool = False


class _FaultError(Exception): ...


class _IncompleteError(Exception): ...


class _UnsureError(Exception): ...


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        taken = self.data[self.position : self.position + count]
        if len(taken) < count:
            raise _IncompleteError
        self.position += count
        return taken

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.position) + 1
        if not end:
            raise _IncompleteError
        return self.take(end - self.position)

    def request(self) -> Good:
        self.expect_a_letter(b"", b"\r")
        line = self.line()
        if line == b"\r\n":
            self.expect_a_letter(b"", b"\r")
            line = self.line()
        match = LINE.fullmatch(line)
        if match is None:
            raise _FaultError
        path, query, authority = split_target(match["target"])
        headers = self.fields()
        if match["method"] not in METHODS:
            raise _FaultError
        length, closes = framing(headers, match["minor"] == b"1", authority)
        body = self.chunks() if length is None else self.take(length)
        return Good(match["method"].decode(), path, query, headers, body, closes)

    def expect_a_letter(self, *others: bytes) -> None:
        first = self.data[self.position : self.position + 1]
        if not (first.isupper() or first in others):
            raise _FaultError

    def fields(self) -> Fields:
        # all of them have to be there before any of them is judged
        end = self.data.find(b"\n\r\n", self.position - 1)
        if end < 0:
            if b"\n\n" in self.data[self.position - 1 :]:
                raise _FaultError
            raise _IncompleteError
        return self.fields_one_by_one()

    def fields_one_by_one(self, forbidden: AbstractSet[bytes] = frozenset()) -> Fields:
        headers: Fields = []
        while (line := self.line()) != b"\r\n":
            match = FIELD.fullmatch(line)
            if match is None or match[1].lower() in forbidden:
                raise _FaultError
            name, value = match[1].lower(), match[2].rstrip(b" \t")
            # stricter than RFC 9110 section 5.5, as the parser is: no tab after a transfer coding
            if name == b"transfer-encoding" and b"\t" in match[2][len(value) :]:
                raise _FaultError
            headers.append((name, value))
        return headers

    def chunks(self) -> bytes:
        body = b""
        while True:
            line = self.line()
            if b";" in line:
                raise _UnsureError
            match = CHUNK.fullmatch(line)
            if match is None:
                raise _FaultError
            size = int(match[1], 16)
            if size == 0:
                break
            body += self.chunk(size)
        self.fields_one_by_one(forbidden={b"content-length", b"transfer-encoding"})
        return body

    def chunk(self, size: int) -> bytes:
        data = self.data[self.position : self.position + size + 2]
        # what is there of its end is judged at once
        if not b"\r\n".startswith(data[size:]):
            raise _FaultError
        return self.take(size + 2)[:size]


def split_target(target: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Path, query and, of an absolute form, the authority."""
    absolute = re.fullmatch(ABSOLUTE_FORM, target, re.IGNORECASE | re.DOTALL)
    if absolute is not None:
        target = absolute["rest"]
        target = target if target.startswith(b"/") else b"/" + target
    origin = re.fullmatch(ORIGIN_FORM, target)
    if origin is None:
        raise _FaultError
    query = b"%27".join((origin["query"] or b"").split(b"'"))
    return origin["path"], query, absolute["authority"] if absolute else None


def framing(
    headers: Fields,
    is_1_1: bool,  # noqa: FBT001
    authority: bytes | None,
) -> tuple[int | None, bool]:
    """The length of the body, or none where it comes in chunks, and whether the connection ends with it."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    single = (b"host", b"content-length", b"transfer-encoding", b"expect")
    if (is_1_1 and b"host" not in values) or any(len(values.get(name, [])) > 1 for name in single):
        raise _FaultError
    if authority is not None and [host.lower() for host in values.get(b"host", [])] != [authority.lower()]:
        raise _FaultError
    if values.get(b"expect", [b"100-continue"])[0].lower() != b"100-continue":
        raise _FaultError
    options = b",".join(values.get(b"connection", [])).lower().split(b",")
    closes = not is_1_1 or b"close" in [option.strip() for option in options]
    if b"transfer-encoding" in values:
        (coding,) = values[b"transfer-encoding"]
        if coding.lower() != b"chunked" or {b"content-length", b"upgrade"} & values.keys() or not is_1_1:
            raise _FaultError
        return None, closes
    length = values.get(b"content-length", [b"0"])[0]
    if not re.fullmatch(rb"[0-9]{1,18}", length):
        raise _FaultError
    if int(length) and b"upgrade" in values:
        raise _FaultError
    return int(length), closes


def read(data: bytes) -> Reading:
    """Every request of a connection up to the first fault, the first `close`, or the end."""
    reading = Reading()
    reader = _Reader(data)
    try:
        while reader.position < len(data):
            reading.good.append(reader.request())
            if reading.good[-1].closes:
                break
    except _FaultError:
        reading.faulty = True
    except _UnsureError:
        reading.unsure = True
    except _IncompleteError:
        pass
    return reading
