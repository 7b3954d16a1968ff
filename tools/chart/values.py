#!/usr/bin/env python3
"""Makes the chart's README.md, values.schema.json and files/defaults.json from its values.yaml.

    tools/chart/values.py CHART            writes them
    tools/chart/values.py CHART --check    says which of them is not up to date; exit code 1 then

In values.yaml a comment "# -- text" above a key describes it; further comment lines continue the text. A comment "# @schema {...}" adds
to the JSON Schema that follows from the default: with "type" in it the default's own structure is not looked into.
"""
import json
import pathlib
import re
import sys

import yaml

BEGIN = "<!-- The table is made by tools/chart/values.py from values.yaml. -->"
END = "<!-- end of the table -->"


def comments_of(lines, number):
    """The description and the schema that stand above line NUMBER (from 0)."""
    block = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        block.insert(0, lines[number].strip()[1:].strip())
    text, schema = [], {}
    for line in block:
        if line.startswith("@schema "):
            schema = json.loads(line[len("@schema "):])
        elif line.startswith("-- "):
            text = [line[3:]]
        elif text:
            text.append(line)
    return " ".join(text), schema


def type_of(value):
    for kind, name in ((bool, "boolean"), (int, "integer"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    raise SystemExit(f"values.yaml: a value of type {type(value).__name__} has no place in a schema")


def read(node, lines, path, rows):
    """The schema of a mapping node; adds a row (path, default, text) for each value to ROWS."""
    properties = {}
    for key_node, value_node in node.value:
        key, value = key_node.value, yaml.safe_load(yaml.serialize(value_node))
        where = path + [key]
        text, extra = comments_of(lines, key_node.start_mark.line)
        if isinstance(value, dict) and value and "type" not in extra:
            if text:
                rows.append((where, None, text))
            schema = read(value_node, lines, where, rows)
        else:
            if not text:
                raise SystemExit(f"values.yaml:{key_node.start_mark.line + 1}: {'.'.join(where)} has no description (# -- ...)")
            rows.append((where, value, text))
            schema = {"type": type_of(value), "default": value}
        if text:
            schema["description"] = text
        schema.update(extra)
        properties[key] = schema
    return {"type": "object", "additionalProperties": False, "properties": properties}


def table(rows):
    out = ["| value | default | |", "| --- | --- | --- |"]
    for where, value, text in rows:
        default = "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"
        if len(default) > 60:
            default = "see `values.yaml`"
        out.append(f"| `{'.'.join(where)}` | {default} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(out)


def main():
    chart = pathlib.Path(sys.argv[1])
    source = (chart / "values.yaml").read_text(encoding="utf-8")
    rows = []
    schema = read(yaml.compose(source), source.splitlines(), [], rows)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart", **schema}
    # What Helm itself hands down to a chart.
    schema["properties"]["global"] = {"type": "object", "description": "of a chart that this one is a part of; not used"}
    readme = (chart / "README.md").read_text(encoding="utf-8")
    parts = re.split(f"{re.escape(BEGIN)}.*{re.escape(END)}", readme, flags=re.S)
    if len(parts) != 2:
        raise SystemExit(f"README.md: the lines '{BEGIN}' and '{END}' mark where the table stands")
    made = {
        "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        "files/defaults.json": json.dumps({".".join(where): value for where, value, _ in rows if value is not None},
                                          indent=1, ensure_ascii=False) + "\n",
        "README.md": f"{parts[0]}{BEGIN}\n\n{table(rows)}\n\n{END}{parts[1]}",
    }
    stale = [name for name, text in made.items()
             if not (chart / name).exists() or (chart / name).read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv[2:]:
        for name in stale:
            (chart / name).write_text(made[name], encoding="utf-8")
    elif stale:
        raise SystemExit(f"not up to date with values.yaml: {', '.join(stale)}; run tools/chart/values.py {chart}")


main()
