"""KUBERAY_CRDS: a folder with ray.io_rayclusters.yaml and ray.io_rayjobs.yaml of KubeRay 1.7."""

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

KUBERAY = Path(__file__).parents[3] / "cluster/kuberay"
KINDS = {"raycluster.yaml": "RayCluster", "rayjob.yaml": "RayJob"}
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERAY / name).read_text())


def pods() -> list[dict[str, Any]]:
    """Return the specification of each kind of pod, the head's first, then the submitter's."""
    job = read("rayjob.yaml")["spec"]
    cluster = job["rayClusterSpec"]
    templates = [cluster["headGroupSpec"]["template"], job["submitterPodTemplate"]]
    templates += [group["template"] for group in cluster["workerGroupSpecs"]]
    return [template["spec"] for template in templates]


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_manifest_is_of_its_kind(name: str, kind: str):
    manifest = read(name)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    assert manifest["metadata"]["name"]


def test_a_run_of_its_own_does_not_take_the_service_of_a_cluster_that_stays():
    """KubeRay names the head's service after the RayJob, or after the RayCluster."""
    run, cluster = (read(name)["metadata"]["name"] for name in ("rayjob.yaml", "raycluster.yaml"))
    text = KUBERAY.with_name("README.md").read_text()
    assert run != cluster
    assert set(re.findall("service/([a-z-]+)", text)) == {f"{cluster}-head-svc"}
    assert set(re.findall("job/([a-z-]+)", text)) == {run}


def test_a_run_of_its_own_has_the_same_cluster_as_one_that_stays():
    assert read("rayjob.yaml")["spec"]["rayClusterSpec"] == read("raycluster.yaml")["spec"]


def test_the_cluster_has_the_ray_that_is_pinned():
    assert read("raycluster.yaml")["spec"]["rayVersion"] == version("ray")


def test_tokens_are_asked_for_and_the_cluster_grows_by_the_second_autoscaler():
    cluster = read("raycluster.yaml")["spec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"


def test_no_work_lands_on_the_head():
    head = read("raycluster.yaml")["spec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_spot_nodes_come_first_and_may_be_spot():
    spot, on_demand = read("raycluster.yaml")["spec"]["workerGroupSpecs"]
    assert spot["priority"] > on_demand.get("priority", 0)
    selector = "karpenter.sh/capacity-type"
    assert spot["template"]["spec"]["nodeSelector"] == {selector: "spot"}
    tolerated = {toleration["key"] for toleration in spot["template"]["spec"]["tolerations"]}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= tolerated


def test_a_worker_has_longer_to_end_than_ray_takes_and_the_head_longer_still():
    head, _, *workers = pods()
    for pod in (head, *workers):
        (container,) = pod["containers"]
        (drain_s,) = [float(each["value"]) for each in container["env"] if each["name"] == DRAIN]
        assert pod["terminationGracePeriodSeconds"] >= drain_s + 30 > 60
    assert head["terminationGracePeriodSeconds"] > max(
        worker["terminationGracePeriodSeconds"] for worker in workers
    )


def test_nobody_is_root_and_nobody_may_become_it():
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 1000
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_each_container_asks_for_what_it_needs_and_each_worker_for_a_gpu():
    for pod in pods():
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    _, _, *workers = pods()
    for worker in workers:
        (container,) = worker["containers"]
        gpus = [container["resources"][kind]["nvidia.com/gpu"] for kind in ("requests", "limits")]
        assert gpus == [1, 1]


def test_credentials_are_references_to_a_secret():
    for pod in pods():
        for container in pod["containers"]:
            for variable in container.get("env", []):
                if re.search("KEY|TOKEN|PASSWORD", variable["name"]):
                    assert set(variable) == {"name", "valueFrom"}
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}
    assert not any(read(path.name)["kind"] == "Secret" for path in KUBERAY.iterdir())


def stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path) -> list[list[str]]:
    """Return what runs on the cluster when KubeRay submits the job."""
    pod, head, submitted, ran = (tmp_path / name for name in ("pod", "head", "submitted", "ran"))
    # As in KubeRay's ray-operator/controllers/ray/common/job.go.
    entrypoint = read("rayjob.yaml")["spec"]["entrypoint"].strip()
    line = f"if ! ray job status ID ; then ray job submit --no-wait -- {entrypoint} ; fi"
    stub(pod, "ray", f'test "$2" = submit && shift 4 && printf "%s\\0" "$@" > {submitted}')
    for name in ("python", "selfseg"):
        stub(pod, name, f'echo "{name} $*" >> {tmp_path}/in_the_pod')
        stub(head, name, f'echo "{name} $*" >> {ran}')
    run_with(pod, ["bash", "-ce", "--", line])
    # As `ray job submit` joins the words, and the head runs them.
    words = submitted.read_text().split("\0")[:-1]
    run_with(head, ["sh", "-c", subprocess.list2cmdline(words)])
    return [line.split() for line in ran.read_text().splitlines()]


def run_with(folder: Path, command: list[str]) -> None:
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run(command, env={"PATH": path}, check=True, timeout=20)


def test_the_cluster_waits_for_nodes_and_trains_and_the_submitters_pod_does_neither(
    commands: list[list[str]], tmp_path: Path
):
    assert not (tmp_path / "in_the_pod").exists()
    assert [words[:2] for words in commands] == [
        ["python", "cluster/await_nodes.py"],
        ["selfseg", "train"],
    ]


def test_a_job_that_is_tried_again_goes_on_with_the_same_run(commands: list[list[str]]):
    job = read("rayjob.yaml")["spec"]
    _, words = commands
    assert re.fullmatch(r"s3://[\w/]+", words[words.index("--run") + 1])
    assert job["backoffLimit"] > 0


def test_a_job_waits_for_as_many_workers_as_it_trains_with_and_the_cluster_may_have(
    commands: list[list[str]],
):
    job = read("rayjob.yaml")["spec"]
    (_, _, awaited, *_), words = commands
    assert awaited == words[words.index("--workers") + 1]
    assert all(
        int(awaited) <= group["maxReplicas"] for group in job["rayClusterSpec"]["workerGroupSpecs"]
    )


def test_all_texts_ask_for_the_kuberay_that_first_knew_the_priority_of_a_group():
    texts = [KUBERAY.with_name("README.md"), *(KUBERAY / name for name in KINDS)]
    asked = [re.findall(r"KubeRay (\S+) or newer", path.read_text()) for path in texts]
    assert asked == [["1.7"]] * len(texts)


@pytest.mark.skipif("KUBERAY_CRDS" not in os.environ, reason="KUBERAY_CRDS: no folder of CRDs")
@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kuberays_own_schema_accepts_the_manifest(name: str, kind: str):
    path = Path(os.environ["KUBERAY_CRDS"], f"ray.io_{kind.lower()}s.yaml")
    versions = yaml.load(path.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1"]
    jsonschema.validate(read(name), closed(schema))


def closed(schema: Any) -> Any:
    """Return the schema with unknown fields refused: Kubernetes drops them, with a warning.

    "int-or-string" is Kubernetes' own: such a field has no type, so it stays open.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        is_open = (
            "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema
        )
        inner |= {} if is_open else {"additionalProperties": False}
    return inner
