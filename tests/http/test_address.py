"""Which client a request is of: nobody can choose who he is by a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError
from riskscale.http import Proxies

INSIDE = Proxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a proxy of ours: it may write what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left part was sent by the client
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.1, 10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ['"[2001:db8:1:2:3::4]:80"'], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["198.51.100.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["rubbish, 10.0.0.2"], "10.0.0.2"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::/64"),
        ("2001:db8::1", [], "2001:db8::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("unix:", ["198.51.100.1"], "unix:"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_last_hop_that_nobody_vouches_for(peer: str, forwarded: list[str], client: str) -> None:
    assert INSIDE.client(peer, forwarded) == client


def test_without_proxies_nothing_is_believed() -> None:
    assert Proxies().client("10.0.0.1", ["198.51.100.1"]) == "10.0.0.1"
    assert Proxies(ipv6_prefix=128).client("2001:db8::1", []) == "2001:db8::1"


@given(sent=st.text(max_size=60))
def test_what_a_client_sends_changes_nothing(sent: str) -> None:
    """Its own proxy adds the address it saw behind whatever the client sent."""
    assert INSIDE.client("10.0.0.1", [sent + ", 198.51.100.7"]) == "198.51.100.7"
    assert INSIDE.client("198.51.100.7", [sent]) == "198.51.100.7"


@pytest.mark.parametrize("trusted", [["10.0.0.1/8"], ["x"], "10.0.0.0/8"])
def test_bad_networks(trusted: list[str]) -> None:
    with pytest.raises(ArgumentError, match="trusted"):
        Proxies(trusted)
    for bits in (0, 129, True, 1.5):
        with pytest.raises(ArgumentError, match="ipv6_prefix"):
            Proxies(ipv6_prefix=bits)  # type: ignore[arg-type]
