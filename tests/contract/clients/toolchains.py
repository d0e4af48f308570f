"""Builds the generated client, a harness around it and the example of each language, as strictly as they can be built.

What the examples depend on is locked in `examples/`, so the harness is built with the same. Nothing is built in the
sources: all goes to `build/clients/<language>`, where what was installed stays until its lock file changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from riskscale.cli.generate import modules

ROOT = Path(__file__).resolve().parent.parent.parent.parent
HERE = Path(__file__).resolve().parent
PATIENCE = 540


class Harness:
    """A process that makes calls by the generated client of its language."""

    def __init__(self, command: Sequence[str], url: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([*command, url], cwd=ROOT, **pipes)

    def say(self, method: str, call: Any = None) -> Any:
        """What it answers: {"reply": ...}, or {"error": {"word", "argument"}}."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"method": method, "call": call}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{self._process.args} ended with {self._process.wait()}"
        return json.loads(answer)

    def close(self) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()


def tool(name: str) -> str:
    """A program of a toolchain; where it is missing, the test says which."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on the PATH")
    return found


def ran(folder: Path, *command: str) -> str:
    """What it printed; a failure shows all of it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def laid_out(language: str, lang: str, module: str, harness: dict[str, str]) -> Path:
    """The example, the harness and the generated module (in ``module``) in one folder."""
    folder = ROOT / "build" / "clients" / language
    shutil.copytree(ROOT / "examples" / language, folder, dirs_exist_ok=True)
    for name, target in harness.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / name, folder / target)
    for path, text in modules(lang).items():
        (folder / module / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / module / path).write_text(text, encoding="utf-8")
    return folder


def installed(folder: Path, lock: str, install: Callable[[], object]) -> None:
    """Install, unless that was done for this lock file."""
    text, mark = (folder / lock).read_text(), folder / "installed"
    if not mark.exists() or mark.read_text() != text:
        install()
        mark.write_text(text)


def node() -> dict[str, list[str]]:
    """The commands of the harness and of the service; likewise of the others."""
    program, npm = tool("node"), tool("npm")
    folder = laid_out("node", "ts", ".", {"harness.ts": "harness.ts"})
    installed(folder, "package-lock.json", lambda: ran(folder, npm, "ci", "--no-audit", "--no-fund"))
    ran(folder, program, "node_modules/typescript/bin/tsc")
    return {name: [program, str(folder / "build" / f"{name}.js")] for name in ("harness", "main")}


def go() -> dict[str, list[str]]:
    program, gofmt = tool("go"), tool("gofmt")
    folder = laid_out("go", "go", ".", {"harness.go": "harness/main.go"})
    assert ran(folder, gofmt, "-l", ".") == ""
    ran(folder, program, "vet", "./...")
    ran(folder, program, "build", "-o", "bin/", "./...")
    return {"harness": [str(folder / "bin" / "harness")], "main": [str(folder / "bin" / "riskscale-example")]}


def java() -> dict[str, list[str]]:
    program, javac, maven = tool("java"), tool("javac"), tool("mvn")
    folder = laid_out("java", "java", "src/main/java", {"Harness.java": "src/main/java/Harness.java"})
    copied = ("dependency:copy-dependencies", "-DoutputDirectory=lib")
    installed(folder, "pom.xml", lambda: ran(folder, maven, "--quiet", "--batch-mode", *copied))
    sources = [str(path.relative_to(folder)) for path in sorted((folder / "src").rglob("*.java"))]
    strict = ("-encoding", "UTF-8", "--release", "17", "-Xlint:all", "-Werror")
    ran(folder, javac, *strict, "-cp", "lib/*", "-d", "classes", *sources)
    command = [program, "-XX:TieredStopAtLevel=1", "-cp", os.pathsep.join([f"{folder}/lib/*", f"{folder}/classes"])]
    return {"harness": [*command, "Harness"], "main": [*command, "example.Main"]}


LANGUAGES: dict[str, Callable[[], dict[str, list[str]]]] = {"node": node, "go": go, "java": java}
