#!/usr/bin/env python3
"""Looks in renderings of the chart for objects that lead to nothing, or to too much.

    tools/chart/targets.py FOLDER

What scales a workload names one that is there. The selector of a Service, a disruption budget, a network policy and a
monitor fits the pods of one workload and no other's. A Service's port is one that a container of these pods has. An
admission webhook has a Service. No two containers of a pod have one port.
"""
import pathlib
import sys

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
found, counts = [], {}


def fits(selector, labels):
    """Do labels fit a selector? Only matchLabels is used in the chart."""
    return all(labels.get(key) == value for key, value in selector.items())


def selector_of(one):
    """What pods an object selects by labels, or None."""
    spec = one.get("spec", {})
    if one["kind"] == "Service":
        return spec.get("selector")
    if one["kind"] in ("PodDisruptionBudget", "PodMonitor"):
        return spec["selector"].get("matchLabels", {})
    if one["kind"] == "NetworkPolicy":
        return spec["podSelector"].get("matchLabels", {})
    return None


def check(name, documents):
    def say(one, words):
        found.append(f"{name}: {one['kind']} {one['metadata']['name']} {words}")

    workloads = [one for one in documents if one["kind"] in WORKLOADS]
    services = [one for one in documents if one["kind"] == "Service"]
    for one in workloads:
        ports = [(p.get("protocol", "TCP"), p["containerPort"])
                 for c in one["spec"]["template"]["spec"]["containers"] for p in c.get("ports", [])]
        if len(ports) != len(set(ports)):
            say(one, f"has a port twice: {sorted(ports)}")
        if not fits(one["spec"]["selector"]["matchLabels"], one["spec"]["template"]["metadata"]["labels"]):
            say(one, "does not select its own pods")
    for one in documents:
        target = one.get("spec", {}).get("scaleTargetRef") or one.get("spec", {}).get("targetRef")
        if isinstance(target, dict) and target.get("kind") in WORKLOADS:
            counts["target"] = counts.get("target", 0) + 1
            if not any(w["kind"] == target["kind"] and w["metadata"]["name"] == target["name"] for w in workloads):
                say(one, f"names {target['kind']} {target['name']}, which is not there")
        selector = selector_of(one)
        if selector is not None:
            counts[one["kind"]] = counts.get(one["kind"], 0) + 1
            chosen = [w for w in workloads if fits(selector, w["spec"]["template"]["metadata"]["labels"])]
            if len(chosen) != 1:
                say(one, f"selects the pods of {[w['metadata']['name'] for w in chosen]}, not of one workload")
            elif one["kind"] == "Service":
                containers = chosen[0]["spec"]["template"]["spec"]["containers"]
                names = {p.get("name") for c in containers for p in c.get("ports", [])}
                numbers = {p["containerPort"] for c in containers for p in c.get("ports", [])}
                for port in one["spec"]["ports"]:
                    to = port.get("targetPort", port["port"])
                    if to not in names and to not in numbers:
                        say(one, f"leads to the port {to}, which no container of {chosen[0]['metadata']['name']} has")
        if one["kind"] == "ServiceMonitor":
            counts["ServiceMonitor"] = counts.get("ServiceMonitor", 0) + 1
            labels = one["spec"]["selector"].get("matchLabels", {})
            if not any(fits(labels, s["metadata"].get("labels", {})) for s in services):
                say(one, "selects no Service")
        for webhook in one.get("webhooks", []) if one["kind"].endswith("WebhookConfiguration") else []:
            service = webhook["clientConfig"].get("service", {}).get("name")
            if not any(s["metadata"]["name"] == service for s in services):
                say(one, f"asks the Service {service}, which is not there")


files = sorted(pathlib.Path(sys.argv[1]).glob("*.yaml"))
for file in files:
    check(file.stem, [one for one in yaml.load_all(file.read_text(), Loader) if one])
for kind in ("target", "Service", "PodDisruptionBudget", "NetworkPolicy"):
    if not counts.get(kind):
        found.append(f"no rendering has a {kind}")
for line in found[:20]:
    print(line, file=sys.stderr)
print(f"targets: {len(files)} renderings, {sum(counts.values())} references, {len(found)} complaints")
sys.exit(1 if found else 0)
