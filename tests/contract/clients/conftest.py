from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from riskscale.testing import ServerProcess
from tests.contract.clients.toolchains import LANGUAGES

built = cache(lambda language: LANGUAGES[language]())


@pytest.fixture(scope="module", params=sorted(LANGUAGES))
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def command() -> Callable[[str, str], list[str]]:
    """``command("go", "harness")``: what runs it. Built once a run; a missing toolchain is named."""
    return lambda language, name: list(built(language)[name])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server
