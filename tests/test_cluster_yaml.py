import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]

SECRETS = {
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN",
    "a value of a secret": r"(?i)(secret|password|token|access_key)\w*\s*[:=]\s*['\"]?[A-Za-z0-9+/]{16,}",
    "a long random text": r"\b(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9+/]{32,}\b",
    "a hex digest": r"\b[0-9a-f]{32,}\b",
}


@pytest.fixture
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` sees it: with the provider's defaults filled in."""
    filled: dict[str, Any] = prepare_config(copy.deepcopy(cluster))
    return filled


def test_it_follows_the_schema_that_ray_ships(cluster: dict[str, Any]) -> None:
    schema = json.loads((Path(ray.autoscaler.__path__[0]) / "ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(cluster, schema)
    cluster["available_node_types"]["gpu"]["min_worker"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster, schema)


def test_it_passes_what_ray_up_checks_before_it_calls_the_cloud(prepared: dict[str, Any]) -> None:
    validate_config(prepared)


def test_gpu_workers_start_at_none_and_are_bounded(prepared: dict[str, Any]) -> None:
    types = prepared["available_node_types"]
    assert prepared["head_node_type"] == "head"
    assert types["head"]["resources"]["CPU"] == 0, "no work on the head"
    assert types["gpu"]["resources"]["GPU"] >= 1
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["max_workers"] > 0
    assert types["cpu"]["max_workers"] > 0
    assert "GPU" not in types["cpu"]["resources"]


def test_authentication_is_on_wherever_ray_starts(prepared: dict[str, Any]) -> None:
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in prepared[commands] if "ray start" in command]
        assert "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" in start
        assert start.index("RAY_AUTH_MODE") < start.index("ray start")
    assert ("/home/ubuntu/.ray/auth_token", "~/.ray/auth_token") in prepared["file_mounts"].items()


def test_nothing_but_ssh_is_reachable_from_outside(prepared: dict[str, Any]) -> None:
    (start,) = [command for command in prepared["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "IpPermissions" not in prepared["provider"].get("security_group", {})
    assert "0.0.0.0" not in json.dumps(prepared)  # noqa: S104


def test_machines_have_roles_instead_of_keys_and_encrypted_disks(prepared: dict[str, Any]) -> None:
    for name, node_type in prepared["available_node_types"].items():
        node = node_type["node_config"]
        assert node["IamInstanceProfile"]["Name"] == ("recsys-head" if name == "head" else "recsys-worker")
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert all(disk["Ebs"]["Encrypted"] for disk in node["BlockDeviceMappings"])


def test_the_nodes_install_the_package_with_the_pins(prepared: dict[str, Any]) -> None:
    assert any("-c configs/constraints.txt" in command for command in prepared["setup_commands"])
    assert not any(re.search(r"pip install(?!.*constraints)", command) for command in prepared["head_setup_commands"])


def test_nothing_in_it_looks_like_a_secret() -> None:
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    for what, pattern in SECRETS.items():
        assert not (found := re.search(pattern, text)), f"{what}: {found[0]}"
    assert not re.search(r"AWS_(SECRET_)?ACCESS_KEY|RAY_AUTH_TOKEN=", text)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "RAY_AUTH_TOKEN=" + "0a1b2c3d" * 8,
        "token: " + "Zm9vYmFyYmF6cXV4Zm9vYmFy",
        "-----BEGIN RSA",
    ],
)
def test_the_search_for_secrets_finds_them(secret: str) -> None:
    assert any(re.search(pattern, secret) for pattern in SECRETS.values())
