"""`make test-contract`: every language decides as the vectors say, and its runner names what is wrong with a vector.

Not collected by `make test`: it takes Node, Go, a JDK, Maven, jq, and a network for what they depend on. A toolchain
that is not there is named, and is a failure where RISKSCALE_NO_SKIPS is set.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from benchmarks.languages import decisions
from benchmarks.rounds import Settings
from riskscale._core.scripts import folder
from riskscale.testing import ServerProcess
from tests.contract import broken
from tests.contract.runners.languages import LANGUAGES, Missing, built, run
from tests.contract.vectors import FOLDER, primitives, read

CASES = sum(len(read(primitive)) for primitive in primitives())


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """One whose runner can be started."""
    name: str = request.param
    for program in LANGUAGES[name].needs:
        if not shutil.which(program):
            pytest.skip(f"{name}: {program} is not on the PATH")
    built(name)
    return name


@pytest.fixture
def url(riskscale_server_process: ServerProcess) -> Iterator[str]:
    """Of a server of this run, which holds nothing before and after."""
    yield riskscale_server_process.url
    with redis.Redis.from_url(riskscale_server_process.url) as client:
        left = client.keys("*")
        client.flushall()
    assert left == []


def test_it_decides_as_the_vectors_say(language: str, url: str) -> None:
    code, printed = run(language, folder(), FOLDER, url)
    assert printed.splitlines()[-1] == f"{CASES} passed, 0 failed", printed
    assert code == 0


def test_it_names_every_case_that_is_wrong(language: str, url: str, tmp_path: Path) -> None:
    wrong = {**broken.FORMAT, **broken.ANSWER}
    code, printed = run(language, *broken.folders(tmp_path, broken.all_cases()), url)
    for what, (_, said) in wrong.items():
        (line,) = [line for line in printed.splitlines() if line.startswith(f"fence: {what}: ")]
        assert said in line, line
    assert printed.splitlines()[-1] == f"1 passed, {len(wrong)} failed", printed
    assert code == 1


@pytest.mark.parametrize("what", broken.FILE)
def test_it_names_a_file_that_is_wrong(what: str, language: str, url: str, tmp_path: Path) -> None:
    change, said = broken.FILE[what]
    code, printed = run(language, *broken.folders(tmp_path, broken.file(change)), url)
    *before, last = printed.splitlines()
    assert any(line.startswith("fence.json: ") and said in line for line in before), printed
    assert (code, last) == (1, "0 passed, 1 failed")


def test_it_names_a_missing_file_and_a_bad_digest(language: str, url: str, tmp_path: Path) -> None:
    lua, vectors = broken.folders(tmp_path, broken.file())
    (vectors / "fence.json").unlink()
    with (lua / "fence" / "read.lua").open("a") as script:
        script.write("-- one line more\n")
    code, printed = run(language, lua, vectors, url)
    *before, last = printed.splitlines()
    for said in ("fence.json: ", "fence.read: the digest of fence/read.lua is "):
        assert any(line.startswith(said) for line in before), printed
    assert (code, last) == (1, "0 passed, 2 failed")


def test_the_benchmark_measures_each_language(url: str) -> None:
    there = [name for name in decisions.PROGRAMS if all(map(shutil.which, LANGUAGES[name].needs))]
    rows = decisions.one_process(url, Settings(rounds=1, slice_s=0.002))
    assert [str(row["name"]).split()[0] for row in rows] == ["python", *there]
    assert all(value > 0 for row in rows for value in row.values() if isinstance(value, float))


def test_a_toolchain_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name in LANGUAGES:
        built.cache_clear()
        with pytest.raises(Missing, match=f"^{name}: {LANGUAGES[name].needs[0]} is not on the PATH"):
            built(name)
