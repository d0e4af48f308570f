"""Lines become requests: formats, times, keys, and what is damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from riskscale.cli.errors import Failure
from riskscale.cli.logs import MAX_LINE, Format, Malformed, common_time, join_key, json_time, parse_common, read

COMMON = '192.0.2.7 - ada [17/May/2015:10:05:03 +0000] "GET /a/b?c=d HTTP/1.1" 404 12'
COMBINED = COMMON + ' "http://example.org/" "Mozilla/5.0 (\\"quoted\\")"'
AT = 1431857103_000000


@pytest.mark.parametrize("line", [COMMON, COMBINED, COMBINED[:-5], COMMON + " 0.004 extra"])
def test_common_and_combined(line: str) -> None:
    at_us, fields = parse_common(line)
    assert at_us == AT
    assert fields == {"ip": "192.0.2.7", "user": "ada", "method": "GET", "path": "/a/b", "status": "404"}


@pytest.mark.parametrize(
    ("request_line", "method", "path"),
    [
        ("-", "-", "-"),
        ("", "-", "-"),
        ("GET /", "GET", "/"),
        ("GET /a b HTTP/1.0", "GET", "/a b"),
        (r"GET /\"q\" HTTP/1.1", "GET", r"/\"q\""),
        (r"\x16\x03", r"\x16\x03", "-"),
    ],
)
def test_odd_requests_are_requests_too(request_line: str, method: str, path: str) -> None:
    _, fields = parse_common(f'::1 - - [17/May/2015:10:05:03 +0000] "{request_line}" 400 -')
    assert (fields["ip"], fields["method"], fields["path"]) == ("::1", method, path)


def test_a_user_may_have_spaces() -> None:
    assert parse_common(COMMON.replace("ada", "ada lovelace"))[1]["user"] == "ada lovelace"


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("17/May/2015:10:05:03 +0000", AT),
        ("17/May/2015:12:05:03 +0200", AT),
        ("17/May/2015:04:35:03 -0530", AT),
        ("31/Dec/2016:23:59:60 +0000", 1483228800_000000),
        ("29/Feb/2016:00:00:00 +0000", 1456704000_000000),
    ],
)
def test_common_times(text: str, at_us: int) -> None:
    assert common_time(text) == at_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17/Mai/2015:10:05:03 +0000",
        "31/Apr/2015:10:05:03 +0000",
        "17/May/2015:10:05:61 +0000",
        "17/May/2015:24:05:03 +0000",
        "17/May/2015:10:05:03 +9900",
        "17/May/2015:10:05:03",
        "\u0661\u0667/May/2015:10:05:03 +0000",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Malformed, match="not a time"):
        common_time(text)


@pytest.mark.parametrize(
    "value",
    [
        1431857103,
        "1431857103",
        "1431857103.000000",
        1431857103000,
        1431857103000000,
        1431857103000000000,
        "2015-05-17T10:05:03Z",
        "2015-05-17T12:05:03+02:00",
        "2015-05-17 10:05:03",
        "17/May/2015:10:05:03 +0000",
    ],
)
def test_json_times(value: object) -> None:
    assert json_time(value) == AT


def test_json_times_keep_their_microseconds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"time": 1431857103.123456, "ip": "a"}\n{"time": "2015-05-17T10:05:03.123457Z", "ip": "a"}\n')
    assert [at_us - AT for at_us, _ in read([str(log)], Format(fields=("ip",))).requests] == [123456, 123457]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not a JSON object"),
        ("[1]", "neither"),
        ('{"ip": "a"}', "no field time"),
        ('{"time": 1}', "no field ip"),
        ('{"time": true, "ip": "a"}', "neither text nor a number"),
        ('{"time": null, "ip": "a"}', "neither text nor a number"),
        ('{"time": NaN, "ip": "a"}', "not a JSON object"),
        ('{"time": -5, "ip": "a"}', "not between 1970 and 2112"),
        ('{"time": 1e400, "ip": "a"}', "not between 1970 and 2112"),
        ('{"time": 1e999999, "ip": "a"}', "not between 1970 and 2112"),
        ('{"time": "2200-01-01T00:00:00Z", "ip": "a"}', "not between 1970 and 2112"),
        ('{"time": "yesterday", "ip": "a"}', "not a time"),
        ('{"time": 1, "ip": ["a"]}', "field ip is neither"),
        ("{" * 100_000, "not a JSON object"),
        ('{"time": ' + "9" * 5000 + ', "ip": "a"}', "not"),
        ("GET / 200", "neither Common Log Format nor a JSON object"),
        ("a b c [" * 20_000, "neither"),
        ('a b c [x] "' * 20_000, "neither"),
        ("\x00\x01\x02", "neither"),
    ],
)
def test_malformed_lines_say_why(line: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        Format(fields=("ip",)).parse(line)


def test_json_fields() -> None:
    line = '{"at": 5, "request": {"tenant": 7, "a.b": "x"}, "on": true, "none": null, "empty": "", "half": "\\ud800"}'

    def key(name: str) -> str:
        return Format(fields=(name,), time_field="at").parse(line)[1]

    assert [key(name) for name in ("request.tenant", "on", "none", "empty")] == ["7", "true", "-", "-"]
    assert key("half") == r"\ud800"
    with pytest.raises(Malformed, match="not a JSON object"):
        Format(fields=("tenant",), json_only=True).parse(COMMON)


def test_keys_of_several_fields_never_meet() -> None:
    parts = ["a", "a b", 'a"', '"a b"', "b", "a\\", ""]
    keys = {join_key([first, second]) for first in parts for second in parts}
    assert len(keys) == len(parts) ** 2
    assert join_key(["192.0.2.7", "/a"]) == "192.0.2.7 /a"


def line_at(second: int, ip: str) -> str:
    return f'{ip} - - [17/May/2015:10:05:{second:02} +0000] "GET / HTTP/1.1" 200 1\n'


def test_order_is_by_time_and_stable(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second.gz"
    first.write_text(line_at(5, "b") + line_at(3, "a") + line_at(5, "a"))
    second.write_bytes(gzip.compress((line_at(5, "c") + line_at(1, "c")).encode()))
    log = read([str(first), str(second)], Format(fields=("ip",)))
    assert [key for _, key in log.requests] == ["c", "a", "b", "a", "c"]


def test_damaged_lines_are_counted_and_named(tmp_path: Path) -> None:
    file = tmp_path / "log"
    too_long = b"x" * (MAX_LINE + 10)
    latin = line_at(4, "caf\xe9").encode("latin-1")
    text = b"\xef\xbb\xbf" + line_at(1, "a").encode() + b"\r\n\n" + too_long + b"\nbroken\n" + latin + b"\xff\n" * 9
    file.write_bytes(text)
    log = read([str(file)], Format(fields=("ip",)))
    assert [key for _, key in log.requests] == ["a", r"caf\xe9"]
    assert log.malformed == 11
    assert [number for _, number, _ in log.examples] == [4, 5, 7, 8, 9]
    assert log.examples[0] == (str(file), 4, f"longer than {MAX_LINE} bytes")


@pytest.mark.parametrize("name", ["log.gz", "log"])
def test_gzip_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(line_at(1, "a").encode()) + gzip.compress(line_at(2, "b").encode()))
    assert len(read([str(file)], Format(fields=("ip",))).requests) == 2


@pytest.mark.parametrize("damage", [lambda packed: packed[:-12], lambda packed: packed[:30] + b"!!!" + packed[33:]])
def test_damaged_gzip(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    file = tmp_path / "log.gz"
    file.write_bytes(damage(gzip.compress("".join(line_at(n % 60, str(n * n)) for n in range(500)).encode())))
    with pytest.raises(Failure, match="not a readable gzip file"):
        read([str(file)], Format(fields=("ip",)))
