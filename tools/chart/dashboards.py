#!/usr/bin/env python3
"""Makes the chart's Grafana dashboards, charts/haptic/files/dashboards/*.json, from the panels below.

    tools/chart/dashboards.py CHART            writes them
    tools/chart/dashboards.py CHART --check    says which of them is not up to date; exit code 1 then

A panel is (title, kind, what it says, unit, {legend: query}). `$filter` in a query stands for the labels that the variables choose.
"""
import json
import pathlib
import sys

FILTER = {
    "controller": 'namespace=~"$namespace", pod=~"$pod"',
    "haproxy": 'namespace=~"$namespace", pod=~"$pod"',
}
#: Where the variables get their values from.
SOURCE = {"controller": "haptic_ready", "haproxy": "haproxy_process_start_time_seconds"}
TITLE = {"controller": "HAPTIC / Controller", "haproxy": "HAPTIC / HAProxy"}

STAT, GRAPH = "stat", "timeseries"


def quantiles(metric):
    """Median and 99th percentile of a histogram."""
    return {
        name: f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{$filter}}[$__rate_interval])))"
        for name, q in (("median", 0.5), ("p99", 0.99))
    }


def rate(metric, by, more=""):
    return {"{{%s}}" % by: f"sum by ({by}) (rate({metric}{{$filter{more}}}[$__rate_interval]))"}


DASHBOARDS = {
    "controller": [
        ("Now", [
            ("Ready replicas", STAT, "Replicas whose /readyz is ok.", "short", {"": "sum(haptic_ready{$filter})"}),
            ("Leaders", STAT, "One is right. None: nothing is deployed.", "short", {"": "sum(haptic_leader_election_is_leader{$filter})"}),
            ("Configuration in force", STAT, "0: the newest configuration is refused, waits, or cannot be read.", "short",
             {"": "min(haptic_config_in_force{$filter})"}),
            ("HAProxy pods level", STAT, "Pods that serve the accepted configuration, of all pods.", "short",
             {"level": "max(haptic_members_verified{$filter})", "all": "max(haptic_members{$filter})"}),
            ("Quarantined", STAT, "Fragments that HAProxy refuses. Their last accepted output serves.", "short",
             {"": "max(haptic_quarantined_objects{$filter})"}),
            ("Failing templates", STAT, "Fragments whose template fails. Their last accepted output serves.", "short",
             {"": "max(haptic_failed_objects{$filter})"}),
            ("Warned owners", STAT, "Fragments that tell their owner about a problem.", "short", {"": "max(haptic_warned_objects{$filter})"}),
            ("Certificates that need somebody", STAT, "They end within 14 days, have ended, or cannot be used.", "short",
             {"": 'max(sum by (pod) (haptic_certificates{$filter, state=~"soon|ended|unusable"}))'}),
        ]),
        ("Changes", [
            ("From the watch to HAProxy's answer", GRAPH, "What a change costs inside the controller.", "s", quantiles("haptic_reconciliation_duration_seconds")),
            ("Rendering", GRAPH, "One rendering, in the renderer.", "s", quantiles("haptic_render_duration_seconds")),
            ("Check by HAProxy", GRAPH, "One run of haproxy -c over the whole configuration.", "s", quantiles("haptic_validation_duration_seconds")),
            ("Deployment", GRAPH, "One deployment with its proof.", "s", quantiles("haptic_deployment_duration_seconds")),
            ("Reloads", GRAPH, "By reason. Most changes need none: docs/reloads.md.", "short",
             {"{{reason}}": "sum by (reason) (increase(haptic_reloads_total{$filter}[$__rate_interval]))"}),
            ("Runtime operations", GRAPH, "Commands that changed something in HAProxy without a reload.", "ops", rate("haptic_runtime_operations_total", "type")),
            ("A reload waits", GRAPH, "How long the waiting reload has to wait.", "s", {"{{pod}}": "max by (pod) (haptic_reload_wait_seconds{$filter})"}),
            ("Failed deployments and surprises", GRAPH, "", "ops",
             {**rate("haptic_deployment_errors_total", "reason"), **rate("haptic_deployment_surprises_total", "kind"),
              "drift {{kind}}": "sum by (kind) (rate(haptic_drift_repairs_total{$filter}[$__rate_interval]))"}),
        ]),
        ("HAProxy pods", [
            ("Pods that are behind", GRAPH, "", "short",
             # Only who leads asks them.
             {"behind": "max(haptic_members{$filter} - haptic_members_verified{$filter} and haptic_leader_election_is_leader{$filter} == 1)", "refused": "max(haptic_members_refused{$filter})"}),
            ("Time of the last offer", GRAPH, "By pod, until it has read everything back.", "s",
             {"{{member}}": "max by (member) (haptic_member_apply_seconds{$filter})"}),
        ]),
        ("Kubernetes", [
            ("Objects", GRAPH, "", "short", {"{{kind}}": "max by (kind) (haptic_resources{$filter})"}),
            ("Watch events", GRAPH, "", "ops", rate("haptic_watch_events_total", "kind")),
            ("Watches that ended or failed", GRAPH, "", "ops",
             {"{{kind}} {{reason}}": "sum by (kind, reason) (rate(haptic_watch_restarts_total{$filter}[$__rate_interval]))",
              "error {{kind}} {{reason}}": "sum by (kind, reason) (rate(haptic_watch_errors_total{$filter}[$__rate_interval]))"}),
            ("Requests to the API server", GRAPH, "Code 0: no answer.", "ops", rate("haptic_kube_requests_total", "code")),
        ]),
        ("Leader election", [
            ("Who leads", GRAPH, "", "short", {"{{pod}}": "haptic_leader_election_is_leader{$filter}"}),
            ("Age of the last renewal", GRAPH, "Above retryPeriod something is slow.", "s", {"{{pod}}": "haptic_leader_election_last_renew_age_seconds{$filter}"}),
        ]),
        ("Resources", [
            ("Memory", GRAPH, "", "bytes", {"core {{pod}}": "process_resident_memory_bytes{$filter}", "renderer {{pod}}": "haptic_renderer_memory_bytes{$filter}"}),
            ("CPU of the core", GRAPH, "", "short", {"{{pod}}": "rate(process_cpu_seconds_total{$filter}[$__rate_interval])"}),
        ]),
    ],
    "haproxy": [
        ("Traffic", [
            ("Requests", GRAPH, "By frontend.", "reqps", rate("haproxy_frontend_http_requests_total", "proxy")),
            ("Answers", GRAPH, "By class of the status.", "reqps", rate("haproxy_frontend_http_responses_total", "code")),
            ("Share of 5xx", GRAPH, "", "percentunit",
             {"5xx": 'sum(rate(haproxy_frontend_http_responses_total{$filter, code="5xx"}[$__rate_interval])) / '
                     "sum(rate(haproxy_frontend_http_responses_total{$filter}[$__rate_interval]))"}),
            ("Bytes", GRAPH, "", "Bps",
             {"in": "sum(rate(haproxy_frontend_bytes_in_total{$filter}[$__rate_interval]))",
              "out": "sum(rate(haproxy_frontend_bytes_out_total{$filter}[$__rate_interval]))"}),
            ("Sessions", GRAPH, "By frontend, now.", "short", {"{{proxy}}": "sum by (proxy) (haproxy_frontend_current_sessions{$filter})"}),
            ("Denied and malformed", GRAPH, "", "reqps",
             {"denied": "sum(rate(haproxy_frontend_requests_denied_total{$filter}[$__rate_interval]))",
              "malformed": "sum(rate(haproxy_frontend_request_errors_total{$filter}[$__rate_interval]))"}),
        ]),
        ("Process", [
            ("Connections", GRAPH, "By pod; the line is the limit.", "short",
             {"{{pod}}": "haproxy_process_current_connections{$filter}", "limit {{pod}}": "haproxy_process_max_connections{$filter}"}),
            ("New connections", GRAPH, "", "ops", {"{{pod}}": "rate(haproxy_process_connections_total{$filter}[$__rate_interval])"}),
            ("Idle", GRAPH, "Per cent of time without work, the least of the threads. Below 20 % add pods.", "percent",
             {"{{pod}}": "haproxy_process_idle_time_percent{$filter}"}),
            ("TLS handshakes", GRAPH, "", "ops", {"{{pod}}": "haproxy_process_current_ssl_rate{$filter}"}),
            ("Uptime of the worker", GRAPH, "It begins anew at each reload.", "s", {"{{pod}}": "haproxy_process_uptime_seconds{$filter}"}),
            ("Memory of pools", GRAPH, "", "bytes", {"{{pod}}": "haproxy_process_pool_allocated_bytes{$filter}"}),
        ]),
        ("Agent", [
            ("Ready", GRAPH, "1: HAProxy serves the accepted configuration.", "short", {"{{pod}}": "haptic_agent_ready{$filter}"}),
            ("Offers", GRAPH, "Taken, and refused.", "ops",
             {"taken": "sum(rate(haptic_agent_applies_total{$filter}[$__rate_interval]))",
              "refused": "sum(rate(haptic_agent_refused_total{$filter}[$__rate_interval]))"}),
        ]),
    ],
}


def panel(number, place, spec, selector):
    title, kind, text, unit, queries = spec
    targets = [
        {"datasource": {"type": "prometheus", "uid": "${datasource}"}, "refId": chr(ord("A") + i), "expr": query.replace("$filter", selector),
         "legendFormat": legend or "__auto", "editorMode": "code"}
        for i, (legend, query) in enumerate(queries.items())
    ]
    defaults = {"unit": unit, "min": 0}
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if kind == STAT:
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "textMode": "auto"}
    return {
        "id": number, "title": title, "description": text, "type": kind, "gridPos": place, "targets": targets,
        "datasource": {"type": "prometheus", "uid": "${datasource}"}, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
    }


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "query": {"query": query, "refId": name}, "definition": query, "multi": True,
        "includeAll": True, "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    }


def dashboard(name):
    panels, y, number = [], 0, 0
    for row, specs in DASHBOARDS[name]:
        number += 1
        panels.append({"id": number, "type": "row", "title": row, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        x = 0
        for spec in specs:
            w, h = (6, 4) if spec[1] == STAT else (12, 8)
            if x + w > 24:
                x, y = 0, y + h
            number += 1
            panels.append(panel(number, {"x": x, "y": y, "w": w, "h": h}, spec, FILTER[name]))
            x += w
        y += h
    source = SOURCE[name]
    return {
        "uid": f"haptic-{name}", "title": TITLE[name], "tags": ["haptic", "haproxy", "ingress"], "timezone": "browser", "schemaVersion": 39,
        "editable": True, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "panels": panels,
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}},
            variable("namespace", "Namespace", f"label_values({source}, namespace)"),
            variable("pod", "Pod", f'label_values({source}{{namespace=~"$namespace"}}, pod)'),
        ]},
    }


def main():
    folder = pathlib.Path(sys.argv[1]) / "files" / "dashboards"
    made = {f"{name}.json": json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n" for name in DASHBOARDS}
    stale = [name for name, text in made.items()
             if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv[2:]:
        for name in stale:
            (folder / name).write_text(made[name], encoding="utf-8")
    elif stale:
        raise SystemExit(f"not up to date: {', '.join(stale)}; run tools/chart/dashboards.py {sys.argv[1]}")


main()
