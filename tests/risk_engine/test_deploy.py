"""What deploys the risk engine, by the schemas of those who read it, and by the service that it speaks of."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from risk_engine.errors import KNOWN, SOON, UNKNOWN
from risk_engine.fleet import Replica
from risk_engine.settings import Settings

from riskscale.testing import ServerProcess

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "risk_engine"
DEPLOY = EXAMPLE / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
README = (EXAMPLE / "README.md").read_text()
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
KINDS = {
    manifest["kind"]: manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
}
POD = KINDS["Deployment"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def rows(title: str) -> list[list[str]]:
    """The cells of the first table below a headline."""
    _, _, section = README.partition(f"## {title}\n")
    table = re.findall(r"^\|(.*)\|$", section.split("\n## ")[0], re.M)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in table]


def settings_of(env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a process with this environment reads them."""
    for name in os.environ:
        if name.startswith("RISK_"):
            monkeypatch.delenv(name)
    for name, value in env.items():
        assert name.removeprefix("RISK_").lower() in Settings.model_fields, f"there is no {name}"
        monkeypatch.setenv(name, value)
    return Settings()


# The image


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run(Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_nobody_in_particular_and_needs_no_shell() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    (user,) = re.findall(r"^USER (\d+:\d+)$", last, re.M)
    security = POD["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}" and not user.startswith("0")
    assert not re.search(r"^(RUN|SHELL) ", last, re.M)
    for words in re.findall(r"^(?:ENTRYPOINT|CMD|    CMD) (.*)$", last, re.M):
        assert json.loads(words)[0] == "python"


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert all(list(ROOT.glob(word)) for word in copied)
    kept = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    assert sorted(copied) == sorted(kept)


def test_the_probe_of_the_image_follows_the_service(service: Replica) -> None:
    (words,) = re.findall(r"^    CMD (.*)$", DOCKERFILE, re.M)
    code = json.loads(words)[2]
    env = {**os.environ, "RISK_PORT": str(service.port)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=60).returncode == 0
    env["RISK_PORT"] = "1"
    refused = subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=60, capture_output=True)
    assert refused.returncode == 1


# Compose


def test_compose_is_what_its_schema_says() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = run(check, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_compose_starts_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = COMPOSE["services"]["engine"]
    settings = settings_of(engine["environment"], monkeypatch)
    assert settings.replicas == engine["deploy"]["replicas"]
    assert settings.redis_url is not None and settings.redis_url.get_secret_value().startswith("redis://redis:")
    assert int(engine["stop_grace_period"].removesuffix("s")) >= 2 * settings.drain_seconds + 10
    (ports,) = engine["ports"]
    first, last, inside = re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):(\d+)", ports).groups()  # type: ignore[union-attr]
    assert int(last) - int(first) + 1 == settings.replicas and f"RISK_PORT={inside}" in DOCKERFILE
    context = (DEPLOY / engine["build"]["context"]).resolve()
    assert context == ROOT and (context / engine["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_its_server_starts_with_those_words_and_keeps_its_data(tmp_path: Path) -> None:
    _, *words = COMPOSE["services"]["redis"]["command"]
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given["--appendonly"] == "yes" and given["--maxmemory-policy"] == "noeviction"
    with ServerProcess(args=words) as server:
        server.restart()


# Kubernetes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_a_manifest_is_what_the_published_schema_says(kind: str, version: str) -> None:
    kubernetes_validate.validate(KINDS[kind], version, strict=True)


def test_every_manifest_is_applied() -> None:
    found = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert found == set(KUSTOMIZATION["resources"])
    assert set(KINDS) == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service",
    }  # fmt: skip
    assert [image["name"] for image in KUSTOMIZATION["images"]] == [CONTAINER["image"]]


def test_all_mean_the_same_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    for selector in (
        KINDS["Deployment"]["spec"]["selector"]["matchLabels"],
        KINDS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        KINDS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        POD["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        KINDS["Service"]["spec"]["selector"],
    ):
        assert selector and selector.items() <= labels
    target = KINDS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", KINDS["Deployment"]["metadata"]["name"])
    assert "replicas" not in KINDS["Deployment"]["spec"], "it would undo what the autoscaler did"


def test_all_mean_the_same_port() -> None:
    (port,) = CONTAINER["ports"]
    assert f"RISK_PORT={port['containerPort']}" in DOCKERFILE
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    asked = [CONTAINER[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    asked += [each["targetPort"] for each in KINDS["Service"]["spec"]["ports"]]
    asked += [each["port"] for each in KINDS["NetworkPolicy"]["spec"]["ingress"][0]["ports"]]
    assert set(asked) == {port["name"]}


def test_the_configuration_is_one_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = KINDS["ConfigMap"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": configuration["metadata"]["name"]}}]
    settings = settings_of(configuration["data"], monkeypatch)
    scale = KINDS["HorizontalPodAutoscaler"]["spec"]
    assert settings.replicas == scale["minReplicas"] and settings.partitions >= scale["maxReplicas"]
    (secret,) = CONTAINER["env"]
    assert secret["name"] == "RISK_REDIS_URL" and "redis" not in str(configuration["data"])
    name, key = (secret["valueFrom"]["secretKeyRef"][word] for word in ("name", "key"))
    assert f"create secret generic {name} --from-literal={key}=" in README


def test_a_pod_has_the_time_that_its_end_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(KINDS["ConfigMap"]["data"], monkeypatch)
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["spec"]["terminationGracePeriodSeconds"] >= before + 2 * settings.drain_seconds + 10


def test_a_pod_may_do_nothing_but_its_work() -> None:
    """What the Pod Security Standard "restricted" asks, and more."""
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert CONTAINER["resources"]["requests"].keys() >= {"cpu", "memory"}, "without, the autoscaler knows no share"


# The service says so


@pytest.fixture(scope="module")
def service() -> Iterator[Replica]:
    with ServerProcess() as server:
        replica = Replica("one", {"RISK_REDIS_URL": server.url})
        try:
            replica.start().wait_until_ready()
            yield replica
        finally:
            replica.stop()


def test_the_probes_ask_for_what_there_is(service: Replica) -> None:
    paths = [CONTAINER[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    for path in (*paths, POD["metadata"]["annotations"]["prometheus.io/path"]):
        assert httpx.get(service.url + path).status_code == 200, path


def test_the_page_says_what_the_api_answers_and_which_metrics_there_are(service: Replica) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not on the PATH")
    send, look = (
        block.replace("http://127.0.0.1:8000", shlex.quote(service.url))
        for block in re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    )
    (promised,) = re.findall(r"^```json\n(.*?)\n```", README, re.M | re.S)
    again = send[send.index("curl") :]
    told = run("sh", "-ec", f"{send}\n{again}").stdout.split("HTTP/1.1 ")
    assert [each.splitlines()[0] for each in told[1:]] == ["201 Created", "201 Created"], told
    assert told[1].endswith(promised) and told[2].endswith(promised)
    assert ["idempotent-replayed: true" in each for each in told[1:]] == [False, True]
    answers = run("sh", "-ec", look).stdout
    assert answers.startswith(promised + '{"status":') and '"openapi"' in answers

    known = set(re.findall(r"riskscale_\w+", answers + (ROOT / "docs" / "metrics.md").read_text()))
    watched = set(re.findall(r"riskscale_\w+", README.partition("## What to watch")[2]))
    assert watched and watched <= known


def test_the_page_has_every_setting_with_its_default() -> None:
    said = [(name.strip("`"), default.strip("`")) for name, default, _ in rows("Settings")]
    assert said == [(f"RISK_{name.upper()}", plain(field)) for name, field in Settings.model_fields.items()]


def plain(field: Any) -> str:
    """A default as one would write it into the environment; none for what is found at the start."""
    if field.default_factory is not None or field.default is None:
        return ""
    return str(field.default).lower().removesuffix(".0")


def test_the_page_has_every_failure() -> None:
    known = [(types if isinstance(types, tuple) else (types,), failure) for types, failure in KNOWN]
    table = rows("How it fails")
    assert len(table) == len(known) + 1
    for (kind, status, title, raised, after), (types, failure) in zip(table, [*known, ((), UNKNOWN)], strict=True):
        assert (kind, int(status), title) == (f"`{failure.kind}`", failure.status, failure.title)
        names = [name.rsplit(".")[-1] for name in re.findall(r"`([\w.]+)`", raised)]
        assert names == [each.__name__ for each in types]
        assert (after == "1 s") == (failure.retry_after == SOON)


def test_its_links_lead_somewhere() -> None:
    assert all((EXAMPLE / link).exists() for link in re.findall(r"\]\(([\w/.]+)\)", README))
