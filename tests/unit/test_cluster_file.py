"""The files that describe clusters, checked without a cloud: Ray's own schemas, and what Ray's checks leave out."""

from __future__ import annotations

import copy
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
AWS, GCP, KUBERAY = ROOT / "ray_cluster.yaml", ROOT / "cluster" / "gcp.yaml", ROOT / "cluster" / "kuberay.yaml"
CLOUDS = [pytest.param(AWS, id="aws"), pytest.param(GCP, id="gcp")]
FFCV_NEEDS = {"pkg-config", "libturbojpeg0-dev", "libjpeg-dev", "libopencv-dev"}

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's autoscaler


def config_of(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def accepted(config: Any) -> Any:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("file", CLOUDS)
def test_ray_accepts_it(file: Path) -> None:
    types = accepted(config_of(file))["available_node_types"]
    assert types["head"]["max_workers"] == 0


@pytest.mark.parametrize("file", CLOUDS)
@pytest.mark.parametrize("break_it", ["max_worker", "head_node_type", "resources"])
def test_the_check_can_fail(file: Path, break_it: str) -> None:
    config = config_of(file)
    if break_it == "max_worker":
        config["max_worker"] = 3
    elif break_it == "head_node_type":
        config["head_node_type"] = "nope"
    else:
        config["available_node_types"]["gpu_small_spot"]["resources"]["GPU"] = "one"
    with pytest.raises(Exception, match=r".+"):
        accepted(config)


@pytest.mark.parametrize("file", CLOUDS)
def test_what_ray_does_not_check(file: Path) -> None:
    config = config_of(file)
    types = config["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0, "the head runs no trials"
    assert len(types) == 4
    for name in set(types) - {"head"}:
        assert types[name]["min_workers"] == 0 < types[name]["max_workers"] <= config["max_workers"]
        assert is_spot(types[name]["node_config"]) == name.endswith("_spot")
    assert not is_spot(types["head"]["node_config"])
    assert 0 < config["idle_timeout_minutes"] <= 10


def is_spot(node: dict[str, Any]) -> bool:
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    scheduling = {k: v for part in node.get("scheduling", []) for k, v in part.items()}
    return market == "spot" or scheduling.get("provisioningModel") == "SPOT"


def test_the_machines_exist_as_botocore_knows_them() -> None:
    import botocore.session
    import botocore.validate

    model = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    known = set(model.members["InstanceType"].enum)

    def errors(node: dict[str, Any]) -> str:
        report = botocore.validate.ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **node}, model)
        return str(report.generate_report())

    for kind in config_of(AWS)["available_node_types"].values():
        assert errors(kind["node_config"]) == ""
        assert kind["node_config"]["InstanceType"] in known
    assert "InstanceTyp" in errors({"InstanceTyp": "g5.2xlarge"})


@pytest.mark.parametrize("file", CLOUDS)
def test_spot_first_and_on_demand_when_there_is_none(file: Path) -> None:
    types = accepted(config_of(file))["available_node_types"]

    def started(demands: list[dict[str, float]], refused: frozenset[str] = frozenset()) -> dict[str, int]:
        def scorer(node_resources: Any, resources: Any, node_type: str, *, node_availability_summary: Any) -> Any:
            if node_type in refused:
                return None
            return _default_utilization_scorer(
                node_resources, resources, node_type, node_availability_summary=node_availability_summary
            )

        from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary

        nodes, _ = get_nodes_for(
            types,
            {},
            "head",
            10,
            demands,
            lambda *a: scorer(*a, node_availability_summary=NodeAvailabilitySummary(node_availabilities={})),
        )
        return dict(nodes)

    assert started([{"CPU": 4, "GPU": 1}] * 2) == {"gpu_small_spot": 2}
    assert started([{"CPU": 2, "GPU": 0.25}] * 4) == {"gpu_small_spot": 1}, "four small cells share a GPU"
    assert started([{"CPU": 4, "GPU": 1}], frozenset({"gpu_small_spot"})) == {"gpu_small_on_demand": 1}
    assert started([{"CPU": 4, "GPU": 8}]) == {"gpu_large_spot": 1}


@pytest.mark.parametrize("file", [AWS, GCP, KUBERAY, ROOT / "Dockerfile"], ids=lambda file: file.name)
def test_there_is_no_secret_in_it(file: Path) -> None:
    text = file.read_text()
    assert not secrets_in(text)
    for broken in (
        text + "\n  - export AWS_SECRET_ACCESS_KEY=abc",
        text + "\n  - mlflow server --backend-store-uri postgresql://me:pw@host/db",
        text + "\n  key: AKIAIOSFODNN7EXAMPLE",
    ):
        assert secrets_in(broken)


def secrets_in(text: str) -> list[str]:
    rules = (
        r"AKIA[0-9A-Z]{16}",
        r"(?i)(password|secret_access_key|auth_token|api_key)\s*[=:]\s*[\"']?[A-Za-z0-9+]",
        r"://[^/\s:@]+:[^/\s@]+@",
        r"BEGIN [A-Z ]*PRIVATE KEY",
    )
    return [found.group() for rule in rules for found in re.finditer(rule, text)]


@pytest.mark.parametrize("file", CLOUDS)
def test_tokens_are_wanted_and_nothing_listens_to_others(file: Path) -> None:
    config = config_of(file)
    head, worker = ("\n".join(config[f"{kind}_start_ray_commands"]) for kind in ("head", "worker"))
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert config["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert "mlflow server --host 127.0.0.1" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in file.read_text()
    # drivers, which run on the head, find MLflow and the results without being told
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:5000" in head.split("ray start")[0]
    assert "INTERPLAY_STORAGE=/mnt/interplay/runs" in head.split("ray start")[0]
    assert "INTERPLAY_SPOT_NOTICE=" in worker.split("ray start")[0]
    assert "INTERPLAY_SCRATCH=" in worker.split("ray start")[0]


@pytest.mark.parametrize("file", CLOUDS)
def test_every_command_is_a_shell_command(file: Path) -> None:
    config = config_of(file)
    for key in (name for name in config if name.endswith("_commands")):
        for command in config[key]:
            done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{key}: {done.stderr}"


@pytest.mark.parametrize("file", CLOUDS)
def test_it_installs_what_ffcv_and_the_package_need(file: Path) -> None:
    config = config_of(file)
    assert set(shlex.split("\n".join(config["initialization_commands"]))) >= FFCV_NEEDS
    install = next(command for command in config["setup_commands"] if "constraints.txt" in command)
    assert shlex.split(install)[-1] == "$HOME/interplay-environment[platform,cloud]"


@pytest.mark.slow
@pytest.mark.parametrize("file", CLOUDS)
def test_a_job_without_the_c_extension_finds_that_of_its_node(file: Path, tmp_path: Path) -> None:
    """What the cluster file brings to a node can be installed there; a job's own code comes without the extension."""
    place, node, site = "/home/ubuntu/interplay-environment/", tmp_path / "node", tmp_path / "site"
    node.mkdir()
    for there, here in config_of(file)["file_mounts"].items():
        if there.startswith(place):
            copy = shutil.copytree if (ROOT / here).is_dir() else shutil.copy
            copy(ROOT / here, node / there.removeprefix(place))
    for leftover in node.rglob("*.so"):
        leftover.unlink()
    shutil.copytree(node / "platform", tmp_path / "job")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", site, node], check=True, capture_output=True)
    code = "from interplay import native; print(native.__file__); print(native._pixels.__file__)"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'job'}{os.pathsep}{site}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    python, extension = map(Path, done.stdout.split())
    assert python.is_relative_to(tmp_path / "job")
    assert extension.is_relative_to(site)


def test_the_image_installs_the_same() -> None:
    text = (ROOT / "Dockerfile").read_text()
    packages = re.search(r"--no-install-recommends((?:\s|\\|[\w+-])+?)&&", text)
    assert packages is not None
    assert set(packages[1].replace("\\", " ").split()) >= FFCV_NEEDS | {"g++", "wget"}
    code = re.search(r"python -c '(.+?)'", text)
    assert code is not None
    assert wanted(code[1].replace("pyproject.toml", str(ROOT / "pyproject.toml"))) == dependencies()
    for copied in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())


def wanted(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *optional["platform"], *optional["cloud"]]


def kuberay() -> tuple[Any, Any]:
    cluster, job = yaml.safe_load_all(KUBERAY.read_text())
    return cluster, job


def derived(cluster: Any) -> Any:
    """What Ray's autoscaler makes of a RayCluster, which is also its check of it."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    cluster = copy.deepcopy(cluster)
    cluster["metadata"]["namespace"] = "default"
    found = _derive_autoscaling_config_from_ray_cr(cluster)
    validate_config(found)
    return found


def test_rays_autoscaler_understands_the_kuberay_cluster() -> None:
    config = derived(kuberay()[0])
    types = config["available_node_types"]
    assert config["idle_timeout_minutes"] == 5
    head = types.pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0
    room = {
        name: (kind["min_workers"], kind["max_workers"], kind["resources"]["GPU"]) for name, kind in types.items()
    }
    from interplay.study.driving.room import parse_resources

    variables = kuberay()[0]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    told = parse_resources({one["name"]: one["value"] for one in variables}["INTERPLAY_GROWS_TO"])
    for name, amount in told.items():
        assert amount == sum(kind["max_workers"] * kind["resources"][name] for kind in types.values())
    assert room == {"gpu-small-spot": (0, 8, 1), "gpu-large-spot": (0, 2, 8), "gpu-small-on-demand": (0, 2, 1)}


@pytest.mark.parametrize("break_it", ["no head", "replicas", "gpu"])
def test_the_kuberay_check_can_fail(break_it: str) -> None:
    cluster, _ = kuberay()
    group = cluster["spec"]["workerGroupSpecs"][0]
    if break_it == "no head":
        del cluster["spec"]["headGroupSpec"]
    elif break_it == "replicas":
        group["maxReplicas"] = "many"
    else:
        group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "one"
    with pytest.raises(Exception, match=r".+"):
        derived(cluster)


def test_the_kuberay_pods_fit_together() -> None:
    cluster, job = kuberay()
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert job["spec"]["clusterSelector"]["ray.io/cluster"] == cluster["metadata"]["name"]
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            assert container["image"] == "REGISTRY/interplay:0.1.0"
            assert container["resources"]["limits"] == container["resources"]["requests"]
    for group in spec["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        spot = "cloud.google.com/gke-spot" in pod["nodeSelector"]
        assert spot == group["groupName"].endswith("-spot")
        (container,) = pod["containers"]
        notice = {variable["name"]: variable["value"] for variable in container["env"]}["INTERPLAY_SPOT_NOTICE"]
        assert notice in container["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_the_kuberay_job_is_a_study() -> None:
    from interplay.cli import main
    from interplay.cluster.jobs import study_command

    command = study_command(kuberay()[1]["spec"]["entrypoint"])
    assert command is not None
    assert command.study == "reg1"
    words = shlex.split(kuberay()[1]["spec"]["entrypoint"])[3:]
    search = main.commands[words[0]]
    assert search.make_context("search", words[1:], resilient_parsing=True).params["gpus"] == 1.0
