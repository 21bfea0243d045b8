"""What an operator applies as shipped: `ray up`'s files, the Dockerfile, the manifests of Kubernetes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.cli import _parser
from pipeline.plan import check_memory, make_plan
from pipeline.run.executors.node_types import VARIABLE, node_types
from pipeline.store import Store
from pipeline.verbs import verb

ROOT = Path(__file__).parents[1]
CLUSTERS = ("cluster.yaml", "cluster-gcp.yaml")
RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def cluster(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


def manifest(name: str) -> dict:
    return next(yaml.safe_load_all((ROOT / "deploy" / name).read_text()))


def part(name: str, kind: str) -> dict:
    """One of the things that a file of several makes."""
    return next(one for one in yaml.safe_load_all((ROOT / "deploy" / name).read_text()) if one["kind"] == kind)


def round_job() -> dict:
    """The RayJob that the weekly CronJob creates."""
    return yaml.safe_load(part("rescale.yaml", "ConfigMap")["data"]["rayjob.yaml"])


def cluster_spec(name: str) -> dict:
    """Of a cluster that stays, or of one that a job brings."""
    made = round_job() if name == "rescale.yaml" else manifest(name)
    spec = made["spec"].get("jobTemplate", made["spec"])
    return spec.get("rayClusterSpec", spec)


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_accepts_the_cluster_file(name):
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    filled = fillout_defaults(cluster(name))
    validate_config({"cluster_synced_files": [], **filled})
    head = filled["available_node_types"][filled["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0}, "no cell is trained on the head"
    assert any("--dashboard-host=127.0.0.1" in command for command in filled["head_start_ray_commands"])
    assert filled["setup_commands"] == filled["head_setup_commands"] == [], "Ray's own would install another Ray"
    assert filled["docker"]["image"] == "REGISTRY/unsl:latest"


def test_every_node_on_aws_has_an_image_and_may_write_checkpoints():
    """Ray's own default image is too old, and it gives workers no profile."""
    for name, node in cluster("cluster.yaml")["available_node_types"].items():
        assert node["node_config"]["ImageId"].startswith("ami-"), name
        assert node["node_config"]["IamInstanceProfile"], name
        assert node["node_config"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100, "the image alone takes 20 GB"


def test_every_node_on_google_cloud_has_an_account():
    for name, node in cluster("cluster-gcp.yaml")["available_node_types"].items():
        assert node["node_config"]["serviceAccounts"][0]["scopes"], name


@pytest.mark.parametrize("name", CLUSTERS)
def test_auto_knows_the_gpus_that_may_come(name, monkeypatch, tmp_path):
    """With none up: the file that `ray up` leaves on the head says so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "ray_bootstrap_config.yaml").write_text((ROOT / name).read_text())
    (gpu,) = node_types()
    assert (gpu.cpus, gpu.gpus, gpu.most) == (8, 1, 16)


def test_the_image_has_the_ray_and_the_python_that_are_pinned():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (base,) = (line for line in lines if line.startswith("FROM"))
    version, python, _ = base.split(":")[1].split("-")
    assert version == RAY
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert least == ">=3.11" and python == "py311"
    assert any("libqt5gui5" in line for line in lines)
    assert any("-c constraints.txt -e '.[s3,gcs]'" in line for line in lines)


FIELDS = {
    "RayJob": {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "submitterConfig"}
    | {"rayClusterSpec", "activeDeadlineSeconds", "submissionMode", "runtimeEnvYAML", "suspend", "clusterSelector"},
    "RayCluster": {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"},
    # All that there is: no concurrencyPolicy, no history limits.
    "RayCronJob": {"schedule", "timeZone", "suspend", "jobTemplate"},
    "autoscaler": {"version", "idleTimeoutSeconds", "upscalingMode", "resources", "env", "image"},
    "head": {"rayStartParams", "serviceType", "template", "headService", "labels", "resources"},
    "worker": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "numOfHosts"},
}
"""Fields of KubeRay's ray.io/v1 resources that may be used here: an unknown one would be refused, or dropped unsaid.
All four manifests also passed the whole schemas of KubeRay's CRDs of August 2026, which weigh 3 MB."""


WITH_A_CLUSTER = ["rayjob.yaml", "raycluster.yaml", "rescale.yaml", "raycronjob.yaml"]


@pytest.mark.parametrize("name", WITH_A_CLUSTER)
def test_manifests_use_fields_that_kuberay_knows(name):
    made = round_job() if name == "rescale.yaml" else manifest(name)
    assert made["apiVersion"] == "ray.io/v1"
    assert made["spec"].keys() <= FIELDS[made["kind"]]
    assert made["spec"].get("jobTemplate", {}).keys() <= FIELDS["RayJob"]
    of_cluster = cluster_spec(name)
    assert of_cluster.keys() <= FIELDS["RayCluster"]
    assert of_cluster["autoscalerOptions"].keys() <= FIELDS["autoscaler"]
    assert of_cluster["headGroupSpec"].keys() <= FIELDS["head"]
    assert of_cluster["rayVersion"] == RAY
    assert of_cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in of_cluster["workerGroupSpecs"]:
        assert group.keys() <= FIELDS["worker"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@pytest.mark.parametrize("name", WITH_A_CLUSTER)
def test_pods_have_the_store_and_the_head_knows_the_workers(name, monkeypatch):
    of_cluster = cluster_spec(name)
    (head,) = of_cluster["headGroupSpec"]["template"]["spec"]["containers"]
    (group,) = of_cluster["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    secret = manifest("secrets.yaml")
    for container in (head, worker):
        assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
        assert container["image"] == "REGISTRY/unsl:latest"
    assert {"UNSL_STORE", "WANDB_API_KEY"} < secret["stringData"].keys()
    monkeypatch.setenv(VARIABLE, next(one["value"] for one in head["env"] if one["name"] == VARIABLE))
    (gpu,) = node_types()
    limits = worker["resources"]["limits"]
    assert (gpu.cpus, gpu.gpus) == (float(limits["cpu"]), float(limits["nvidia.com/gpu"]))
    assert (gpu.most, group["minReplicas"]) == (group["maxReplicas"], 0)


def commands() -> list[str]:
    """Every `unsl` command that the manifests and the README's page for operators use."""
    (container,) = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    found = [manifest("rayjob.yaml")["spec"]["entrypoint"], *container["args"][0].split(" && ")]
    found += [round_job()["spec"]["entrypoint"], manifest("raycronjob.yaml")["spec"]["jobTemplate"]["entrypoint"]]
    page = (ROOT / "README.md").read_text().split("## On a cluster")[1].split("\n## ")[0]
    return found + re.findall(r"(?:-- |^)(unsl [^#\n]+?)\s*(?:#.*)?$", page, re.MULTILINE)


def test_commands_are_ones_that_unsl_takes(tmp_path):
    """On the GPUs that the cluster files bring, too: an A10G and an L4 have equal memory."""
    found = commands()
    assert len(found) > 5
    for command in found:
        words = shlex.split(command)[1:]
        options = _parser(words).parse_args(words)
        study = verb.load_study(options.study, options.tier)
        assert study.cells
        if options.tier in ("gpu", "paper"):
            assert study.device == "gpu", "or a cluster of GPUs that are not up yet would train it on a CPU"
            made = make_plan(study, Store(str(tmp_path), study.name), "a10g")
            check_memory(study, made.to_run(retry_failed=True), made.device)


def test_the_cron_job_waits_for_nobody_and_leaves_its_exit_code():
    spec = manifest("cronjob.yaml")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"][:4] == ["ray", "job", "submit", "--"]
    assert json.dumps(container["env"]).count("http://unsl-head-svc:8265") == 1
    assert manifest("raycluster.yaml")["metadata"]["name"] == "unsl", "KubeRay names the head's service after it"


def test_a_round_is_a_job_with_a_cluster_of_its_own_that_goes():
    for spec in (round_job()["spec"], manifest("raycronjob.yaml")["spec"]["jobTemplate"]):
        assert spec["shutdownAfterJobFinishes"] and spec["ttlSecondsAfterFinished"] > 0
        assert spec["backoffLimit"] == spec["submitterConfig"]["backoffLimit"] == 0
        assert "--every" in spec["entrypoint"], "or a stroke that comes twice begins two rounds"


def test_the_weekly_cron_job_may_create_its_ray_job_and_waits_for_it():
    job = part("rescale.yaml", "CronJob")["spec"]
    assert job["concurrencyPolicy"] == "Forbid" and job["jobTemplate"]["spec"]["backoffLimit"] == 0
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    role, binding = part("rescale.yaml", "Role"), part("rescale.yaml", "RoleBinding")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    account = part("rescale.yaml", "ServiceAccount")["metadata"]["name"]
    assert pod["serviceAccountName"] == account == binding["subjects"][0]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (volume,), (container,) = pod["volumes"], pod["containers"]
    assert volume["configMap"]["name"] == part("rescale.yaml", "ConfigMap")["metadata"]["name"]
    assert container["volumeMounts"][0]["mountPath"] == "/round" and "/round/rayjob.yaml" in container["args"][0]
    assert "generateName" in round_job()["metadata"], "a fixed name would be there already"


@pytest.mark.parametrize("statuses, code", [(["", "Running", "Complete"], 0), (["Initializing", "Failed"], 1)])
def test_the_pod_ends_as_its_round_does(statuses, code, tmp_path):
    """Its own script, with a kubectl that tells one status after another."""
    (container,) = part("rescale.yaml", "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    for number, status in enumerate(statuses):
        (tmp_path / str(number)).write_text(status)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        "#!/bin/sh\ncd $(dirname $0)\n"
        "[ $1 = create ] && { echo rayjob.ray.io/unsl-round-x; exit; }\n"
        "[ $2 = rayjob.ray.io/unsl-round-x ] || exit 9\n"
        "first=$(ls | grep '^[0-9]*$' | head -1); cat $first; rm $first\n"
    )
    kubectl.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run([*container["command"], container["args"][0]], env={"PATH": path}, timeout=30)
    assert done.returncode == code
