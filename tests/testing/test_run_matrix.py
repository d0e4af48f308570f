"""`make test-matrix` names what it could not test on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import run_matrix


@pytest.mark.parametrize(("no_skips", "code"), [("", 0), ("1", 1)])
def test_a_server_that_cannot_be_had_is_named(
    no_skips: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = {"absent": lambda: None, "broken": lambda: Path("/bin/false")}
    monkeypatch.setattr(run_matrix, "SERVERS", servers)
    monkeypatch.setattr(run_matrix, "end_on_sigterm", lambda: None)
    monkeypatch.setenv("RISKSCALE_NO_SKIPS", no_skips)
    assert run_matrix.main() == code
    said = capsys.readouterr().out
    assert "absent" in said and "NOT TO BE HAD" in said
    assert "broken" in said and "DOES NOT START: /bin/false exited" in said


@pytest.mark.parametrize("code", [0, 1, 5])
def test_one_failed_run_fails_all(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_matrix, "SERVERS", {"some": lambda: Path("/some/redis-server")})
    monkeypatch.setattr(run_matrix, "end_on_sigterm", lambda: None)
    monkeypatch.setattr(run_matrix, "version", lambda _: "Redis 99")
    monkeypatch.setattr(run_matrix, "run_pytest", lambda *_: code)
    assert run_matrix.main() == (code != 0)
