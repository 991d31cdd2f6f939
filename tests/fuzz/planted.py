"""A reader with a fault behind four comparisons, which guessing without coverage would not find in years."""


def word(data: bytes) -> None:
    if data[:1] == b"P" and data[1:2] == b"A" and data[2:3] == b"I" and data[3:4] == b"R":
        raise AssertionError("planted")


TARGETS = {"word": word}
