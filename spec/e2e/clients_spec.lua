--- Clients with certificates: what they are told, over HTTP/1.1 and HTTP/2; revocation, and the sessions of before.

local e2e = require("support.e2e")
local kube = require("support.kube")

local ALL = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "3.0", "3.4" }
local LIVE = e2e.is_full and { "3.2", "3.4" } or { "3.4" }
if not e2e.is_full then print("Clients with certificates: some on 3.0 and 3.4 only; E2E_FULL=1 asks 2.6 and 3.2 as well") end

describe("Clients with certificates", function()
  local scope, source, haptic, ca, good, revoked, stranger

  before_each(function()
    e2e.backends()
    scope = e2e.scope("clients")
    source = scope:manifests()
    ca = scope:certificate({ names = { "authority" }, key = "authority" })
    good = scope:certificate({ names = { "good" }, issuer = ca })
    revoked = scope:certificate({ names = { "revoked" }, issuer = ca })
    stranger = scope:certificate({ names = { "stranger" } })
  end)
  after_each(function() scope:close() end)

  local function put_authority(authority, revocations)
    source:write("ca.yaml", { apiVersion = "v1", kind = "Secret", metadata = { namespace = "default", name = "ca" },
      stringData = { ["ca.crt"] = authority, ["ca.crl"] = revocations } })
  end

  local function put_ingress(name, annotations)
    annotations["haproxy-haptic.org/client-ca"] = "ca"
    annotations["haproxy.org/ssl-redirect"] = "false"
    local ing = kube.ingress({ name = name, host = name .. ".example", service = name, annotations = annotations })
    ing.spec.tls = { { hosts = { name .. ".example" }, secretName = "server" } }
    source:write(name .. ".yaml", ing, kube.service(name), kube.slice(name, { "198.18.0.1" }))
  end

  local function start(series, context, drift)
    local server = scope:certificate({ names = { "in.example", "maybe.example", "page.example" } })
    source:write("server.yaml", e2e.tls_secret("server", server.cert, server.key))
    put_ingress("in", {})
    put_ingress("maybe", { ["haproxy-haptic.org/client-verify"] = "optional" })
    put_ingress("page", { ["haproxy-haptic.org/client-error-page"] = "https://help.example:8443/why?x=1" })
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets",
        indexBy = { "metadata.namespace", "metadata.name" } } },
      templatingSettings = { extraContext = context }, dataplane = { driftPreventionInterval = drift },
    }) }):wait_ready()
  end

  local function ask(host, who, version, sni)
    local args = who and { "--cert", who.directory .. "/cert.pem", "--key", who.directory .. "/key.pem" } or {}
    return e2e.https({ port = haptic.https_port, host = host, sni = sni or host, args = args, http = version })
  end
  local function status(...)
    local answer, reason = ask(...)
    return answer and answer.status or reason
  end
  local function wait_status(wanted, ...)
    local words = { ... }
    scope:wait_for(("%s to get %d"):format(words[1], wanted), 15, function()
      local seen = status(unpack(words))
      return seen == wanted, seen
    end)
  end
  local function operations(kind) return haptic:metric("haptic_runtime_operations_total", { type = kind }) or 0 end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("are told what is wrong with them, by the chosen status or on a page, on " .. series, function()
      put_authority(ca.cert, scope:revocations(ca, { revoked }))
      start(series, { client_missing_status = 401, client_invalid_status = 403, sni_mismatch_status = 400 })
      for _, version in ipairs({ "1.1", "2" }) do
        assert.equal(version, ask("in.example", good, version).version)
        assert.same({ 401, 403, 403, 200 }, { status("in.example", nil, version), status("in.example", stranger, version),
          status("in.example", revoked, version), status("in.example", good, version) })
        assert.same({ 200, 403, 403, 200 }, { status("maybe.example", nil, version),
          status("maybe.example", stranger, version), status("maybe.example", revoked, version),
          status("maybe.example", good, version) })
        -- Closed where the name that TLS was begun for is another one.
        assert.equal(400, status("in.example", good, version, "maybe.example"))
        assert.equal(400, status("maybe.example", nil, version, "in.example"))
        for _, who in ipairs({ false, stranger, revoked }) do
          local answer = ask("page.example", who or nil, version)
          assert.equal(302, answer.status)
          assert.equal("https://help.example:8443/why?x=1", answer.headers.location)
        end
        assert.equal(200, status("page.example", good, version))
      end
      scope:wait_answer(haptic.http_port, "page.example", { status = 302 })
    end)
  end

  for _, series in ipairs(ALL) do
    it("are revoked, and with them their sessions, on " .. series, function()
      put_authority(ca.cert, scope:revocations(ca, {}))
      start(series)
      local reloads = haptic:state().haproxy.reloads
      local client = scope:resuming_client(haptic.https_port, "in.example", revoked)
      local takes_up = series == "3.2" or series == "3.4"
      local again = takes_up and "200 resumed\n" or "200 new\n"
      scope:wait_for("the client to come again", 10, function() return client:log():find(again, 1, true) end)
      put_authority(ca.cert, scope:revocations(ca, { revoked }))
      scope:wait_for("the session to count no more", 15, function() return client:log():find("495", 1, true), client:log() end)
      if takes_up then
        assert.equal("200 new\n200 resumed\n495 new\n", client:log():gsub("495 resumed\n", ""):sub(1, 29))
      else
        -- They take sessions up for other names as well.
        assert.falsy(client:log():find("resumed", 1, true))
      end
      assert.equal(200, status("in.example", good))
      -- What cannot be read takes nothing away: the list that was good stays.
      put_authority(ca.cert, "garbage")
      scope:wait_for("the owner to be told", 15, function()
        return haptic:get("/debug/state").body:find("InvalidClientCrl", 1, true)
      end)
      assert.same({ 495, 200 }, { status("in.example", revoked), status("in.example", good) })
      -- Another authority: those of the former one are strangers, also in their sessions.
      local other = scope:certificate({ names = { "another authority" }, key = "authority" })
      local trusting = scope:resuming_client(haptic.https_port, "in.example", good)
      scope:wait_for("a session", 10, function() return trusting:log():find(again, 1, true) end)
      put_authority(other.cert, scope:revocations(other, {}))
      scope:wait_for("that session to end", 15, function() return trusting:log():find("495", 1, true) end)
      local newcomer = scope:certificate({ names = { "newcomer" }, issuer = other })
      wait_status(200, "in.example", newcomer)
      if takes_up then
        assert.equal(reloads, haptic:state().haproxy.reloads)
        assert.is_true(operations("certificate_commit") >= 2)
      else
        assert.is_true(haptic:state().haproxy.reloads > reloads)
      end
      assert.equal(0, haptic:metric("haptic_deployment_surprises_total") or 0)
      for _, command in ipairs({ "show ssl ca-file", "show ssl crl-file" }) do
        assert.falsy(haptic.haproxy:ask(command):find("# transaction", 1, true))
      end
    end)
  end

  for _, series in ipairs(LIVE) do
    it("are trusted by what HAProxy was given, whoever changes that, on " .. series, function()
      put_authority(ca.cert)
      start(series, nil, "1s")
      wait_status(200, "in.example", good)
      local foreign = scope:certificate({ names = { "a foreign authority" }, key = "authority" })
      local intruder = scope:certificate({ names = { "intruder" }, issuer = foreign })
      local haproxy, reloads = haptic.haproxy, haptic:state().haproxy.reloads
      assert(haproxy:ask("set ssl ca-file certs/default_ca_ca.pem <<\n" .. foreign.cert .. "\n"))
      assert.matches("Success", haproxy:ask("commit ssl ca-file certs/default_ca_ca.pem"))
      wait_status(495, "in.example", intruder)
      wait_status(200, "in.example", good)
      assert.equal(reloads, haptic:state().haproxy.reloads)
    end)
  end
end)
