--- cert-manager's way to certificates, with a real API server and a real authority, Pebble: many orders at once for hosts
--- that lead from HTTP to HTTPS.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets",
  indexBy = { "metadata.namespace", "metadata.name" } } }
local COUNT = 50
--- Seconds in which the way to a solver is there, as the documentation says.
local BOUND = 2

describe("Certificates by ACME", function()
  local world = e2e.world("acme", {})
  local admin, scope

  setup(function() admin = world:begin() end)
  teardown(function() world:finish() end)
  before_each(function() scope = world:open() end)
  after_each(function() world:close() end)

  for _, series in ipairs({ "3.2", "3.4" }) do
    it(COUNT .. " at once: each solver is reached in spite of the redirect, then each host has its own, on " .. series, function()
      admin:put(kube.service("app"))
      admin:put(kube.slice("app", { "198.18.0.1" }))
      for i = 1, COUNT do
        local ing = kube.ingress({ name = "app-" .. i, host = i .. ".acme.example", service = "app",
          annotations = { ["haproxy.org/ssl-redirect"] = "true" } })
        ing.spec.tls = { { hosts = { i .. ".acme.example" }, secretName = "acme-" .. i } }
        admin:put(ing)
      end
      local haptic = scope:haptic({ kubeconfig = world.cluster.admin_kubeconfig, series = series, https = true,
        config = e2e.config({ watchedResources = SECRETS }) }):wait_ready()
      local function plain(i, path)
        return http.request({ port = haptic.http_port, host = i .. ".acme.example", path = path, timeout = 5 })
      end
      scope:wait_for("the redirect", 20, function()
        local answer = plain(COUNT, "/")
        return answer and answer.status == 302
      end)
      local default, before = e2e.peer(haptic.https_port, "1.acme.example"), haptic:state().haproxy.reloads
      local pebble = scope:pebble({ http_port = haptic.http_port })
      local folder, ca, root = scope:path("orders"), scope:path("ca.pem"), scope:path("root.pem")
      posix.run({ "mkdir", folder })
      posix.write_file(ca, pebble.ca)
      posix.write_file(root, pebble:root())
      local text, code = posix.run({ "spec/support/e2e_acme", tostring(admin.port), tostring(haptic.http_port),
        tostring(e2e.port()), tostring(COUNT), pebble.directory, ca, folder })
      assert.equal(0, code, text)
      local slowest = 0
      for i = 1, COUNT do
        local seconds, others = text:match("\n" .. i .. "%.acme%.example ([%d.]+) (%S+)")
        if i == 1 then seconds, others = text:match("^1%.acme%.example ([%d.]+) (%S+)") end
        assert.is_string(seconds, text)
        slowest = math.max(slowest, tonumber(seconds))
        -- Never a redirect, nor a server's failure: the application itself answers, or the solver has nobody yet.
        for status in others:gmatch("%d+") do assert.truthy(status == "200" or status == "503", text) end
      end
      if series == "3.4" then
        assert.is_true(slowest < BOUND, "the slowest way to a solver took " .. slowest .. " s")
        assert.equal(before, haptic:state().haproxy.reloads)
      end
      -- All the while everything else leads to HTTPS. The certificates come, the solvers go.
      for i = 1, COUNT, 7 do assert.equal(302, plain(i, "/").status) end
      local certificates = {}
      for i = 1, COUNT do
        local file = folder .. "/" .. i
        certificates[i] = { name = i .. ".acme.example", cert = posix.read_file(file .. ".pem"),
          key = posix.read_file(file .. ".key"), fingerprint = (posix.run({ "openssl", "x509", "-noout", "-fingerprint",
            "-sha1", "-in", file .. ".pem" }):match("Fingerprint=([%x:]+)"):gsub(":", "")) }
      end
      local reloads = haptic:state().haproxy.reloads
      for i, c in ipairs(certificates) do admin:put(e2e.tls_secret("acme-" .. i, c.cert, c.key)) end
      scope:wait_peers(haptic.https_port, certificates)
      assert.equal(reloads, haptic:state().haproxy.reloads)
      assert.not_equal(default, certificates[1].fingerprint)
      -- A client that trusts that authority and nobody else is content.
      for i = 1, COUNT, 7 do
        local host = i .. ".acme.example"
        local output, status = posix.run({ "curl", "-sS", "-m", "5", "--cacert", root, "--resolve",
          ("%s:%d:127.0.0.1"):format(host, haptic.https_port), ("https://%s:%d/"):format(host, haptic.https_port) })
        assert.equal(0, status, output)
      end
      for i = 1, COUNT do
        for kind, name in pairs({ Ingress = "cm-acme-http-solver-" .. i, Service = "cm-acme-http-solver-" .. i,
          EndpointSlice = "cm-acme-http-solver-" .. i }) do
          admin:delete(kind, name)
        end
      end
      scope:wait_for("the solvers to go", 20, function()
        local answer = plain(COUNT, "/.well-known/acme-challenge/token")
        return answer and answer.body:find("198.18.0.1:8001", 1, true), answer and answer.body
      end)
      if series == "3.4" then assert.equal(before, haptic:state().haproxy.reloads) end
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)
  end

  it("that HAProxy orders and does not get: the Ingress has an Event with the reason, and one when it is over", function()
    local port = e2e.port()
    local pebble = scope:pebble({ http_port = port })
    admin:put(kube.service("app"))
    admin:put(kube.slice("app", { "198.18.0.1" }))
    admin:put({ apiVersion = "v1", kind = "Secret", type = "Opaque", metadata = { name = "authority", namespace = "default" },
      stringData = { ["ca.crt"] = pebble.ca } })
    for name, annotations in pairs({ ordered = { ["haproxy-haptic.org/acme"] = "true" }, plain = {} }) do
      local ing = kube.ingress({ name = name, host = name .. ".example", service = "app", annotations = annotations })
      ing.spec.tls = { { hosts = { name .. ".example" }, secretName = name } }
      admin:put(ing)
    end
    local function config(directory)
      return e2e.config({ watchedResources = SECRETS, templatingSettings = { extraContext = { acme_directory = directory,
        acme_ca = "default/authority", nameservers = { pebble.nameserver } } } })
    end
    local haptic = scope:haptic({ kubeconfig = world.cluster.admin_kubeconfig, series = "3.4", https = true, http_port = port,
      config = config((pebble.directory:gsub("/dir$", "/nothing"))) }):wait_ready()
    --- The note of the Event about an Ingress.
    local function note(name, type, reason)
      for _, e in ipairs(admin:list("Event", "default")) do
        local about = e.regarding or e.involvedObject or {}
        if about.kind == "Ingress" and about.name == name and e.type == type and e.reason == reason then return e.note or e.message end
      end
    end
    local function wait_note(...)
      local what, found = { ... }, nil
      scope:wait_for("the Event " .. table.concat(what, " "), 60, function()
        found = note(unpack(what))
        return found ~= nil, e2e.tail(haptic:log(), 5)
      end)
      return found
    end
    local told = wait_note("ordered", "Warning", "AcmeOrderFailed")
    assert.matches("status code 404", told, 1, true)
    assert.matches("ordered.example", told, 1, true)
    -- The administrator names the right authority.
    posix.write_file(haptic.config_file .. ".new", http.encode(config(pebble.directory)))
    assert(os.rename(haptic.config_file .. ".new", haptic.config_file))
    assert.equal("AcmeOrderFailed: no longer the case", wait_note("ordered", "Normal", "ProblemSolved"))
    local root = scope:path("root.pem")
    posix.write_file(root, pebble:root())
    scope:wait_for("the certificate", 60, function()
      local _, code = posix.run({ "curl", "-sS", "-m", "5", "-o", "/dev/null", "--cacert", root, "--resolve",
        ("ordered.example:%d:127.0.0.1"):format(haptic.https_port), ("https://ordered.example:%d/"):format(haptic.https_port) })
      return code == 0
    end)
    assert.is_nil(note("plain", "Warning", "AcmeOrderFailed"))
  end)
end)
