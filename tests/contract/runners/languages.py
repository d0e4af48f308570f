"""The toolchains that run the scripts in other languages: what each needs, how it is built, how it is started."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RUNNERS = Path(__file__).resolve().parent
TIMEOUT = 300


class Missing(RuntimeError):
    """A program that is not on the PATH, or could not build what is asked of it; the message names it."""


@dataclass(frozen=True, slots=True)
class Language:
    """One runner, in the folder of its name.

    Attributes:
        needs: programs that must be on the PATH.
        build: commands that install what it depends on and compile it, in its folder.
        start: the command line before its arguments, in its folder.
    """

    needs: Sequence[str]
    start: Sequence[str]
    build: Sequence[Sequence[str]] = ()


LANGUAGES = {
    "node": Language(("node", "npm"), ("node", "runner.mjs"), (("npm", "ci", "--no-audit", "--no-fund"),)),
    "go": Language(("go",), ("bin/runner",), (("go", "vet", "./..."), ("go", "build", "-o", "bin/", "./..."))),
    "java": Language(
        ("java", "javac", "mvn"),
        ("java", "-cp", "target/classes:target/dependency/*", "Runner"),
        (("mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DincludeScope=runtime"),),
    ),
    "shell": Language(("bash", "redis-cli", "jq", "sha1sum"), ("./runner.sh",)),
}


@cache
def built(name: str) -> Path:
    """The folder of a runner that can be started.

    Raises:
        Missing: a program is not there, or fails.
    """
    language, folder = LANGUAGES[name], RUNNERS / name
    for program in language.needs:
        if not shutil.which(program):
            raise Missing(f"{name}: {program} is not on the PATH")
    for command in language.build:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise Missing(f"{name}: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return folder


def run(name: str, lua: Path, vectors: Path, url: str) -> tuple[int, str]:
    """The exit code of a runner, and what it printed."""
    command = [*LANGUAGES[name].start, str(lua), str(vectors), url]
    done = subprocess.run(
        command,
        cwd=built(name),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout
