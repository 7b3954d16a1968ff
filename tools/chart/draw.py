#!/usr/bin/env python3
"""Draws the chart's dashboards with the data of a Prometheus, so that somebody can look at them without a Grafana.

    tools/chart/draw.py CHART PROMETHEUS INTO [MINUTES]

PROMETHEUS is the address of one that has scraped an installation, such as http://127.0.0.1:9090. INTO gets a page for each dashboard and, where there is a
chromium, a picture of it. Prints the panels that have no data. Variables stand for everything.
"""
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request

STEPS = 120
COLUMN, ROW = 60, 32  # pixels of a cell of the grid
COLOURS = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]
UNITS = {"s": "s", "ops": "/s", "reqps": " req/s", "Bps": " B/s", "bytes": " B", "percent": " %", "percentunit": "", "short": ""}


def ask(server, query, begin, end):
    """Series of a query: [(labels, [(time, value)])]."""
    query = query.replace("$__rate_interval", "1m").replace('"$namespace"', '".*"').replace('"$pod"', '".*"')
    arguments = urllib.parse.urlencode({"query": query, "start": begin, "end": end, "step": (end - begin) / STEPS})
    with urllib.request.urlopen(f"{server}/api/v1/query_range?{arguments}", timeout=30) as answer:
        result = json.load(answer)["data"]["result"]
    return [(one["metric"], [(float(t), float(v)) for t, v in one["values"] if v not in ("NaN", "+Inf", "-Inf")]) for one in result]


def legend(text, labels):
    if text == "__auto":
        return ", ".join(f"{k}={v}" for k, v in labels.items()) or "value"
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text)


def number(value, unit):
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {prefix}{UNITS.get(unit, '').strip()}"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g}{UNITS.get(unit, '')}"


def lines(series, unit, width, height, begin, end):
    top = max([v for _, values in series for _, v in values] + [1e-9]) * 1.05
    left, below = 62, 18
    out = [f'<svg width="{width}" height="{height}">']
    for i in range(5):
        y = (height - below) * (1 - i / 4.2)
        out.append(f'<line x1="{left}" x2="{width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#333"/>'
                   f'<text x="{left - 4}" y="{y + 4:.0f}" text-anchor="end">{html.escape(number(top * i / 4.2, unit))}</text>')
    for i in range(1, 5):
        x = left + (width - left) * i / 5
        out.append(f'<text x="{x:.0f}" y="{height - 3}">{time.strftime("%H:%M", time.gmtime(begin + (end - begin) * i / 5))}</text>')
    for i, (_, values) in enumerate(series):
        points = " ".join(f"{left + (t - begin) / (end - begin) * (width - left):.1f},{(height - below) * (1 - v / top):.1f}" for t, v in values)
        out.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="1.5"/>')
    return "".join(out) + "</svg>"


def panel(server, spec, begin, end):
    """A panel as HTML, and whether there was data."""
    at, unit = spec["gridPos"], spec["fieldConfig"]["defaults"]["unit"]
    series = [(legend(target["legendFormat"], labels), values) for target in spec["targets"]
              for labels, values in ask(server, target["expr"], begin, end) if values]
    width, height = at["w"] * COLUMN - 24, at["h"] * ROW - 14
    if spec["type"] == "stat":
        body = "".join(f'<span class="stat">{html.escape(number(values[-1][1], unit))}<small> {html.escape(name) if len(series) > 1 else ""}</small></span>'
                       for name, values in series)
    else:
        body = lines(series, unit, width, height - 62, begin, end) + "<div class=legend>" + "".join(
            f'<span style="color:{COLOURS[i % len(COLOURS)]}">&#9473; {html.escape(name)}</span> ' for i, (name, _) in enumerate(series)) + "</div>"
    if not series:
        body = "<i>no data</i>"
    style = f"left:{at['x'] * COLUMN}px;top:{at['y'] * ROW}px;width:{width}px;height:{height}px"
    return (f'<div class=panel style="{style}"><b title="{html.escape(spec["description"])}">{html.escape(spec["title"])}</b>{body}</div>', bool(series))


def page(server, board, begin, end):
    parts, empty, bottom = [], [], 0
    for spec in board["panels"]:
        at = spec["gridPos"]
        bottom = max(bottom, (at["y"] + at["h"]) * ROW)
        if spec["type"] == "row":
            parts.append(f'<h2 style="top:{at["y"] * ROW}px">{html.escape(spec["title"])}</h2>')
            continue
        text, filled = panel(server, spec, begin, end)
        parts.append(text)
        if not filled:
            empty.append(spec["title"])
    style = ("body{background:#111;color:#ddd;font:12px sans-serif;margin:0;position:relative}text{fill:#999;font-size:10px}.panel{position:absolute;"
             "background:#1a1a1e;margin:3px;padding:6px;overflow:hidden}.panel b{display:block;margin-bottom:4px}.stat{font-size:30px;margin-right:18px}"
             "small{font-size:12px}h2{position:absolute;margin:8px 4px;font-size:14px}.legend{line-height:1.3}.legend span{margin-right:10px}")
    return f'<!doctype html><meta charset=utf-8><title>{html.escape(board["title"])}</title><style>{style}</style>{"".join(parts)}', empty, bottom


def main():
    chart, server, into = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    end = time.time()
    begin = end - 60 * float(sys.argv[4] if len(sys.argv) > 4 else 30)
    into.mkdir(parents=True, exist_ok=True)
    browser = shutil.which("chromium")
    for path in sorted((chart / "files/dashboards").glob("*.json")):
        text, empty, bottom = page(server, json.loads(path.read_text(encoding="utf-8")), begin, end)
        drawn = into / f"{path.stem}.html"
        drawn.write_text(text, encoding="utf-8")
        for title in empty:
            print(f"{path.stem}: no data: {title}")
        if browser:
            subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size=1446,{bottom + 20}",
                            f"--screenshot={into / path.stem}.png", drawn.resolve().as_uri()], check=True, capture_output=True)


main()
