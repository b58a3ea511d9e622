"""Manifests: core kinds and every pod of the Ray kinds against Kubernetes' own schemas, Ray kinds against what KubeRay demands of them.

Kustomize itself is not run here; what it is asked to do (a list of files, a namespace, names of images) is compared with the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")

FOLDER = Path(__file__).parents[2] / "deploy" / "kuberay"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
OBJECTS: list[dict[str, Any]] = [item for path in FILES for item in yaml.safe_load_all(path.read_text())]
RAY = [item for item in OBJECTS if item["apiVersion"].startswith("ray.io/")]
CORE = [item for item in OBJECTS if item not in RAY]
#: fields of the CRDs that these manifests use; the operator drops, without a word, what it does not know
CLUSTER_FIELDS = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
HEAD_FIELDS = {"rayStartParams", "template", "serviceType", "headService", "resources", "labels"}
WORKER_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "numOfHosts", "resources", "labels"}
JOB_FIELDS = {"clusterSelector", "entrypoint", "backoffLimit", "submitterPodTemplate", "submissionMode", "runtimeEnvYAML"}


def name_of(item: dict[str, Any]) -> str:
    return f"{item['kind']}/{item['metadata'].get('name', item['metadata'].get('generateName'))}"


def templates(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template of an object, with where it stands."""
    spec, kind = item.get("spec", {}), item["kind"]
    if kind == "RayCluster":
        yield "head", spec["headGroupSpec"]["template"]
        yield from ((group["groupName"], group["template"]) for group in spec["workerGroupSpecs"])
    elif kind == "RayJob":
        yield "submitter", spec["submitterPodTemplate"]
    elif kind == "Deployment":
        yield item["metadata"]["name"], spec["template"]


PODS = [pytest.param(where, template, id=f"{name_of(item)}-{where}") for item in OBJECTS for where, template in templates(item)]


def validate(item: dict[str, Any]) -> None:
    kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("item", CORE, ids=name_of)
def test_core_kinds(item: dict[str, Any]) -> None:
    validate(item)


@pytest.mark.parametrize(("where", "template"), PODS)
def test_pods(where: str, template: dict[str, Any]) -> None:
    wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": where}, "template": template}
    validate(wrapped)
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrapped | {"template": {"spec": template["spec"] | {"container": []}}})


@pytest.mark.parametrize(("where", "template"), PODS)
def test_no_pod_has_more_than_it_needs(where: str, template: dict[str, Any]) -> None:
    spec = template["spec"]
    assert spec["serviceAccountName"] == "dvcp" and spec["automountServiceAccountToken"] is False
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] > 0 and security["seccompProfile"] == {"type": "RuntimeDefault"}
    written = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and {"cpu", "memory"} <= set(container["resources"]["limits"])
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        # What the image's variables point at must be writable where the root file system is not.
        assert {mounts[path]["name"] for path in ("/tmp", "/var/lib/dvcp")} <= written
        assert mounts.get("/sources", {"readOnly": True})["readOnly"] is True
        assert {mount["name"] for mount in mounts.values()} <= {volume["name"] for volume in spec["volumes"]}
        for variable in container.get("env", []):
            secret = re.search(r"KEY|SECRET|TOKEN|PASSWORD", variable["name"])
            assert not secret or "secretKeyRef" in variable["valueFrom"], f"{variable['name']} of {where}"
    assert not any("secretName" in str(volume) or "hostPath" in volume for volume in spec["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_no_secret_is_made_here() -> None:
    assert not [name_of(item) for item in OBJECTS if item["kind"] == "Secret"]


def test_ray_cluster() -> None:
    (cluster,) = (item for item in RAY if item["kind"] == "RayCluster")
    spec = cluster["spec"]
    assert cluster["apiVersion"] == "ray.io/v1" and len(cluster["metadata"]["name"]) <= 50
    assert set(spec) <= CLUSTER_FIELDS and set(spec["headGroupSpec"]) <= HEAD_FIELDS
    # Authentication by token is refused below 2.52 and without a version.
    assert spec["rayVersion"] == version("ray") and spec["authOptions"] == {"mode": "token"}
    groups = spec["workerGroupSpecs"]
    assert [g["groupName"] for g in groups] == ["cpu", "propagators", "matchers"]
    for group in groups:
        assert set(group) <= WORKER_FIELDS and {"groupName", "minReplicas", "maxReplicas", "template"} <= set(group)
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        wanted = group["groupName"] != "cpu"
        assert ("nvidia.com/gpu" in container["resources"]["limits"], container["image"] == "dvcp-cuda") == (wanted, wanted)
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0", "what runs on the head can take the cluster down"


def test_start_parameters_are_options_of_ray_start() -> None:
    from ray.scripts.scripts import start

    known = {option.removeprefix("--") for parameter in start.params for option in parameter.opts}
    (cluster,) = (item for item in RAY if item["kind"] == "RayCluster")
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        given = group["rayStartParams"]
        assert set(given) <= known and all(isinstance(value, str) for value in given.values())


def test_ray_job() -> None:
    (cluster,) = (item for item in RAY if item["kind"] == "RayCluster")
    (job,) = (item for item in RAY if item["kind"] == "RayJob")
    spec = job["spec"]
    assert set(spec) <= JOB_FIELDS
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assert spec["backoffLimit"] == 0, "the operator refuses retries on a cluster that is there already"
    assert spec["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"


def test_the_night_by_hand_is_a_command_of_dvcp() -> None:
    from typer.main import get_command

    from dvcp.cli import app

    (job,) = (item for item in RAY if item["kind"] == "RayJob")
    program, name, *arguments = job["spec"]["entrypoint"].split()
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert program == "dvcp" and command.make_context(name, arguments).params["address"] == "auto"


def test_names_agree() -> None:
    (cluster,) = (item for item in RAY if item["kind"] == "RayCluster")
    (worker,) = (item for item in CORE if item["kind"] == "Deployment")
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    # The operator names the head's service and the token's Secret after the cluster.
    assert variables["RAY_ADDRESS"]["value"] == f"{cluster['metadata']['name']}-head-svc:6379"
    assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": cluster["metadata"]["name"], "key": "auth_token"}
    claims = {item["metadata"]["name"] for item in CORE if item["kind"] == "PersistentVolumeClaim"}
    for _, template in (pair for item in OBJECTS for pair in templates(item)):
        wanted = {v["persistentVolumeClaim"]["claimName"] for v in template["spec"]["volumes"] if "persistentVolumeClaim" in v}
        assert wanted <= claims


def test_network() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in CORE if item["kind"] == "NetworkPolicy"}
    nothing = policies.pop("nothing")
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, "what no other policy allows is denied"
    labels = [template["metadata"]["labels"] for item in OBJECTS for _, template in templates(item)]
    for name, policy in policies.items():
        wanted = policy["podSelector"]["matchLabels"]
        # KubeRay itself labels the head.
        assert wanted == {"ray.io/node-type": "head"} or any(wanted.items() <= have.items() for have in labels), f"{name} means no pod"
        assert policy.get("ingress") or policy.get("egress")
        rules = [*policy.get("ingress", []), *policy.get("egress", [])]
        assert all(rule.get("from") or rule.get("to") for rule in rules), f"{name} is open to all"


def test_kustomization_has_every_file() -> None:
    data = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert set(data["resources"]) == {path.name for path in FILES} - {"rayjob.yaml"}
    used = {c["image"] for item in OBJECTS for where, t in templates(item) if where != "submitter" for c in t["spec"]["containers"]}
    assert used == {image["name"] for image in data["images"]}
    (namespace,) = (item for item in CORE if item["kind"] == "Namespace")
    assert data["namespace"] == namespace["metadata"]["name"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
