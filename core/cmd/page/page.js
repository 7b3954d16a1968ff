// The page asks the debug pages every two seconds and writes what they say. All texts are set as text, never as markup.
"use strict";

const EVERY_MS = 2000;
let paused = false;
let seen = 0;

const at = (id) => document.getElementById(id);

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}

function seconds(s) {
  if (!s) return "–";
  if (s < 0.001) return Math.round(s * 1e6) + " µs";
  return s < 1 ? (s * 1000).toPrecision(3) + " ms" : s.toPrecision(3) + " s";
}

const clock = (time) => time.slice(11, 19);

// Rows are lists of cells: a text, or {text, kind} where kind is a class.
function rows(id, list, nothing) {
  const body = at(id);
  const made = list.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const td = document.createElement("td");
      td.textContent = typeof cell === "object" ? cell.text : cell;
      if (typeof cell === "object") td.className = cell.kind;
      row.append(td);
    }
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const td = document.createElement("td");
    td.textContent = nothing;
    td.className = "none";
    td.colSpan = body.parentNode.tHead.rows[0].cells.length;
    row.append(td);
    made.push(row);
  }
  body.replaceChildren(...made);
}

const number = (n) => ({ text: String(n), kind: "n" });
const counted = (n, word) => n + " " + word + (n === 1 ? "" : "s");

function stage(name, kind, word, detail) {
  const item = at("stage-" + name);
  item.className = kind;
  item.querySelector(".word").textContent = word;
  item.querySelector(".detail").textContent = detail || "";
}

function showPipeline(state, newest) {
  const kinds = Object.entries(state.kinds || {});
  const unsynced = kinds.filter(([, k]) => !k.synced).map(([name]) => name);
  const lost = kinds.filter(([, k]) => k.error).map(([name]) => name);
  const objects = kinds.reduce((sum, [, k]) => sum + k.objects, 0);
  stage("watch", lost.length ? "bad" : unsynced.length ? "wait" : "good",
    lost.length ? "not followed" : unsynced.length ? "listing" : "in sync",
    lost.length ? lost.join(", ") : unsynced.length ? unsynced.join(", ") : objects + " objects of " + kinds.length + " kinds");
  const failed = (state.problems || []).filter((p) => p.state === "failed" || p.state === "failing").length;
  stage("render", !state.rendered ? "wait" : failed ? "bad" : "good", !state.rendered ? "waiting" : failed ? failed + " failing" : "rendered",
    newest ? seconds(newest.render_seconds) + ", " + newest.fragments_run + " fragments" : "");
  const quarantined = (state.problems || []).filter((p) => p.state === "quarantined").length;
  stage("validate", state.problem ? "bad" : quarantined ? "wait" : state.validated ? "good" : "wait",
    state.problem ? "refused" : quarantined ? quarantined + " quarantined" : state.validated ? "accepted" : "waiting",
    state.problem ? [state.problem_line, state.problem].filter(Boolean).join(": ") : "generation " + state.generation + (state.pending ? ", " + state.pending + " items wait" : ""));
  const leads = state.leader && state.leader.may_write;
  stage("deploy", !leads ? "wait" : state.live ? "good" : "wait", !leads ? "follower" : state.live ? "live" : "under way",
    !leads ? "holder: " + ((state.leader && state.leader.holder) || "nobody") : newest && newest.deployment === "live" ? seconds(newest.deploy_seconds) : "");
  const members = state.members;
  if (members) {
    const good = members.filter((m) => m.state === "verified").length;
    stage("haproxy", good === members.length && good > 0 ? "good" : "wait", good + " of " + members.length + " members", "");
  } else {
    const h = state.haproxy || {};
    stage("haproxy", h.running ? "good" : leads ? "bad" : "wait", h.running ? "running" : "not running",
      h.version ? h.version + ", " + counted(h.reloads, "reload") + ", " + counted(h.operations, "operation") : "");
  }
}

function showState(state, newest) {
  at("verdict").textContent = state.ready ? "Ready" : "Not ready" + (state.problem ? ": " + state.problem : "");
  at("verdict").className = state.ready ? "good" : "bad";
  document.title = (state.ready ? "" : "! ") + "HAPTIC";
  showPipeline(state, newest);
  rows("problems", (state.problems || []).map((p) => [{ text: p.state, kind: p.state === "warning" ? "wait" : "bad" }, p.object || p.fragment || "",
    p.message || (p.winner ? "the same key is in force by " + p.winner : "")]), "none");
  rows("kinds", Object.entries(state.kinds || {}).map(([name, k]) => [name, number(k.objects), number(k.bytes),
    k.error ? { text: k.error, kind: "bad" } : { text: k.synced ? "in sync" : "listing", kind: k.synced ? "good" : "wait" }]), "none");
  rows("webhook", Object.entries(state.webhook || {}).filter(([, w]) => w).map(([name, w]) => [name, w.state, number(w.waiting), number(w.allowed),
    number(w.denied), number(w.unjudged), w.last || w.last_denied || "–"]), "there is none");
  rows("fetched", (state.fetched || []).map((u) => [u.url, number(u.bytes),
    { text: u.error ? u.state + ": " + u.error : u.state, kind: u.state === "good" ? "good" : u.state === "refused" ? "bad" : "wait" }]), "none");
  const l = state.leader || {};
  at("leader").textContent = !l.enabled ? "Elections are off: " + (l.identity || "") + " leads alone."
    : (l.role || "") + ": " + (l.holder || "nobody") + " holds " + (l.namespace || "") + "/" + (l.lease || "") + ", fence " + l.fence + ".";
  rows("members", (state.members || []).map((m) => {
    const { member, state: word, ...rest } = m;
    return [member, { text: word, kind: word === "verified" ? "good" : word === "refused" || word === "divergent" ? "bad" : "wait" },
      Object.entries(rest).filter(([, v]) => v !== null && typeof v !== "object" && v !== "").map(([k, v]) => k + " " + v).join(", ")];
  }), state.members ? "no member is known" : "one HAProxy, on this machine");
}

function showGenerations(list) {
  rows("generations", list.map((g) => [{ text: clock(g.time), kind: "time" }, number(g.generation), g.trigger, number(g.changes),
    number(g.fragments_run), number(g.items), number(seconds(g.render_seconds)),
    number(g.checks ? seconds(g.check_seconds) : "–"), number(seconds(g.deploy_seconds)),
    { text: g.verdict + (g.problem && g.verdict === "refused" ? ": " + g.problem : ""), kind: g.verdict === "accepted" ? "good" : "bad" },
    { text: g.deployment === "live" ? (g.reloaded ? "reload" : "live") : g.verdict === "refused" ? "–" : g.deployment,
      kind: g.deployment === "live" ? "good" : g.deployment === "failed" ? "bad" : "wait" }]), "none yet");
}

async function look() {
  try {
    const [state, generations, events] = await Promise.all([ask("/debug/state"), ask("/debug/generations"), ask("/debug/events")]);
    showGenerations(generations.generations);
    showState(state, generations.generations.find((g) => g.verdict === "accepted"));
    rows("events", events.events.map((e) => [{ text: clock(e.time), kind: "time" }, { text: e.reason, kind: e.type === "Warning" ? "wait" : "good" },
      e.object, e.message]), "none");
    const fragments = (await ask("/debug/fragments").catch(() => ({ fragments: [] }))).fragments || [];
    rows("fragments", fragments.map((f) => [f.name, number(f.fragments), number(f.runs), number(seconds(f.seconds)),
      number(f.runs ? (f.reads / f.runs).toFixed(1) : "–")]), "not known");
    seen = Date.now();
  } catch (error) {
    at("verdict").textContent = "The controller does not answer (" + error.message + ")";
    at("verdict").className = "bad";
  }
}

function showAge() {
  at("age").textContent = seen ? (paused ? "paused, " : "") + Math.round((Date.now() - seen) / 1000) + " s old" : "";
}

async function follow() {
  if (!paused && !document.hidden) await look();
  showAge();
  setTimeout(follow, EVERY_MS);
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
  showAge();
});

at("route-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const query = new URLSearchParams({ host: at("route-host").value, path: at("route-path").value || "/" });
  try {
    at("route").textContent = JSON.stringify(await ask("/debug/route?" + query), null, 2);
  } catch (error) {
    at("route").textContent = error.message;
  }
});

follow();
