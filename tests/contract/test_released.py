"""No change of the contract breaks callers unless its number says so."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from riskscale._core.scripts import manifest
from tools import contract, released

LOCK = {"index": "i", "name": "lock", "type": "hash", "each": "i", "last": "n", "bound": "n=1..64"}
CONTRACT: dict[str, Any] = {
    "contract": 1,
    "scripts": {
        "lock.take": {
            "keys": [{**LOCK, "text": "<prefix>rs1:{<name>}:lock, a hash"}],
            "args": [
                {"index": "1", "name": "owner", "type": "token", "text": "who"},
                {"index": "2", "name": "ttl_us", "type": "int[1000..5000]", "text": "lease"},
                {"index": "3", "name": "mode", "type": "enum a|b", "text": "how"},
                {"index": "4", "name": "about", "type": "string[0..100]", "text": "for people"},
                {"index": "5", "name": "now_us", "type": "int[0..9]|''", "text": "clock"},
            ],
            "returns": [
                {"name": "held", "type": "int", "text": "1"},
                {"name": "fence", "type": "int", "text": "x", "per": "item"},
            ],
            "errors": {"RSARG": "malformed"},
            "flags": ["readonly", "frees"],
            "repeat": "safe      the same",
        },
    },
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    new = copy.deepcopy(CONTRACT)
    change(new["scripts"]["lock.take"])
    return new


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: None,
        lambda entry: entry["args"][1].update(type="int[1..5001]"),
        lambda entry: entry["args"][1].update(type="int"),
        lambda entry: entry["args"][1].update(type="int[1000..5000]|''"),
        lambda entry: entry["args"][0].update(type="token|''", text="who it is"),
        lambda entry: entry["args"][2].update(type="enum c|b|a"),
        lambda entry: entry["args"][3].update(type="string[0..200]"),
        lambda entry: entry["args"][3].update(type="string"),
        lambda entry: entry["keys"][0].update(bound="n=1..128", text="<prefix>rs1:{<name>}:lock"),
        lambda entry: entry.update(title="another", repeat="safe      in other words", commands=["GET"], sha1="b"),
        lambda entry: entry["errors"].update(RSARG="in other words"),
    ],
)
def test_what_takes_more_breaks_nobody(change: Callable[[dict[str, Any]], object]) -> None:
    assert released.breaks(CONTRACT, changed(change)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry["args"].pop(0), "ARGV has other slots"),
        (lambda entry: entry["args"].insert(4, {"index": "5", "name": "x", "type": "int", "text": ""}), "other slots"),
        (lambda entry: entry["args"][0].update(name="token"), "ARGV has other slots"),
        (lambda entry: entry["keys"][0].update(index="2i"), "KEYS has other slots"),
        (lambda entry: entry["args"][0].update(type="int"), r"ARGV\[1\] owner takes less"),
        (lambda entry: entry["args"][1].update(type="int[1001..5000]"), "takes less"),
        (lambda entry: entry["args"][1].update(type="int[1000..4999]|''"), "takes less"),
        (lambda entry: entry["args"][4].update(type="int[0..9]"), "takes less"),
        (lambda entry: entry["args"][2].update(type="enum a"), "takes less"),
        (lambda entry: entry["args"][3].update(type="string[1..100]"), "takes less"),
        (lambda entry: entry["keys"][0].update(type="zset"), "takes less"),
        (lambda entry: entry["keys"][0].update(bound="n=1..32"), "takes fewer"),
        (lambda entry: entry["keys"][0].update(bound="n=1..64, a multiple of m"), "takes fewer"),
        (lambda entry: entry["keys"][0].update(last="m"), "runs over another range"),
        (lambda entry: entry["keys"][0].update(text="<prefix>rs1:{<name>}:locks"), "is another key"),
        (lambda entry: entry["returns"].append({"name": "at_us", "type": "int", "text": ""}), "replies other fields"),
        (lambda entry: entry["returns"].reverse(), "replies other fields"),
        (lambda entry: entry["returns"][0].update(type="string"), "replies other fields"),
        (lambda entry: entry["returns"][1].pop("per"), "replies other fields"),
        (lambda entry: entry.update(reply="line"), "another form"),
        (lambda entry: entry["errors"].update(RSSTATE="other type"), "other errors"),
        (lambda entry: entry.update(repeat="charges again"), "not safe to repeat"),
        (lambda entry: entry.update(ttl="none      kept"), "without TTL"),
        (lambda entry: entry.update(flags=["write", "frees"]), "writes"),
        (lambda entry: entry.update(flags=["readonly"]), "memory is full"),
        (lambda entry: entry.update(flags=["readonly", "frees", "operator"]), "operators"),
    ],
)
def test_what_takes_less_or_says_other_things_breaks(change: Callable[[dict[str, Any]], object], said: str) -> None:
    (problem,) = released.breaks(CONTRACT, changed(change))
    assert problem.startswith("lock.take: ") and re.search(said, problem)


def test_scripts_may_be_added_and_not_taken_away() -> None:
    more = {"contract": 1, "scripts": {**CONTRACT["scripts"], "lock.give": CONTRACT["scripts"]["lock.take"]}}
    assert released.breaks(CONTRACT, more) == []
    assert released.breaks(more, CONTRACT) == ["lock.give: is gone"]
    assert released.breaks(more, {**CONTRACT, "contract": 2}) == []
    assert released.breaks({**CONTRACT, "contract": 2}, CONTRACT) == ["the contract's number went back"]


def test_the_contract_keeps_what_every_release_promised() -> None:
    assert released.releases()
    for release, old in released.releases().items():
        assert released.breaks(old, manifest()) == [], release


def test_a_script_is_since_the_release_that_had_it_first() -> None:
    assert released.since("lock.acquire", "9.9") == "0.1.0" and released.since("lock.future", "9.9") == "9.9"


def test_a_release_that_breaks_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contract.release()
    monkeypatch.setattr(contract, "manifest", lambda: {"contract": 1, "scripts": {}})
    with pytest.raises(contract.ContractError, match=r"lock\.acquire: is gone"):
        contract.release()
