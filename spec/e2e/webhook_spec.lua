--- The admission webhook before a real API server: what is refused, with which sentence, what only warns, what happens
--- when the renderer is away or hangs, and that nothing of a candidate is seen elsewhere.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

-- What an annotation makes a template do.
local OWN = [[
each(resources.ingresses, "probe", function(ing, out)
  local probe = (ing.metadata.annotations or {})["example.org/probe"]
  if probe == "fail" then error("the probe of this Ingress must not be fail", 0) end
  if probe == "hang" then while true do end end
  if probe == "eat" then
    local eaten = {}
    while true do eaten[#eaten + 1] = ("x"):rep(1000) .. #eaten end
  end
  if probe == "warn" then out:warn("ProbeWarns", "this probe is unusual") end
end)
fragment("sum", function(out)
  for _, ing in ipairs(resources.ingresses:list()) do
    if (ing.metadata.annotations or {})["example.org/sum"] == "wrong" then error("the sum is wrong", 0) end
  end
end)
]]

local PROBE, SUM = "example.org/probe", "example.org/sum"

describe("The admission webhook", function()
  local scope, cluster, admin, haptic, port, authority

  setup(function()
    scope = e2e.scope("webhook")
    cluster = scope:cluster()
    admin = cluster.admin
    admin.resources.ValidatingWebhookConfiguration =
      { "/apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", cluster = true }
    admin:allow("alice", kube.rules())
    admin:put(kube.ingress_class())
    admin:put(kube.service("web"))
    admin:put(kube.slice("web", { "192.0.2.1" }))
    admin:put(kube.service("other"))
    authority = scope:authority("ca")
  end)
  teardown(function() scope:close() end)
  after_each(function()
    admin:delete("ValidatingWebhookConfiguration", "haptic")
    for _, o in ipairs(admin:list("Ingress")) do admin:delete("Ingress", o.metadata.name, o.metadata.namespace) end
    if haptic then haptic:stop(20) end
    haptic = nil
  end)

  local function ingress(name, annotations, host, service)
    return kube.ingress({ name = name, host = host or name .. ".example", service = service or "web",
      annotations = annotations })
  end
  -- What kubectl says of an object, and its exit status.
  local function apply(object, ...)
    local file = scope:path("object.json")
    posix.write_file(file, http.encode(object))
    local output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "apply", "-f", file, ... })
    return code == 0, output
  end
  local function says(text, part)
    if not text:find(part, 1, true) then error(("%q is not in: %s"):format(part, text), 2) end
  end
  local function niceness(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    local stat = file and file:read("*a"):gsub("^.*%)", "") or ""
    if file then file:close() end
    local fields = {}
    for word in stat:gmatch("%S+") do fields[#fields + 1] = word end
    return tonumber(fields[17]) or 0
  end
  -- The process that judges: it leaves the processors to the others.
  local function judge_pid()
    local own = niceness(haptic.pid)
    for _, pid in ipairs(posix.children(haptic.pid)) do
      if niceness(pid) > own then return pid end
    end
    error("there is no process that gives way")
  end
  local function register(policy, timeout)
    admin:put({ kind = "ValidatingWebhookConfiguration", apiVersion = "admissionregistration.k8s.io/v1",
      metadata = { name = "haptic" }, webhooks = { { name = "ingresses.validation.example.org",
        admissionReviewVersions = { "v1" }, sideEffects = "None", failurePolicy = policy or "Fail",
        timeoutSeconds = timeout or 10,
        clientConfig = haptic.certificates
          and { url = "https://127.0.0.1:" .. port .. "/validate", caBundle = e2e.base64_file(authority.crt) }
          or { service = { name = "haptic-webhook", namespace = "default", path = "/validate", port = port } },
        rules = { { apiGroups = { "networking.k8s.io" }, apiVersions = { "v1" }, resources = { "ingresses" },
          operations = { "CREATE", "UPDATE" } } } } } })
  end
  -- Starts a controller with a webhook, and waits until it judges. On a machine without leisure that takes its time, as
  -- the process that judges gives way to all others.
  local function start(options)
    options = options or {}
    port = e2e.port()
    local args, directory = { "--webhook-address", "127.0.0.1", "--webhook-port", tostring(port) }, nil
    if not options.makes_certificates then
      directory = scope:path("webhook")
      local crt, key = authority:issue({ names = "IP:127.0.0.1" })
      posix.run({ "mkdir", directory })
      posix.run({ "cp", crt, directory .. "/tls.crt" })
      posix.run({ "cp", key, directory .. "/tls.key" })
      args[#args + 1] = "--webhook-cert-dir=" .. directory
    end
    args[#args + 1] = "--webhook-resource-admission-timeout=" .. (options.timeout or "29s")
    for _, word in ipairs(options.args or {}) do args[#args + 1] = word end
    haptic = scope:haptic({ kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), args = args,
      config = e2e.config({ watchedResources = options.kinds or {}, templateSnippets = { ["own.lua"] = { template = OWN } },
        templatingSettings = options.settings or {} }) })
    haptic.certificates = directory
    haptic:wait_ready(30)
    register(options.policy, 30)
    local output
    scope:wait_for("the webhook to judge", 60, function()
      local ok
      ok, output = apply(ingress("begin", { [PROBE] = "fail" }), "--dry-run=server")
      return not ok and output:find("HT0202", 1, true) ~= nil, output
    end)
  end

  it("refuses what a template refuses, warns of what it warns of, and lets the rest in", function()
    start()
    local ok, output = apply(ingress("good"))
    assert.is_true(ok, output)
    assert.is_nil(output:find("Warning", 1, true), output)
    ok, output = apply(ingress("bad", { [PROBE] = "fail" }))
    assert.is_false(ok, output)
    says(output, 'admission webhook "ingresses.validation.example.org" denied the request')
    says(output, "HT0202: own.lua")
    says(output, "the probe of this Ingress must not be fail")
    assert.is_nil(admin:get("Ingress", "bad"))
    ok, output = apply(ingress("unusual", { [PROBE] = "warn" }))
    assert.is_true(ok, output)
    says(output, "Warning: ProbeWarns: this probe is unusual")
    -- A wrong value of a declared annotation, and a host and path that an older Ingress has.
    ok, output = apply(ingress("typo", { ["haproxy.org/cors-enable"] = "perhaps" }))
    assert.is_true(ok, output)
    says(output, "Warning: ")
    says(output, "must be true or false")
    ok, output = apply(ingress("later", nil, "good.example", "other"))
    assert.is_true(ok, output)
    says(output, "HT0402")
    says(output, "is also written by ingresses default/good, which is older and wins")
    -- A part of the templates that serves all objects.
    ok, output = apply(ingress("wrong", { [SUM] = "wrong" }))
    assert.is_false(ok, output)
    says(output, "the sum is wrong")
    -- An update is judged like a new object, and an object that is unchanged is not judged.
    ok, output = apply(ingress("good", { [PROBE] = "fail" }))
    assert.is_false(ok, output)
    assert.is_true((apply(ingress("good", { note = "x" }))))
    assert.equals(0, haptic:metric("haptic_renderer_restarts_total") or 0)
    assert.is_true(haptic:metric("haptic_webhook_requests_total", { kind = "ingresses", result = "denied" }) >= 3)
  end)

  it("leaves store, rendering and what is deployed alone, while endpoints change", function()
    start()
    admin:put(ingress("good"))
    local function is_live()
      return haptic:get("/debug/config").body:find("192.0.2.1", 1, true) ~= nil
        and haptic:metric("haptic_resources", { kind = "ingresses" }) == 1
    end
    scope:wait_for("the Ingress to be live", 15, is_live)
    -- What the renderer that counts does for a change of an endpoint, which no candidate makes more.
    local function cost(address)
      local before = haptic:metric("haptic_render_fragments_run_total")
      admin:put(kube.slice("web", { address }))
      scope:wait_for(address .. " to be live", 20, function()
        return haptic:get("/debug/config").body:find(address, 1, true) ~= nil
      end)
      return haptic:metric("haptic_render_fragments_run_total") - before
    end
    local alone = cost("192.0.2.2")
    local candidates = { kind = "List", apiVersion = "v1", items = {} }
    for i = 1, 100 do candidates.items[i] = ingress("candidate-" .. i, { [PROBE] = i % 2 == 0 and "fail" or nil }) end
    local file = scope:path("candidates.json")
    posix.write_file(file, http.encode(candidates))
    local judged = haptic:metric("haptic_webhook_requests_total")
    local before = haptic:state()
    local many = scope:spawn({ name = "kubectl", argv = { "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "create",
      "--dry-run=server", "-f", file } })
    scope:wait_for("the first candidates", 20, function()
      return haptic:metric("haptic_webhook_requests_total") > judged, many:log()
    end)
    assert.equals(alone, cost("192.0.2.3"))
    scope:wait_for("all candidates to be judged", 60, function()
      return haptic:metric("haptic_webhook_requests_total") == judged + 100, many:log()
    end)
    assert.equals(0, haptic:metric("haptic_webhook_unjudged_total") or 0)
    assert.equals(1, haptic:metric("haptic_resources", { kind = "ingresses" }))
    assert.equals(before.generation + 1, haptic:state().generation)
    assert.equals(0, haptic:count_log("Object has a problem.*candidate"))
    for _, event in ipairs(admin:list("Event")) do assert.is_nil(event.message:find("must not be fail", 1, true)) end
  end)

  it("refuses what ends the renderer, and has another one judge when it hangs by itself", function()
    start({ settings = { renderTimeout = "1s", renderMemoryBytes = 128 * 1024 * 1024 } })
    local pid = judge_pid()
    local ok, output = apply(ingress("hangs", { [PROBE] = "hang" }), "--dry-run=server")
    assert.is_false(ok, output)
    says(output, "HT0203: ")
    says(output, "a template had not ended for this object after 1s (templatingSettings.renderTimeout)")
    assert.is_false(posix.is_alive(pid))
    -- It is told by the template's error, by the end of the process, or, on a slow machine, by the time.
    ok, output = apply(ingress("eats", { [PROBE] = "eat" }), "--dry-run=server")
    assert.is_false(ok, output)
    says(output, "HT020")
    ok, output = apply(ingress("good"), "--dry-run=server")
    assert.is_true(ok, output)
    assert.is_nil(output:find("Warning", 1, true), output)
    pid = judge_pid()
    posix.kill(pid, "STOP")
    ok, output = apply(ingress("bad", { [PROBE] = "fail" }), "--dry-run=server")
    assert.is_false(ok, output)
    says(output, "HT0202")
    assert.is_false(posix.is_alive(pid))
    -- The renderer that counts has seen nothing of it.
    assert.equals(0, haptic:metric("haptic_renderer_restarts_total") or 0)
    assert.equals(0, haptic:metric("haptic_webhook_unjudged_total", { reason = "deadline" }) or 0)
  end)

  it("fails open by its deadline", function()
    start({ timeout = "2s" })
    local ok, output = apply(ingress("hangs", { [PROBE] = "hang" }), "--dry-run=server")
    assert.is_true(ok, output)
    says(output, "Warning: not checked (")
    assert.is_true(haptic:metric("haptic_webhook_requests_total", { result = "unjudged_allowed" }) >= 1)
    assert.is_true(haptic:metric("haptic_webhook_unjudged_total", { reason = "deadline" }) >= 1)
  end)

  it("makes its certificates, tells the API server whom to trust, and follows a new authority", function()
    admin:allow("alice", kube.rules_with(kube.rules(), { apiGroups = { "" }, resources = { "secrets" }, verbs = { "create" } },
      { apiGroups = { "" }, resources = { "secrets" }, resourceNames = { "webhook-tls" }, verbs = { "get", "watch", "update" } },
      { apiGroups = { "admissionregistration.k8s.io" }, resources = { "validatingwebhookconfigurations" },
        resourceNames = { "haptic" }, verbs = { "get", "watch", "patch" } }))
    -- The API server takes a Service of this type by its name.
    admin:put({ kind = "Service", apiVersion = "v1", metadata = { name = "haptic-webhook", namespace = "default" },
      spec = { type = "ExternalName", externalName = "localhost" } })
    start({ makes_certificates = true,
      args = { "--webhook-secret", "webhook-tls", "--webhook-configuration", "haptic" } })
    local function trusted()
      return admin:get("ValidatingWebhookConfiguration", "haptic").webhooks[1].clientConfig.caBundle
    end
    local before = trusted()
    assert.is_string(before)
    assert.equals(admin:get("Secret", "webhook-tls").data["ca.crt"], before)
    -- Somebody writes another one: the leader puts it right.
    admin:patch("ValidatingWebhookConfiguration", "haptic", { webhooks = { { name = "ingresses.validation.example.org",
      admissionReviewVersions = { "v1" }, sideEffects = "None", failurePolicy = "Fail",
      clientConfig = { service = { name = "haptic-webhook", namespace = "default", path = "/validate", port = port },
        caBundle = e2e.base64_file(authority.crt) },
      rules = { { apiGroups = { "networking.k8s.io" }, apiVersions = { "v1" }, resources = { "ingresses" },
        operations = { "CREATE", "UPDATE" } } } } } })
    scope:wait_for("the authority to be put right", 20, function() return trusted() == before end)
    admin:delete("Secret", "webhook-tls")
    scope:wait_for("another authority", 20, function() return trusted() ~= before end)
    local output
    scope:wait_for("the webhook to judge again", 30, function()
      local ok
      ok, output = apply(ingress("begin", { [PROBE] = "fail" }), "--dry-run=server")
      return not ok and output:find("HT0202", 1, true) ~= nil, output
    end)
    assert.is_nil(haptic:log():find("PRIVATE KEY", 1, true))
    admin:delete("Secret", "webhook-tls")
  end)

  it("is not kept from judging by bodies that are too large, slow, or no reviews", function()
    start()
    -- What the webhook answers to these bytes; without the rest of the body it waits for more.
    local function post(length, body)
      local file = scope:path("request")
      posix.write_file(file, ("POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(length, body))
      return { "sh", "-c", "(cat \"$1\"; sleep \"$3\") | timeout 20 openssl s_client -quiet -ign_eof -connect 127.0.0.1:$2", "sh",
        file, tostring(port) }
    end
    local function answer(length, body)
      local words = post(length, body)
      words[#words + 1] = "1"
      return (posix.run(words))
    end
    says(answer(4 * 1024 * 1024, "{"), "HTTP/1.1 413 ")
    says(answer(9, "{\"a\": 1}\n"), "HTTP/1.1 400 ")
    says(answer(9, "{\"a\": 1}\n"), "not an AdmissionReview of admission.k8s.io/v1")
    local slow = {}
    for i = 1, 20 do
      local words = post(1000, "{")
      words[#words + 1] = "30"
      slow[i] = scope:spawn({ name = "a slow client", argv = words })
    end
    posix.sleep(1.5)
    local ok, output = apply(ingress("bad", { [PROBE] = "fail" }), "--dry-run=server")
    assert.is_false(ok, output)
    says(output, "HT0202")
    assert.is_true(haptic:metric("haptic_webhook_refused_total") >= 1)
    for _, client in ipairs(slow) do client:close() end
  end)

  it("is not asked before it can judge, where no verdict means no: a replica is ready only then", function()
    -- Nobody may make its certificates.
    admin:allow("alice", kube.rules_with(kube.rules(), { apiGroups = { "" }, resources = { "secrets" }, verbs = { "get", "watch" } }))
    local function run(policy)
      haptic = scope:haptic({
        kubeconfig = scope:kubeconfig(cluster, { user = "alice" }),
        args = { "--webhook-address", "127.0.0.1", "--webhook-port", tostring(e2e.port()), "--webhook-secret", "absent-tls",
          "--webhook-failure-policy", policy },
      })
    end
    run("Ignore")
    haptic:wait_ready(60)
    haptic:stop(20)
    run("Fail")
    haptic:wait_log('waits_for="the admission webhook has no certificate yet"', 60)
    assert.is_false(haptic:is_ready())
    assert.equal(1, haptic:count_log("Making the certificates of the webhook")) -- and not each time when it is tried
    admin:allow("alice", kube.rules_with(kube.rules(), { apiGroups = { "" }, resources = { "secrets" }, verbs = { "get", "watch", "create", "update" } }))
    haptic:wait_ready(60)
    admin:delete("Secret", "absent-tls")
    admin:allow("alice", kube.rules())
  end)

  it("answers a kept connection once more while it ends, and closes it then", function()
    start()
    local output = posix.run({ "bash", "-c", ([[
      ask() { printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'; }
      { ask; sleep 0.5; kill -TERM %d; until grep -q 'msg="\?Stopping' %s; do sleep 0.02; done; ask; sleep 1; } |
        timeout 20 openssl s_client -quiet -connect 127.0.0.1:%d 2>&1]]):format(haptic.pid, haptic.output, port) })
    local _, answers = output:gsub("HTTP/1.1 200 OK", "")
    assert.equal(2, answers, output)
    local _, ends = output:gsub("Connection: close", "")
    assert.equal(1, ends, output)
    scope:wait_for("its end", 20, function() return not haptic:is_running() end) -- a second signal would end it at once
  end)

  it("fails closed where it is told so", function()
    start({ timeout = "2s", args = { "--webhook-failure-policy", "Fail" } })
    local ok, output = apply(ingress("hangs", { [PROBE] = "hang" }), "--dry-run=server")
    assert.is_false(ok, output)
    says(output, "the object could not be checked in time (")
  end)
end)
