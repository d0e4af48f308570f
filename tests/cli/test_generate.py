"""``riskscale generate``: what is written. That it compiles and runs is shown by ``make test-contract``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskscale._core.scripts import manifest, names, script
from riskscale.cli import generate
from riskscale.cli.generate import LANGUAGES, camel, modules, pascal
from riskscale.cli.signatures import position, signature
from tests.contract.clients.typed import SIGNATURES, SIZES, sent
from tests.contract.examples import EXAMPLES

SCRIPTS = manifest()["scripts"]


def words_of(name: str, sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """The names of the keys and arguments that a client sends, with lists of those sizes."""
    each = SIGNATURES[name]
    keys, args = ([field.name for _, _, field in sent(segments, sizes)] for segments in (each.keys, each.args))
    return keys, args


@pytest.mark.parametrize("name", names())
def test_a_client_sends_as_many_words_as_the_example_has(name: str) -> None:
    roles, args = EXAMPLES[name]
    keys, words = words_of(name, SIZES.get(name, {}))
    assert (len(keys), len(words)) == (len(roles), len(args) + 1)
    assert words[-1] == "now_us"


def test_lists_are_sent_item_by_item() -> None:
    assert words_of("lock.renew", {"items": 2}) == (["lock_key"] * 2, ["owner", "ttl_us"] * 2 + ["now_us"])
    rules = ["algorithm", "count", "window_us", "burst"]
    keys, words = words_of("rate.all_of", {"items": 4, "limits": 2, "requests": 2})
    assert (keys, words) == (["key"] * 4, ["m", *rules, *rules, "charge", "cost", "cost", "now_us"])
    assert list(SIGNATURES["rate.all_of"].groups) == ["items", "limits", "requests"]
    assert "m" not in [field.name for field in SIGNATURES["rate.all_of"].fields]
    assert [field.name for field in SIGNATURES["rate.gcra"].groups["items"]] == ["key", "cost"]


def test_slots_without_an_order_are_refused() -> None:
    for index in ("1", "3", "i"):
        entry = {**SCRIPTS["lock.renew"], "keys": [{**SCRIPTS["lock.renew"]["keys"][0], "index": index}] * 2}
        with pytest.raises(ValueError, match="no order"):
            signature("lock.renew", entry, "")
    with pytest.raises(ValueError, match="two arguments"):
        args = [{**each, "name": "same"} for each in SCRIPTS["lock.acquire"]["args"]]
        signature("lock.acquire", {**SCRIPTS["lock.acquire"], "args": args}, "")


@pytest.mark.parametrize(
    ("index", "value"),
    [("7", 7), ("3i-2", 7), ("4+4(j-1)", 8), ("2+4m+r", 15), ("n/m", 2), ("4n+25", 49)],
)
def test_positions(index: str, value: int) -> None:
    assert position(index, {"i": 3, "j": 2, "r": 1, "n": 6, "m": 3}) == value


@pytest.mark.parametrize("index", ["n**m", "f(n)", "'1'", "-i"])
def test_what_is_no_position(index: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        position(index, {"i": 1, "n": 1, "m": 1})


def test_names() -> None:
    assert (camel("lock.acquire_all"), pascal("lock.acquire_all")) == ("lockAcquireAll", "LockAcquireAll")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_module_has_every_script_or_those_named(run: Callable[..., Any], lang: str, tmp_path: Path) -> None:
    code, out, err = run("generate", "--lang", lang, "--out", tmp_path / "new" / "folder")
    assert (code, err) == (0, "")
    (path,) = map(Path, out.splitlines())
    text = path.read_text()
    assert all(f'"{SCRIPTS[name]["sha1"]}"' in text for name in names())
    assert {str(path.relative_to(tmp_path / "new" / "folder")): text} == modules(lang)
    (few,) = modules(lang, ["rate.gcra", "lock.renew"]).values()
    assert [name for name in names() if f'"{SCRIPTS[name]["sha1"]}"' in few] == ["lock.renew", "rate.gcra"]
    assert "semaphore" not in few.lower().replace(script("lock.renew").text.decode(), "")


def test_a_language_is_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list" / "folder").mkdir(parents=True)
    template = "{% for script in scripts %}{{ script.name | pascal }}({{ script.fields[0].name }}) {% endfor %}"
    (tmp_path / "list" / "folder" / "scripts.txt.j2").write_text(template)
    monkeypatch.setattr(generate, "TEMPLATES", tmp_path)
    written = modules("list", ["lock.renew", "lock.acquire", "lock.renew"])
    assert written == {"folder/scripts.txt": "LockAcquire(lock_key) LockRenew(now_us) "}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lang", "cobol"), "--lang: there is no template for 'cobol'; there are go, java, ts"),
        (("--lang", "ts", "--only", "lock.steal"), "there is no script 'lock.steal'"),
    ],
)
def test_bad_words(run: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("generate", *words, "--out", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("generate", "--lang", "ts", "--out", tmp_path / "file")
    assert code == 2 and err.startswith("riskscale: ") and err.count("\n") == 1
