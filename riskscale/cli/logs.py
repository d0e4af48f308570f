"""Access logs: Common and Combined Log Format, and JSON lines; plain or gzip, from files or standard input."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any, cast

from riskscale.cli.errors import GZIP_ERRORS, Failure

FIELDS = ("ip", "user", "method", "path", "status")
MAX_LINE = 1 << 20
MAX_US = 2**52
"""The latest time that the scripts take: the year 2112."""

# What follows the Common fields (referer and agent, or whatever a server was told to add) is not looked at.
_COMMON = re.compile(
    r"(?P<ip>\S+) \S+ (?P<user>.+?) \[(?P<time>[^\[\]]{0,40})\] "
    r'"(?P<request>[^"\\]*(?:\\.[^"\\]*)*)" (?P<status>\d{3}) (?:\d+|-)(?:\s|$)'
)
_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z", re.ASCII)
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: at for at, name in enumerate(_NAMES, 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Malformed(ValueError):
    """A line that cannot be read, with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How lines become requests.

    Attributes:
        fields: what makes the key: some of FIELDS, or fields of JSON lines.
        time_field: where JSON lines have their time; ``a.b`` looks into objects.
        json_only: every line must be JSON.
    """

    fields: tuple[str, ...]
    time_field: str = "time"
    json_only: bool = False

    def parse(self, line: str) -> tuple[int, str]:
        """The time in microseconds and the key of one line; Malformed if it has none."""
        if line.startswith("{"):
            at_us, record = parse_json(line, self.time_field)
        elif self.json_only:
            raise Malformed("not a JSON object")
        else:
            at_us, record = parse_common(line)
        if not 0 <= at_us <= MAX_US:
            raise Malformed("its time is not between 1970 and 2112")
        return at_us, join_key([_value(record, name) for name in self.fields])


@dataclass(slots=True)
class Log:
    """What was read: (time in microseconds, key) in order of time, and what could not be.

    Attributes:
        malformed: how many lines.
        examples: the first of them: file, line number, reason.
    """

    requests: list[tuple[int, str]] = field(default_factory=list)
    malformed: int = 0
    examples: list[tuple[str, int, str]] = field(default_factory=list)

    def reject(self, file: str, number: int, reason: str) -> None:
        """Count a malformed line."""
        self.malformed += 1
        if len(self.examples) < 5:
            self.examples.append((file, number, reason))


def read(files: Sequence[str], form: Format, progress: Callable[[int], None] = lambda count: None) -> Log:
    """Every line of ``files`` ("-": standard input), sorted by time; equal times keep their order.

    Raises:
        OSError: a file cannot be opened.
        Failure: a gzip file is damaged.
    """
    log = Log()
    known: dict[str, str] = {}  # one string object a key, not one a request
    for file in files:
        with opened(file) as stream:
            for number, line in lines(stream):
                if line is None:
                    log.reject(file, number, f"longer than {MAX_LINE} bytes")
                elif line:
                    try:
                        at_us, key = form.parse(line)
                        log.requests.append((at_us, known.setdefault(key, key)))
                    except Malformed as why:
                        log.reject(file, number, str(why))
                if number % 1000 == 0:
                    progress(len(log.requests))
    log.requests.sort(key=lambda request: request[0])
    return log


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is gzip by its name or its first bytes."""
    name = "standard input" if file == "-" else file
    with ExitStack() as stack:
        source: Any = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        try:
            packed = file.endswith(".gz") or source.peek(2)[:2] == b"\x1f\x8b"
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=source)) if packed else source
        except (gzip.BadGzipFile, *GZIP_ERRORS) as error:
            raise Failure(f"{name}: not a readable gzip file: {error}") from None


def lines(stream: IO[bytes]) -> Iterator[tuple[int, str | None]]:
    """Numbered lines without their ends; None for one that is too long. Bytes that are not UTF-8 become ``\\xNN``."""
    number = 0
    while chunk := stream.readline(MAX_LINE):
        number += 1
        if len(chunk) == MAX_LINE and not chunk.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None
            continue
        text = chunk.decode("utf-8", "backslashreplace")
        yield number, (text.removeprefix("\ufeff") if number == 1 else text).strip()


def parse_common(line: str) -> tuple[int, dict[str, str]]:
    """Time and FIELDS of a line in Common Log Format, or in one that begins like it."""
    match = _COMMON.match(line)
    if match is None:
        raise Malformed("neither Common Log Format nor a JSON object")
    method, _, rest = match["request"].partition(" ")
    target = rest.rpartition(" ")[0] if " HTTP/" in rest else rest
    return common_time(match["time"]), {
        "ip": match["ip"],
        "user": match["user"],
        "method": method or "-",
        "path": target.partition("?")[0] or "-",
        "status": match["status"],
    }


def common_time(text: str) -> int:
    """``17/May/2015:10:05:03 +0000`` in microseconds since 1970, whatever the locale."""
    match = _TIME.match(text)
    if match is None or match[2] not in _MONTHS:
        raise Malformed(f"not a time: [{text[:40]}]")
    day, _, year, hour, minute, second, sign, off_hours, off_minutes = match.groups()
    offset = timedelta(hours=int(off_hours), minutes=int(off_minutes)) * (-1 if sign == "-" else 1)
    date = int(year), _MONTHS[match[2]], int(day), int(hour), int(minute)
    try:
        minute_us = _micros(datetime(*date, tzinfo=timezone(offset)))
    except ValueError:
        raise Malformed(f"not a time: [{text[:40]}]") from None
    if int(second) > 60:  # 60 is a leap second
        raise Malformed(f"not a time: [{text[:40]}]")
    return minute_us + int(second) * 1_000_000


def parse_json(line: str, time_field: str) -> tuple[int, Mapping[str, Any]]:
    """Time and record of a JSON line."""
    try:
        record = json.loads(line, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("not a JSON object") from None
    if not isinstance(record, dict):
        raise Malformed("not a JSON object")
    return json_time(_find(record, time_field)), record


def json_time(value: object) -> int:
    """Microseconds since 1970 of an ISO 8601 text (UTC unless it says otherwise), of a Common Log time, or of a
    number of seconds, or of milli-, micro- or nanoseconds where it is too large for the unit before."""
    if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return common_time(value)
        return _micros(at if at.tzinfo else at.replace(tzinfo=UTC))
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise Malformed("its time is neither text nor a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise Malformed("its time is not a number") from None
    if not 0 <= number < 10**20:
        return -1
    for bound, factor in ((10**11, 10**6), (10**14, 1000), (10**17, 1)):
        if number < bound:
            return int(number * factor)
    return int(number / 1000)


def join_key(values: Sequence[str]) -> str:
    """One key of several values: unlike values never meet, so one that holds a space or a quote is quoted."""
    if len(values) == 1:
        return values[0]
    return " ".join(json.dumps(value) if " " in value or '"' in value else value for value in values)


def _value(record: Mapping[str, Any], name: str) -> str:
    value = _find(record, name)
    if isinstance(value, (dict, list)):
        raise Malformed(f"its field {name} is neither text nor a number")
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "-" if value is None or value == "" else str(value)  # as the Common format writes what is not there
    return text.encode("utf-8", "backslashreplace").decode()  # JSON can hold half of a surrogate pair


def _find(record: Mapping[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    inner: Any = record
    for part in name.split("."):
        if not isinstance(inner, dict) or part not in inner:
            raise Malformed(f"it has no field {name}")
        inner = inner[part]
    return inner


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
