"""The service does what its description in OpenAPI says, whatever comes: by schemathesis, against a running replica."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from risk_engine.fleet import fleet

from riskscale.testing import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "20")
"""Of each operation; more of them, drawn at random, by ``make test-openapi``."""
DRAWN = ["--generation-database", "none"] if "OPENAPI_EXAMPLES" in os.environ else ["--generation-deterministic"]


@pytest.mark.timeout(900)
def test_schemathesis_finds_nothing(scratch_server: ServerProcess, tmp_path: Path) -> None:
    """No 500, nothing valid refused, nothing invalid accepted, no answer that is not described; in sequences, too."""
    env = {"RISK_RATE_LIMIT": "1000000/second", "RISK_CONSUME": "false"}
    with fleet(scratch_server.url, 1, env) as (replica,):
        command = [
            str(Path(sys.executable).with_name("st")), "run", f"{replica.url}/openapi.json", "--max-examples", EXAMPLES,
            "--no-color", "--continue-on-failure", *DRAWN,
        ]  # fmt: skip
        hooks = {"SCHEMATHESIS_HOOKS": "tests.risk_engine.openapi_hooks", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True, timeout=800, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 selected / 2 total" in done.stdout
