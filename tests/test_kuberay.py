"""The manifests for KubeRay: their fields, and that they say what the configs and the commands of here say."""

import copy
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from jobs import nightly
from jobs.start_service import deploy_file
from recsys.serving.auth import ENVIRONMENT_VARIABLE, Keys, new_key
from recsys.serving.haproxy_launcher import MAX_IN_FLIGHT_VARIABLE, haproxy_environment
from recsys.settings import Config, load_config
from tests.test_cluster_yaml import SECRETS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs" / "kuberay"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
#: Where the repository lies in the image.
IN_IMAGE = "/home/ray/recsys/"


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = read((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


SCHEMA = read((ROOT / "tests" / "kuberay_schema.yaml").read_text(encoding="utf-8"))


def cluster(loaded: dict[str, Any]) -> dict[str, Any]:
    spec = loaded["spec"].get("jobTemplate", loaded["spec"])
    found: dict[str, Any] = spec.get("rayClusterConfig") or spec["rayClusterSpec"]
    return found


def pods(loaded: dict[str, Any]) -> Iterator[dict[str, Any]]:
    groups = cluster(loaded)
    for group in (groups["headGroupSpec"], *groups["workerGroupSpecs"]):
        yield group["template"]["spec"]


def containers(loaded: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for pod in pods(loaded):
        yield from pod["containers"]


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Secret recsys-storage sets it."""
    monkeypatch.setenv("RECSYS_BUCKET", "shop")


@pytest.fixture
def served() -> tuple[dict[str, Any], Config]:
    """The Serve application of the manifest, and the config that it asks for."""
    declared = read(manifest("rayservice")["spec"]["serveConfigV2"])
    (application,) = declared["applications"]
    path = application["args"]["config"]
    assert path.startswith(IN_IMAGE)
    return declared, load_config(ROOT / path.removeprefix(IN_IMAGE), application["args"]["set"])


def test_there_is_one_of_each_kind() -> None:
    kinds = {path.stem: manifest(path.stem)["kind"] for path in MANIFESTS}
    assert kinds == {"rayservice": "RayService", "rayjob": "RayJob", "raycronjob": "RayCronJob"}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_it_has_no_field_that_kuberay_does_not_know(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(manifest(path.stem), SCHEMA)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "rayClusterConfig", "enableInTreeAutoscalin"), True),
        (("spec", "rayClusterConfig", "authOptions", "mode"), "tokn"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "maxReplicas"), "3"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "groupName"), "Rank Workers"),
        (("spec", "rayClusterConfig", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers"), []),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "serviceAcount"), "recsys"),
        (("spec", "jobTemplate"), {}),
        (("kind",), "RayCronJob"),
    ],
)
def test_a_field_that_is_wrong_is_found(place: tuple[Any, ...], value: Any) -> None:
    wrong = copy.deepcopy(manifest("rayservice"))
    *parents, last = place
    where: Any = wrong
    for key in parents:
        where = where[key]
    where[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


@pytest.mark.parametrize("memory", ["8 GB", "8GiB", "lots", True])
def test_an_amount_that_kubernetes_cannot_read_is_found(memory: Any) -> None:
    wrong = copy.deepcopy(manifest("rayservice"))
    next(containers(wrong))["resources"]["limits"]["memory"] = memory
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_the_service_is_what_serve_writes(served: tuple[dict[str, Any], Config]) -> None:
    declared, config = served
    arguments = declared["applications"][0]["args"]
    assert declared == read(deploy_file(config, arguments["config"], arguments["set"]))


def test_the_service_is_reached_from_outside_and_asks_for_a_key(served: tuple[dict[str, Any], Config]) -> None:
    _, config = served
    loaded = manifest("rayservice")
    assert config.serve.host == "0.0.0.0"  # noqa: S104
    assert config.serve.keys_file is not None
    for pod in pods(loaded):
        (container,) = pod["containers"]
        (key,) = [entry for entry in container["env"] if entry["name"] == ENVIRONMENT_VARIABLE]
        assert "optional" not in key["valueFrom"]["secretKeyRef"], "without keys it must not start"
        (mount,) = container["volumeMounts"]
        assert str(Path(config.serve.keys_file).parent) == mount["mountPath"]
        (volume,) = pod["volumes"]
        assert (volume["name"], volume["secret"]["optional"]) == (mount["name"], True)
        assert {"name": "serve", "containerPort": config.serve.port} in container["ports"]


def test_haproxy_has_the_limit_of_the_replicas(served: tuple[dict[str, Any], Config]) -> None:
    _, config = served
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for pod in pods(manifest("rayservice")):
        (container,) = pod["containers"]
        values = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert values["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert Path(values["RAY_SERVE_HAPROXY_BINARY_PATH"]).name in declared
        assert values[MAX_IN_FLIGHT_VARIABLE] == str(config.serve.max_queued)
        here = haproxy_environment("127.0.0.1", config.serve.max_queued)
        for name in ("RAY_SERVE_HAPROXY_RETRY_ON", "RAY_SERVE_HAPROXY_RETRIES", "RAY_SERVE_HAPROXY_METRICS_ENABLED"):
            assert values[name] == here.get(name, values[name])  # other systems than Linux have no HAProxy


def test_keys_of_the_secret_do_without_the_second_one(tmp_path: Path) -> None:
    """What the optional mount relies on: the file may be missing where the variable is set."""
    _, line = new_key("shop")
    keys = Keys.load(tmp_path / "keys.yaml", {ENVIRONMENT_VARIABLE: line})
    assert (keys.are_needed, keys.names) == (True, ("shop",))


def test_the_replicas_fit_into_the_workers(served: tuple[dict[str, Any], Config]) -> None:
    _, config = served
    (group,) = cluster(manifest("rayservice"))["workerGroupSpecs"]
    cpus = int(group["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    in_a_pod = cpus // config.serve.cpus_per_replica
    assert group["minReplicas"] * in_a_pod >= config.serve.replicas
    assert config.serve.max_replicas is not None
    assert group["maxReplicas"] * in_a_pod >= config.serve.max_replicas


def test_the_nightly_job_is_that_of_one_night() -> None:
    assert manifest("raycronjob")["spec"]["jobTemplate"] == manifest("rayjob")["spec"]


def test_the_night_is_the_command_of_here() -> None:
    command, script, *options = shlex.split(manifest("rayjob")["spec"]["entrypoint"])
    assert (command, script) == ("python", f"{IN_IMAGE}jobs/nightly.py")
    assert Path(nightly.__file__) == ROOT / "jobs" / "nightly.py"
    flag, path, *when = options
    assert when == ["--date", "yesterday"], "at night, today has hardly begun"
    assert flag == "--config"
    assert load_config(ROOT / path.removeprefix(IN_IMAGE)).storage == "s3://shop/warehouse"


def test_the_night_has_the_machines_that_its_config_asks_for() -> None:
    config = load_config(ROOT / "configs" / "nightly.yaml")
    groups = {group["groupName"]: group for group in cluster(manifest("rayjob"))["workerGroupSpecs"]}
    limits = groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert groups["gpu"]["minReplicas"] == 0
    gpus = groups["gpu"]["maxReplicas"] * int(limits["nvidia.com/gpu"])
    assert config.train.use_gpu
    assert gpus >= max(config.train.num_workers, config.encoder.num_workers, config.recommend.num_workers)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_machines_are_alike_and_guarded(path: Path) -> None:
    loaded = manifest(path.stem)
    assert cluster(loaded)["authOptions"] == {"mode": "token"}
    assert cluster(loaded)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "no work on the head"
    for group in cluster(loaded)["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pod in pods(loaded):
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["image"] == "registry.example.com/recsys:0.2.0"
            assert container["envFrom"] == [{"secretRef": {"name": "recsys-storage"}}]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = container["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"], "else Ray counts what is not there"


def test_the_image_holds_no_data_of_the_machine_that_built_it() -> None:
    """The Dockerfile copies the whole folder, where a warehouse with histories of users may lie."""
    ignored, left_out = (
        [line.rstrip("/") for line in (ROOT / name).read_text(encoding="utf-8").split("\n") if line]
        for name in (".gitignore", ".dockerignore")
    )
    assert {".git", *(f"**/{name}" for name in ignored)} <= set(left_out)


def test_the_image_has_the_pinned_ray_where_the_manifests_look() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    pins = (ROOT / "configs" / "constraints.txt").read_text(encoding="utf-8")
    version = re.search(r"^ray==(\S+)$", pins, re.MULTILINE)
    assert version is not None
    assert f"FROM rayproject/ray:{version[1]}-py311\n" in dockerfile
    assert f"WORKDIR {IN_IMAGE.rstrip('/')}\n" in dockerfile
    assert {cluster(manifest(path.stem))["rayVersion"] for path in MANIFESTS} == {version[1]}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_nothing_in_it_looks_like_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for what, pattern in SECRETS.items():
        assert not (found := re.search(pattern, text)), f"{what}: {found[0]}"
