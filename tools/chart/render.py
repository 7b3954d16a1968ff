#!/usr/bin/env python3
"""Renders the chart in many ways, and says what is wrong with it.

    tools/chart/render.py HELM CHART FOLDER [KUBECONFIG]

Each value of the chart must change the output, and its words and numbers must stand in what is new (tools/chart/changes.yaml has another value
for each). The same values give the same output twice, and so do values that are absent. The manual's values and commands are taken. Values that
cannot be together (tests/refusals_test.yaml of the chart) are refused with a sentence that names them. With a KUBECONFIG, its API server must take
every object of every rendering, strictly. FOLDER gets the renderings that differ, a file each.
"""
import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import yaml

HERE = pathlib.Path(__file__).parent
HELM, CHART, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
KUBECONFIG = sys.argv[4] if len(sys.argv) > 4 else None
# Kinds that only an operator brings into a cluster.
FOREIGN = ("monitoring.coreos.com/", "keda.sh/", "autoscaling.k8s.io/", "cert-manager.io/")


def nested(flat):
    """{"a.b": 1} as {"a": {"b": 1}}."""
    out = {}
    for path, value in flat.items():
        *folders, last = path.split(".")
        at = out
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = value
    return out


@functools.cache
def render(text):
    """What helm makes of these values (JSON, by path), and what it says if it refuses them."""
    return render_again(json.loads(text))


def render_again(flat, version=None, chart=CHART, arguments=()):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        yaml.safe_dump(nested(flat), values)
        values.flush()
        done = subprocess.run([HELM, "template", "rel", str(chart), "-n", "default", "-f", values.name, *arguments]
                              + (["--kube-version", version] if version else []),
                              capture_output=True, text=True, check=False)
    return (done.stdout, None) if done.returncode == 0 else (None, done.stderr.strip())


def leaves(schema, path=()):
    """The paths of all values that have a default."""
    for name, below in schema["properties"].items():
        if "properties" in below:
            yield from leaves(below, path + (name,))
        elif name != "global":
            yield ".".join(path + (name,))


def accepted(renderings):
    """Complaints of the API server about the objects of all renderings. Most of them are in many, and are asked about once."""
    objects = {}
    for what, text in renderings.items():
        for thing in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if thing and not thing["apiVersion"].startswith(FOREIGN):
                if thing["kind"] not in ("ClusterRole", "ClusterRoleBinding", "IngressClass"):
                    thing["metadata"]["namespace"] = "default"
                objects.setdefault(json.dumps(thing), what)

    def ask(items):
        listing = '{"apiVersion": "v1", "kind": "List", "items": [%s]}' % ", ".join(items)
        done = subprocess.run(["kubectl", "--kubeconfig", KUBECONFIG, "create", "--dry-run=server", "--validate=strict", "-f", "-"],
                              input=listing, capture_output=True, text=True, check=False)
        return [] if done.returncode == 0 else done.stderr.strip().splitlines()

    items = list(objects)
    print(f"{len(items)} objects that differ")
    for first in range(0, len(items), 100):
        if ask(items[first:first + 100]):
            for item in items[first:first + 100]:  # which of them
                yield from (f"{objects[item]}: {line}" for line in ask([item]))


def annotations():
    """What the chart says about itself to a catalogue must be so."""
    notes = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    images = {f"{i['repository']}:{i['tag'] or version}" for i in (values["controller"]["image"], values["haproxy"]["image"])}
    if images != {i["image"] for i in yaml.safe_load(notes["artifacthub.io/images"])}:
        yield f"Chart.yaml: artifacthub.io/images are not {images}"
    kinds = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "crds").glob("*.yaml"))]
    wanted = [(k["metadata"]["name"], k["spec"]["names"]["kind"], v["name"]) for k in kinds for v in k["spec"]["versions"]]
    if wanted != [(k["name"], k["kind"], k["version"]) for k in yaml.safe_load(notes["artifacthub.io/crds"])]:
        yield f"Chart.yaml: artifacthub.io/crds are not {wanted}"


def rights(output):
    """The manual names each kind of object that the roles of this rendering let the controller use."""
    table = (HERE.parents[1] / "docs/installation.md").read_text().split("\n## Rights\n")[1].split("\n## ")[0].lower()
    rules = [rule for thing in yaml.safe_load_all(output) if thing and thing["kind"] in ("Role", "ClusterRole") for rule in thing["rules"]]
    named = {name.split("/")[0] for rule in rules for name in rule["resources"]}
    if len(named) < 8:
        yield f"the roles name {sorted(named)} only"
    yield from (f"docs/installation.md: {name} are not in the table of rights" for name in sorted(named) if name.removesuffix("s") not in table)


def words(value):
    """The texts and numbers in a value."""
    if isinstance(value, (dict, list)):
        return [one for below in (value.values() if isinstance(value, dict) else value) for one in words(below)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def not_shown(change, before, after):
    """Words of the new value that do not stand in the lines that it adds."""
    old = set(before.splitlines())
    added = "\n".join(line for line in after.splitlines() if line not in old)
    return [word for word in change.get("shows", words(change["to"])) if word not in added]


def marks():
    """Each object has the common labels and annotations, and so have pods; none is a hook. Every switch of the chart is on in one of the forms."""
    changes = yaml.safe_load((HERE / "changes.yaml").read_text())
    common = {"commonLabels": {"team": "web"}, "commonAnnotations": {"team": "web"}}
    kinds = set()
    for path, change in changes.items():
        if change["to"] is not True and path != "controller.rbac.namespaces":
            continue
        output, _ = render_again({**change.get("with", {}), **change.get("beside", {}), path: change["to"], **common})
        for thing in filter(None, yaml.load_all(output, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            kinds.add(thing["kind"])
            pod = thing["spec"]["template"]["metadata"] if thing["kind"] in ("Deployment", "DaemonSet") else thing["metadata"]
            for metadata in (thing["metadata"], pod):
                for what in ("labels", "annotations"):
                    if metadata.get(what, {}).get("team") != "web":
                        yield f"{path}: {thing['kind']} {thing['metadata']['name']} has not the common {what}"
                if any(name.startswith("helm.sh/hook") for name in metadata.get("annotations", {})):
                    yield f"{path}: {thing['kind']} {thing['metadata']['name']} is a hook"
    if len(kinds) < 20:
        yield f"the forms have {sorted(kinds)} only"


def manual():
    """The values and the commands of the manual are taken, and change something."""
    plain, found = render_again({})[0], 0
    for page in ("docs/installation.md", "docs/getting-started.md", "docs/operations/monitoring.md"):
        text = (HERE.parents[1] / page).read_text()
        cases = [(block, yaml.safe_load(block), ()) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M)]
        cases += [(line, {}, shlex.split(line.replace("\\\n", " ")))
                  for line in re.findall(r"^ *helm install \S+ charts/haptic((?:.*\\\n)*.*)", text, re.M)]
        for shown, values, arguments in cases:
            found += 1
            output, refusal = render_again(values, arguments=arguments)
            if output is None or output == plain:
                yield f"{page}: {shown.strip()}: {refusal or 'changes nothing'}"
    if found < 8:
        yield f"only {found} values and commands were found in the manual"


def refusals():
    """Values that cannot be together are refused, by a sentence that names them; and no sentence of the templates is there for nothing."""
    said = []
    for case in yaml.safe_load((CHART / "tests/refusals_test.yaml").read_text())["tests"]:
        versions = case.get("capabilities")
        output, refusal = render_again(case["set"], versions and f"v{versions['majorVersion']}.{versions['minorVersion']}.0")
        if output is not None:
            yield f"{case['it']}: not refused"
            continue
        said.append(refusal)
        for path in case["it"].split(", "):
            if (path.split(".")[-1] if "specifications of the schema" in refusal else path) not in refusal:
                yield f"{case['it']}: refused with '{refusal}', which does not name {path}"
    _, refusal = render_again({"haproxy.agent.nativeSidecar": False}, "v1.26.0")
    if "incompatible with Kubernetes v1.26.0" not in str(refusal):
        yield f"Kubernetes 1.26 is not refused: {refusal}"
    for path in sorted((CHART / "templates").iterdir()):
        for text in re.findall(r'\bfail \(?(?:printf )?"((?:[^"\\]|\\.)+)"', path.read_text()):
            sentence = ".+".join(re.escape(part) for part in re.split("%[sd]", text.replace('\\"', '"')))
            if not any(re.search(sentence, refusal) for refusal in said):
                yield f"{path.name}: no test of refusals_test.yaml comes to the sentence '{text}'"


def main():
    changes = yaml.safe_load((HERE / "changes.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    wrong, renderings = [], {}
    known = set(leaves(schema))
    wrong += [f"{path}: tools/chart/changes.yaml has no other value for it" for path in sorted(known - set(changes))]
    wrong += [f"{path}: tools/chart/changes.yaml has it, values.yaml does not" for path in sorted(set(changes) - known)]
    for path, change in changes.items():
        both = change.get("with", {})
        other = {**both, **change.get("beside", {}), path: change["to"]}
        for text, values in ((f"{path}: the default", both), (f"{path}: {change['to']!r}", other)):
            output, refusal = render(json.dumps(values))
            if output is None:
                wrong.append(f"{text} is refused: {refusal}")
            renderings[text] = output
        before, after = list(renderings.values())[-2:]
        if before is not None and before == after:
            wrong.append(f"{path}: another value changes nothing")
        elif before is not None and after is not None:
            wrong += [f"{path}: '{word}' is not in what the other value changes" for word in not_shown(change, before, after)]
    if render_again({}) != render_again({}):
        wrong.append("the same values do not always give the same output")
    if render_again({name: None for name in schema["properties"] if name != "global"}) != render_again({}):
        wrong.append("values that are absent are not what values.yaml says")
    wrong += annotations()
    wrong += rights(render_again({})[0])
    wrong += sorted(set(marks()))
    wrong += manual()
    wrong += refusals()
    different = {output: what for what, output in renderings.items() if output is not None}
    for number, output in enumerate(different):
        (FOLDER / f"{number}.yaml").write_text(output)
    if KUBECONFIG:
        wrong += accepted({what: output for output, what in different.items()})
    for line in wrong:
        print(line)
    print(f"{len(changes)} values, {len(renderings)} renderings, {len(wrong)} complaints")
    return 1 if wrong else 0


sys.exit(main())
