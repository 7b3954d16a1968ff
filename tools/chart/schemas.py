#!/usr/bin/env python3
"""Makes JSON Schemas, one a kind, from the API description that each version of Kubernetes has in its sources, and from definitions of kinds.

    tools/chart/schemas.py INTO SWAGGER [CRD...]

They are named and strict as kubeconform wants them with -schema-location 'INTO/{{.ResourceKind}}{{.KindSuffix}}.json'.
"""
import json
import pathlib
import sys

import yaml

ROOT = "#/definitions/"
# What an API server takes besides what the description says.
WIDER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}


def strict(schema):
    """The same, in which an object with fields has no others."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    free = "additionalProperties" in out or out.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(out.get("properties"), dict) and out.get("type") == "object" and not free:
        out["additionalProperties"] = False
    if out.get("x-kubernetes-int-or-string"):
        out["type"] = ["string", "integer"]
    if out.pop("nullable", False) and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def needed(schema, definitions, found):
    """The names of definitions that a schema refers to, through others, too."""
    if isinstance(schema, list):
        for item in schema:
            needed(item, definitions, found)
    elif isinstance(schema, dict):
        reference = schema.get("$ref")  # a field may have that name, too
        name = reference[len(ROOT):] if isinstance(reference, str) else None
        if name and name not in found:
            found.add(name)
            needed(definitions[name], definitions, found)
        for value in schema.values():
            needed(value, definitions, found)
    return found


def file_of(group, version, kind):
    """The group's first label stands in kubeconform's names."""
    parts = [kind.lower()] + ([group.split(".")[0]] if group else []) + [version]
    return "-".join(parts) + ".json"


def write(into, kind, schema):
    schema["properties"]["apiVersion"] = {"const": "/".join(filter(None, (kind["group"], kind["version"])))}
    schema["properties"]["kind"] = {"const": kind["kind"]}
    schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
    (into / file_of(**kind)).write_text(json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **schema}))


def main():
    into = pathlib.Path(sys.argv[1])
    definitions = json.loads(pathlib.Path(sys.argv[2]).read_text())["definitions"]
    definitions = {name: WIDER.get(name) or strict(schema) for name, schema in definitions.items()}
    for schema in list(definitions.values()):
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1 and "metadata" in schema.get("properties", {}):
            schema = json.loads(json.dumps(schema))
            schema["definitions"] = {name: definitions[name] for name in needed(schema, definitions, set())}
            write(into, kinds[0], schema)
    for path in sys.argv[3:]:
        spec = yaml.safe_load(pathlib.Path(path).read_text())["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            write(into, {"group": spec["group"], "version": version["name"], "kind": spec["names"]["kind"]}, schema)


main()
