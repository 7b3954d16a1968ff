--- Configurations that are judged before a real API server stores them: what is refused, with which place, what a library
--- does, what happens without a verdict in time, and that what is in force goes on meanwhile.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local API = "haproxy-haptic.org/v1alpha1"
local TOKEN = "0123456789abcdef-token"

local RULES = kube.rules_with(kube.rules({ "get", "list", "watch", "create", "update" }),
  { apiGroups = { "haproxy-haptic.org" }, resources = { "haproxytemplateconfigs", "haproxytemplatelibraries" },
    verbs = { "get", "watch" } },
  { apiGroups = { "haproxy-haptic.org" }, resources = { "haproxytemplateconfigs/status", "haproxytemplatelibraries/status" },
    verbs = { "patch" } })

describe("A configuration before it is stored", function()
  local scope, cluster, admin, haptic, port, authority

  setup(function()
    scope = e2e.scope("candidate")
    cluster = scope:cluster()
    admin = cluster.admin
    admin.resources.ValidatingWebhookConfiguration =
      { "/apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", cluster = true }
    admin:know("HAProxyTemplateLibrary", "/apis/" .. API, "haproxytemplatelibraries")
    admin:know("HAProxyTemplateConfig", "/apis/" .. API, "haproxytemplateconfigs")
    local output, code = posix.run({ e2e.program(), "crds", "apply", "--kubeconfig", cluster.admin_kubeconfig })
    assert.equal(0, code, output)
    admin:allow("alice", RULES)
    admin:put(kube.ingress_class())
    admin:put(kube.service("web"))
    admin:put(kube.slice("web", { "192.0.2.1" }))
    admin:put(kube.ingress({ name = "web", host = "web.example", service = "web" }))
    authority = scope:authority("ca")
    scope:wait_for("the CRDs to be served", 20, function()
      return admin:call("GET", "/apis/" .. API .. "/haproxytemplateconfigs") == 200
        and admin:call("GET", "/apis/" .. API .. "/haproxytemplatelibraries") == 200
    end)
  end)
  teardown(function() scope:close() end)
  after_each(function()
    admin:delete("ValidatingWebhookConfiguration", "haptic")
    if haptic then haptic:stop(20) end
    haptic = nil
    admin:delete("HAProxyTemplateConfig", "main")
    for _, o in ipairs(admin:list("HAProxyTemplateLibrary")) do
      admin:delete("HAProxyTemplateLibrary", o.metadata.name, o.metadata.namespace)
    end
  end)

  local function configuration(changes)
    return { kind = "HAProxyTemplateConfig", apiVersion = API, metadata = { name = "main", namespace = "default" },
      spec = e2e.config(changes) }
  end
  local function library(name, text, revision)
    return { kind = "HAProxyTemplateLibrary", apiVersion = API, metadata = { name = name, namespace = "default" },
      spec = { revision = revision or "1", templateSnippets = { [name .. ".lua"] = { template = text } } } }
  end
  local BAD = { watchedResources = { maps = { apiVersion = "v1", resources = "configmaps", indexBy = { "metadata[" } } } }
  local function snippet(text) return { templateSnippets = { ["own.lua"] = { template = text } } } end

  --- What kubectl says of an object.
  local function apply(object, ...)
    local file = scope:path("object.json")
    posix.write_file(file, http.encode(object))
    local verb = admin:get(object.kind, object.metadata.name) and "replace" or "create"
    local output, code
    repeat -- its status may be written between kubectl's question and its answer
      output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, verb, "-f", file, ... })
    until not output:find("(Conflict)", 1, true)
    return code == 0, output
  end
  local function try(object) return apply(object, "--dry-run=server") end
  local function says(text, part)
    if not text:find(part, 1, true) then error(("%q is not in: %s"):format(part, text), 2) end
  end
  local function refused(object, ...)
    local ok, output = try(object)
    assert.is_false(ok, output)
    for _, part in ipairs({ 'admission webhook "configurations.validation.example.org" denied the request', ... }) do
      says(output, part)
    end
  end
  local function taken(object)
    local ok, output = try(object)
    assert.is_true(ok, output)
    return output
  end

  local function register(token)
    admin:put({ kind = "ValidatingWebhookConfiguration", apiVersion = "admissionregistration.k8s.io/v1",
      metadata = { name = "haptic" }, webhooks = { { name = "configurations.validation.example.org",
        admissionReviewVersions = { "v1" }, sideEffects = "None", failurePolicy = "Fail", timeoutSeconds = 30,
        clientConfig = { url = "https://127.0.0.1:" .. port .. "/validate-configuration/" .. token,
          caBundle = e2e.base64_file(authority.crt) },
        rules = { { apiGroups = { "haproxy-haptic.org" }, apiVersions = { "v1alpha1" },
          resources = { "haproxytemplateconfigs", "haproxytemplatelibraries" }, operations = { "CREATE", "UPDATE" } } } } } })
  end
  local function start(options)
    options = options or {}
    port = e2e.port()
    local directory, token = scope:path("webhook"), scope:path("token")
    local crt, key = authority:issue({ names = "IP:127.0.0.1" })
    posix.run({ "mkdir", "-p", directory })
    posix.run({ "cp", crt, directory .. "/tls.crt" })
    posix.run({ "cp", key, directory .. "/tls.key" })
    posix.write_file(token, TOKEN .. "\n")
    for _, object in ipairs(options.before or {}) do admin:put(object) end
    haptic = scope:haptic({ kubeconfig = scope:kubeconfig(cluster, { user = "alice" }), config = false,
      args = { "--config-resource", "default/main", "--webhook-address", "127.0.0.1", "--webhook-port", tostring(port),
        "--webhook-cert-dir", directory, "--webhook-token-file", token,
        "--webhook-configuration-admission-timeout", options.timeout or "29s", unpack(options.args or {}) } })
    if options.waits then
      scope:wait_for("the webhook to listen", 20, function() return haptic:count_log("Waiting for the configuration") > 0 end)
    else
      haptic:wait_ready(30)
    end
    local ok, output
    scope:wait_for("the API server to ask", 30, function()
      register(TOKEN)
      ok, output = try(configuration({ watchedResources = { maps = { apiVersion = "v1", resources = "configmaps", indexBy = { "x[" } } } }))
      return not ok and output:find("configurations.validation", 1, true) ~= nil, output
    end)
  end

  it("is refused with its place, and nothing in force changes", function()
    start({ before = { library("shared", "-- nothing\n"), configuration({ libraryRefs = { { name = "shared" } } }) } })
    local before = haptic:state()
    -- What the schema of the resource cannot know.
    refused(configuration(BAD), "HT0103", "watchedResources.maps.indexBy")
    -- A template that does not compile.
    refused(configuration(snippet("local x = 1\nlocal = 2\n")), "HT0201", "own.lua:2")
    -- One that fails for an object that the cluster has.
    refused(configuration(snippet('each(resources.ingresses, "each", function(ing, out)\n  error("not " .. ing.metadata.name, 0)\nend)\n'
      .. 'section("frontend http", { name = "own", order = 450 }, function(b)\n  local missing = nil\n  b:line(missing.word)\nend)\n')),
      "HT0202", "own.lua:6", "missing")
    -- One whose output HAProxy refuses.
    refused(configuration(snippet('section("frontend http", { name = "own", order = 450 }, function(b)\n  b:line("http-request", "no-such-action")\nend)\n')),
      "HT0302", "own.lua:2", "no-such-action")
    -- One whose own test fails.
    local tested = configuration({ validationTests = { wrong = { description = "x", fixtures = {},
      assertions = { { type = "contains", target = "haproxy.cfg", pattern = "no such text" } } } } })
    refused(tested, "HT0501", "validationTests.wrong")
    -- A library, as it would be in this configuration; one that nobody names is nobody's affair.
    refused(library("shared", "local = 2\n", "2"), "HT0201", "shared.lua:1")
    taken(library("other", "local = 2\n"))
    -- A library that the candidate is the first to name.
    admin:put(library("fresh", "local = 3\n"))
    refused(configuration({ libraryRefs = { { name = "fresh" } } }), "HT0201", "fresh.lua:1")
    refused(configuration({ libraryRefs = { { name = "absent" } } }), "HT0103", 'there is no HAProxyTemplateLibrary "absent"')
    -- Another resource belongs to another controller.
    local foreign = configuration(BAD)
    foreign.metadata.name = "other"
    taken(foreign)
    local after = haptic:state()
    assert.equal(before.generation, after.generation)
    assert.equal(before.hash, after.hash)
    assert.is_true(after.webhook.configurations.denied >= 8)
    says(after.webhook.configurations.last, "HT0103")
    assert.is_true(haptic:metric("haptic_webhook_requests_total", { kind = "haproxytemplateconfigs", result = "denied" }) >= 7)
    -- What is right is taken, and comes into force.
    local ok, output = apply(configuration(snippet('section("frontend http", { name = "own", order = 450 }, function(b)\n'
      .. '  b:line("http-response", "set-header", "X-Own", "yes")\nend)\n')))
    assert.is_true(ok, output)
    scope:wait_for("the candidate to be in force", 20, function()
      return haptic:get("/debug/config").body:find("X-Own", 1, true) ~= nil
    end)
    -- A kind that nobody has listed yet: its absence is no proof.
    says(taken(configuration({ watchedResources = { maps = { apiVersion = "v1", resources = "configmaps" } } })),
      "rendered without objects of newly watched kinds (maps)")
    -- Who does not know the token has nothing judged.
    register("0123456789abcdef-wrong")
    scope:wait_for("the wrong path to be asked", 20, function()
      ok, output = try(configuration({ watchedResources = { maps = { apiVersion = "v1", resources = "configmaps", indexBy = { "x[" } } } }))
      return not ok and output:find("failed calling webhook", 1, true) ~= nil, output
    end)
  end)

  local HANGS = { validationTests = { endless = { description = "x", fixtures = {},
    assertions = { { type = "contains", target = "haproxy.cfg", pattern = "global" } } } },
    templateSnippets = { ["own.lua"] = { template = 'fragment("endless", function() while true do end end)\n' } } }

  it("lets endpoints through while one takes its time, and is admitted without a verdict in time", function()
    start({ timeout = "5s", before = { configuration() } })
    local file = scope:path("hangs.json")
    posix.write_file(file, http.encode(configuration(HANGS)))
    local slow = scope:spawn({ name = "kubectl", argv = { "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "replace",
      "--dry-run=server", "-f", file } })
    scope:wait_for("its judgement to begin", 20, function()
      return haptic:state().webhook.configurations.waiting == 1, slow:log()
    end)
    admin:put(kube.slice("web", { "192.0.2.2" }))
    scope:wait_for("the endpoint to be live", 20, function()
      return haptic:get("/debug/config").body:find("192.0.2.2", 1, true) ~= nil
    end)
    scope:wait_for("the answer", 20, function() return slow:log():find("server dry run", 1, true) ~= nil, slow:log() end)
    says(slow:log(), "Warning: not checked (")
    assert.is_true(haptic:metric("haptic_webhook_unjudged_total", { reason = "deadline" }) >= 1)
    assert.equal(0, haptic:metric("haptic_renderer_restarts_total") or 0)
  end)

  it("is refused without a verdict where it fails closed, and the first one can be put right", function()
    start({ timeout = "3s", args = { "--webhook-failure-policy", "Fail" }, waits = true,
      before = { configuration(BAD) } })
    refused(configuration(HANGS), "the configuration could not be checked (")
    refused(configuration({ watchedResources = { maps = { apiVersion = "v1", resources = "configmaps", indexBy = { "y[" } } } }), "HT0103")
    local ok, output = apply(configuration())
    assert.is_true(ok, output)
    says(output, "Warning: read and tested only")
    haptic:wait_ready(30)
  end)
end)
