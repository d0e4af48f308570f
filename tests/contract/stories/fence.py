"""Guarded values: once a newer fence has come, no older one writes."""

from __future__ import annotations

from tests.contract.book import HOSTILE, HOUR, MAX_INT, Book, keys_of
from tests.contract.vectors import State

VALUE = keys_of("value", "fence")


def write(book: Book) -> None:
    case = book.case("a newer fence writes, an older is refused, an equal one writes again")
    case("fence.guard", VALUE, 7, "first", HOUR)
    case("fence.guard", VALUE, 6, "late", HOUR)
    case("fence.guard", VALUE, 7, "again", HOUR)
    case("fence.guard", VALUE, 8, "", 0)
    case("fence.read", VALUE, 8)

    case = book.case("who has read shuts out those before it")
    case("fence.read", VALUE, 7)
    case("fence.guard", VALUE, 7, "seven", HOUR)
    case("fence.read", VALUE, 9)
    case("fence.guard", VALUE, 8, "eight", HOUR)
    case("fence.read", VALUE, 8)
    case("fence.read", VALUE, 9)

    case = book.case("the mark stays when the value is gone")
    case("fence.guard", VALUE, 7, "seven", HOUR)
    case.given({VALUE[0]: None})
    case("fence.guard", VALUE, 6, "six", HOUR)
    case("fence.read", VALUE, 7)

    case = book.case("a value is any bytes")
    for fence, value in enumerate(
        (b"\x00\xff\x80", b"\r\n", "ü 漢 \x00 |".encode(), b'a "b" \\ "c"\\', b"x" * 2000), 1
    ):
        case("fence.guard", VALUE, fence, value, HOUR)
    case("fence.guard", VALUE, 9, b"\xc3\x28\x00", HOUR)
    case("fence.read", VALUE, 9)

    case = book.case("the highest fence is exact")
    case("fence.guard", VALUE, MAX_INT, "highest", HOUR)
    case("fence.guard", VALUE, MAX_INT - 1, "next", HOUR)
    case("fence.read", VALUE, MAX_INT)

    case = book.case("a mark that is no fence")
    for text in (b"0", b"1.5", b"9007199254740992", b" 7", b"12345678901234567"):
        case.given({VALUE[1]: State("string", text)})
        case.refuses("RSSTATE", "fence.guard", VALUE, [7, "x", 0, case.now])
        case.refuses("RSSTATE", "fence.read", VALUE, [7, case.now], shows=True)

    case = book.case("a hostile name")
    case("fence.guard", keys_of("value", "fence", name=HOSTILE), 7, HOSTILE, HOUR)
