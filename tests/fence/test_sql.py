"""The SQL of docs/fencing.md, as it stands there, on SQLite."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale.fence._model import GuardModel

DOC = Path(__file__).resolve().parents[2] / "docs" / "fencing.md"
CREATE, UPDATE, UPSERT, CLAIM, DELETE = re.findall(r"^```sql\n(.*?)\n```$", DOC.read_text(), re.M | re.S)
SELECT = "SELECT body, fence FROM report WHERE id = 'r'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "db")) as db, db:
        db.execute(CREATE)
    return tmp_path / "db"


def put(db: sqlite3.Connection, how: str, body: str, fence: int) -> bool:
    """Whether a row was changed."""
    values = {
        "update": (UPDATE, (body, fence, "r", fence)),
        "upsert": (UPSERT, ("r", body, fence)),
        "claim": (CLAIM, (fence, "r", fence)),
        "delete": (DELETE, (fence, "r", fence)),
    }
    return db.execute(*values[how]).rowcount == 1


steps = st.tuples(
    st.sampled_from(["update", "upsert", "claim", "delete"]),
    st.text("ab", max_size=2),
    st.sampled_from([1, 2, 9, 10, 2**31, 2**52, 2**53 - 2, 2**53 - 1]),
)


@given(st.lists(steps, max_size=30))
def test_the_statements_decide_as_the_guard_does(history: list[tuple[str, str, int]]) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(CREATE)
        model: GuardModel | None = None
        for how, body, fence in history:
            changed = put(db, how, body, fence)
            if model is None and how != "upsert":
                assert not changed, "there is no row yet"
                continue
            model = model or GuardModel()
            if how == "claim":
                assert changed == model.read(fence).accepted
            else:
                assert changed == model.write(b"" if how == "delete" else body.encode(), fence).written
                if how == "delete" and changed:
                    model.value = None
            value = None if model.value is None else model.value.decode()
            assert db.execute(SELECT).fetchall() == [(value, model.mark)]


def test_without_the_condition_the_sleeper_overwrites(path: Path) -> None:
    """Looking first does not help: what happens after the look is not seen."""
    with closing(sqlite3.connect(path)) as sleeper, closing(sqlite3.connect(path)) as newer:
        with newer:
            put(newer, "upsert", "first", 6)
        assert sleeper.execute(SELECT).fetchone()[1] <= 7, "it looks, and is stopped"
        with newer:
            assert put(newer, "update", "newer", 8)
        with sleeper:
            sleeper.execute("UPDATE report SET body = ?, fence = ? WHERE id = ?", ("sleeper", 7, "r"))
        assert newer.execute(SELECT).fetchone() == ("sleeper", 7)


def test_with_the_condition_it_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sleeper, closing(sqlite3.connect(path)) as newer:
        with newer:
            put(newer, "upsert", "first", 6)
        assert sleeper.execute(SELECT).fetchone()[1] <= 7
        with newer:
            assert put(newer, "update", "newer", 8)
        for how in ("update", "upsert", "claim", "delete"):
            with sleeper:
                assert not put(sleeper, how, "sleeper", 7)
        assert newer.execute(SELECT).fetchone() == ("newer", 8)


def test_a_claim_first_keeps_a_whole_transaction_out(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        put(db, "upsert", "newer", 8)
        db.execute("CREATE TABLE line (report TEXT, text TEXT)")
    with closing(sqlite3.connect(path)) as db:
        for fence, lines in ((7, 0), (8, 2)):
            changed = put(db, "claim", "", fence)
            db.executemany("INSERT INTO line VALUES ('r', ?)", [("a",), ("b",)])
            db.commit() if changed else db.rollback()
            assert db.execute("SELECT COUNT(*) FROM line").fetchone() == (lines,)
