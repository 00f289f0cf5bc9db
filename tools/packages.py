"""Checks of what is packaged, for scripts/packages-check: packages.py chart|compose."""

import pathlib
import re
import sys

import compose_spec
import helm_python
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "packaging/helm/calldata-gateway"
# The oldest and the newest Kubernetes that the chart is checked for.
KUBERNETES = ["1.25", "1.37"]
VALUES = {
    "default": {},
    "one instance": {"replicas": 1, "metrics": {"enabled": False}},
    "everything": {
        "replicas": 5,
        "image": {"repository": "images.example:5000/calldata", "tag": "1.2.3", "pullPolicy": "Always"},
        "existingSecret": "another",
        "settings": {
            "CALLDATA_LOG": 'info,calldata="debug"',
            "CALLDATA_DRAIN_S": 15,
            "CALLDATA_NO_MIGRATE": True,
            "CALLDATA_MAX_BODY_BYTES": 10485760,
            "CALLDATA_TRUSTED_PROXY": "10.0.0.0/8,fd00::/8",
        },
        "service": {"type": "NodePort", "port": 80},
        "metrics": {"enabled": True, "port": 9191, "podMonitor": True},
        "resources": {},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "calls", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "calldata-gateway"}},
                        "topologyKey": "kubernetes.io/hostname",
                    }
                ]
            }
        },
    },
}


def need(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"packages.py: {what}")


def known_settings() -> set[str]:
    return set(re.findall(r"`(CALLDATA_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))


def image_user() -> str:
    recipe = (ROOT / "packaging/container/Containerfile").read_text()
    return re.findall(r"^USER (.*)$", recipe, re.MULTILINE)[-1]


def rendered(values: dict) -> dict[str, dict]:
    """The objects, by kind."""
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="demo", namespace="calls").values()
    objects = [thing for text in texts for thing in yaml.safe_load_all(text) if thing]
    kinds = {thing["kind"]: thing for thing in objects}
    need(len(kinds) == len(objects), "two objects of one kind")
    return kinds


def checked(name: str, values: dict) -> list[str]:
    kinds = rendered(values)
    for kind, thing in kinds.items():
        # The monitor is the Prometheus operator's, and has no schema in Kubernetes.
        if kind != "PodMonitor":
            for version in KUBERNETES:
                kubernetes_validate.validate(thing, version, strict=True)
    deployment, service = kinds["Deployment"], kinds["Service"]
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    container = pod["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    named = [port["targetPort"] for port in service["spec"]["ports"]]
    for kind in ["PodDisruptionBudget", "PodMonitor"]:
        if kind in kinds:
            selectors.append(kinds[kind]["spec"]["selector"]["matchLabels"])
    if "PodMonitor" in kinds:
        named += [endpoint["port"] for endpoint in kinds["PodMonitor"]["spec"]["podMetricsEndpoints"]]
    named += [container[probe]["httpGet"]["port"] for probe in ["livenessProbe", "readinessProbe"]]
    for selector in selectors:
        need(selector.items() <= labels.items(), f"{name}: {selector} does not select the pods")
    for port in named:
        need(port in ports, f"{name}: no port is called {port}")
    unknown = {variable["name"] for variable in container["env"]} - known_settings()
    need(not unknown, f"{name}: no such settings: {unknown}")
    need(all(isinstance(variable["value"], str) for variable in container["env"]), f"{name}: a setting is not text")
    user = pod["spec"]["securityContext"]
    need(f"{user['runAsUser']}:{user['runAsGroup']}" == image_user(), f"{name}: the image is of another user")
    return sorted(kinds)


def chart() -> None:
    linted = helm_python.lint(str(CHART))
    messages = [f"{message['path']}: {message['error']}" for message in linted["messages"] if message["severity"] > 1]
    need(not messages and not linted["errors"], f"helm lint: {messages} {linted['errors']}")
    found = {name: checked(name, values) for name, values in VALUES.items()}
    need(found["one instance"] == ["Deployment", "Service"], "one instance needs no budget")
    need(len(found["everything"]) == 4, f"something is not rendered: {found['everything']}")
    default = rendered({})["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    need(default.endswith(f":{version}"), f"the chart runs {default}, the program is {version}")
    # What is wrong has to be noticed, or the checks above say nothing.
    wrong = rendered({})["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    try:
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)
    except kubernetes_validate.ValidationError:
        pass
    else:
        need(False, "the schemas take anything")
    print(f"Helm {helm_python.helm_sdk_version()}: lint, {len(VALUES)} sets of values, schemas of Kubernetes {' and '.join(KUBERNETES)}")


def compose() -> None:
    text = (ROOT / "packaging/container/compose.yaml").read_text()
    parsed = compose_spec.PyCompose.from_yaml(text)
    parsed.validate()
    try:
        compose_spec.PyCompose.from_yaml(text.replace("read_only:", "read_onli:"))
    except ValueError:
        pass
    else:
        need(False, "the compose specification takes anything")
    services = yaml.safe_load(text)["services"]
    unknown = {name for name in services["gateway"]["environment"] if name.startswith("CALLDATA_")} - known_settings()
    need(not unknown, f"compose.yaml: no such settings: {unknown}")
    build = services["gateway"]["build"]
    context = (ROOT / "packaging/container" / build["context"]).resolve()
    need((context / build["dockerfile"]).is_file(), "compose.yaml: the recipe is not where it says")
    print(f"compose specification: {', '.join(parsed.service_names())}")


if __name__ == "__main__":
    {"chart": chart, "compose": compose}[sys.argv[1]]()
