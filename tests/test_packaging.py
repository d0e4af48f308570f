"""What is installed has the Lua of the checkout, byte for byte, and finds it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TREE = {
    path.relative_to(ROOT / "lua").as_posix(): path.read_bytes() for path in (ROOT / "lua").rglob("*") if path.is_file()
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The sdist, and the wheel built from that sdist, as a release is made."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return {"sdist": next(folder.glob("*.tar.gz")), "wheel": next(folder.glob("*.whl"))}


def test_the_sdist_has_every_file_of_the_lua(built: Mapping[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        found = {}
        for member in archive.getmembers():
            _, _, path = member.name.partition("/")
            if path.startswith("lua/") and (file := archive.extractfile(member)):
                found[path.removeprefix("lua/")] = file.read()
    assert found == TREE


def test_the_wheel_has_every_file_of_the_lua_and_nothing_else_of_ours(built: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        found = {
            name.removeprefix("riskscale/_lua/"): archive.read(name) for name in archive.namelist() if "/_lua/" in name
        }
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert "riskscale/py.typed" in archive.namelist()
    assert found == TREE
    assert {top for top in tops if not top.endswith(".dist-info")} == {"riskscale"}


def test_the_wheel_has_the_templates_of_every_language(built: Mapping[str, Path]) -> None:
    templates = ROOT / "riskscale" / "cli" / "templates"
    with zipfile.ZipFile(built["wheel"]) as archive:
        for path in templates.rglob("*.j2"):
            assert archive.read(path.relative_to(ROOT).as_posix()) == path.read_bytes()


def test_redis_is_all_that_the_wheel_needs(built: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert needed == ["Requires-Dist: redis>=5.1"]
    assert "Requires-Python: >=3.11" in metadata


def test_the_installed_wheel_finds_its_scripts(built: Mapping[str, Path], tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    subprocess.run([*install, str(built["wheel"])], check=True, capture_output=True)
    code = """if True:
        import json, sys
        sys.path.insert(0, sys.argv[1])
        import riskscale, riskscale.sync
        from riskscale._core.scripts import folder, names, script
        print(json.dumps([riskscale.__file__, str(folder()), {name: script(name).sha for name in names()}]))
    """
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "site")], cwd=tmp_path, check=True, capture_output=True
    )
    file, lua, digests = json.loads(ran.stdout)
    assert Path(file).is_relative_to(tmp_path)
    assert Path(lua) == tmp_path / "site" / "riskscale" / "_lua"
    assert digests == {
        name: hashlib.sha1(TREE[entry["file"]]).hexdigest()
        for name, entry in json.loads(TREE["manifest.json"])["scripts"].items()
    }
