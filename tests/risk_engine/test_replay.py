"""The log that a replay reads."""

from __future__ import annotations

from pathlib import Path

from risk_engine.replay import Request, read

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample.log"


def test_lines_that_are_none_are_left_out_and_the_rest_is_in_order(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(
        '192.0.2.1 - - [02/Mar/2026:11:53:24 +0000] "GET /late HTTP/1.1" 200 -\n'
        '192.0.2.1 - - [31/Foo/2026:09:10:11 +0000] "GET /never HTTP/1.1" 200 7\n'
        '192.0.2.1 - - [30/Feb/2026:09:10:11 +0000] "GET /never HTTP/1.1" 200 7\n'
        "no line of a log\n"
        '192.0.2.2 - - [02/Mar/2026:12:53:23 +0100] "GET /early HTTP/1.1" 404 12\n'
    )
    assert read(log) == [
        Request(1772452403.0, "192.0.2.2", "/early", 12),
        Request(1772452404.0, "192.0.2.1", "/late", 0),
    ]


def test_the_sample_is_read() -> None:
    assert len(read(SAMPLE)) == 3340
