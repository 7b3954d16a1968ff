--- The library acme: which hosts HAProxy obtains certificates for, and what becomes of settings and values that are wrong.
local program = require("spec.support.program")

local CRT_LIST = 5
local OWN = "HapticSecret0123456789abcdef0123456789abcdefEnd"
local HANDLE = "HapticSecret" .. ("ab"):rep(16) .. "End"
local DIRECTORY = "https://acme.example:14000/dir"
local ACME = "haproxy-haptic.org/acme"

local function engine(context, capabilities)
  local kinds = { { name = "secrets", parts = 2 }, { name = "haproxy_pods", parts = 2 }, unpack(program.KINDS) }
  context = context or {}
  if context.acme_directory == nil then context.acme_directory = DIRECTORY end
  return program.engine({ kinds = kinds, context = context, capabilities = capabilities
    or { version = "3.4", major = 3, minor = 4, acme = true, default_certificate = OWN } })
end

local function secret(name)
  return { metadata = { namespace = "default", name = name }, type = "kubernetes.io/tls",
    data = { ["tls.crt"] = HANDLE, ["tls.key"] = HANDLE }, x509 = { validity = "valid", not_before = 1, not_after = 2,
      usable = true, names = { "*.example" }, key_type = "ECDSA", key_bits = 256, certificates = 1, strays = 0,
      reordered = false, chain = HANDLE } }
end

local function ingress(name, hosts, annotations, secret_name)
  return program.ingress(name, { annotations = annotations, tls = { { hosts = hosts, secretName = secret_name } },
    rules = { { host = hosts[1], paths = { { "/" } } } } })
end

--- Lines of https.list: name → text; and the hosts that a crt-store has.
local function obtained(e)
  local lines, stored = {}, {}
  for _, item in ipairs(e.host:winners()) do
    if item.kind == CRT_LIST then lines[item.key] = item.text end
  end
  for file, host in e:output().config:gmatch("load crt acme/(%S+) acme haptic domains (%S+)") do
    assert.equal(host .. ".pem", file)
    stored[#stored + 1] = host
  end
  table.sort(stored)
  return lines, stored
end

describe("The acme library", function()
  it("obtains certificates for annotated Ingresses whose Secret is not there", function()
    local e = engine({ acme_contact = "ops@example.com", acme_profile = "shortlived" })
    e:put("secrets", secret("there"))
    e:put("ingresses", ingress("a", { "a.example", "b.example" }, { [ACME] = "true" }, "missing"))
    e:put("ingresses", ingress("c", { "c.example" }, { [ACME] = "true" }, "there"))
    e:put("ingresses", ingress("d", { "d.example" }, { [ACME] = "true" }))
    e:put("ingresses", ingress("plain", { "plain.example" }, nil, "missing"))
    e:render()
    assert.same({}, e.host.failures)
    local lines, stored = obtained(e)
    assert.same({ "a.example", "b.example", "d.example" }, stored)
    assert.equal("acme/a.example.pem", lines["a.example"])
    assert.equal("acme/d.example.pem", lines["d.example"])
    assert.equal("certs/default_there.pem", lines["c.example"])
    local output = e:output()
    assert.is_nil((output.warnings["default/a"] or {}).TlsSecretNotFound)
    assert.is_string(output.warnings["default/plain"].TlsSecretNotFound)
    for _, line in ipairs({ "acme haptic\n", "ring acme-log\n", "\n    log ring@acme-log format raw local0 notice notice\n",
      "\n    directory " .. DIRECTORY .. "\n", "\n    account-key acme/account.key\n",
      "\n    contact ops@example.com\n", "\n    keytype ECDSA\n", "\n    curves P-256\n", "\n    profile shortlived\n",
      "\n    map virt@acme\n", "\n    expose-experimental-directives\n" }) do
      assert.matches(line, output.config, 1, true)
    end
    -- Tokens are answered in front of everything that refuses or leads elsewhere, and the store before what names it.
    local answer = assert(output.config:find("map(virt@acme) -m found", 1, true), output.config)
    assert.is_true(answer < output.config:find("return status 405", 1, true))
    assert.is_true(output.config:find("\ncrt-store\n", 1, true) < output.config:find("\nfrontend http", 1, true))
  end)

  it("obtains them for all whose Secret is not there, where that is wished", function()
    local e = engine({ acme_hosts = "absent", acme_domains = { "example" } })
    e:put("ingresses", ingress("a", { "a.example" }, nil, "missing"))
    e:put("ingresses", ingress("no", { "no.example" }, { [ACME] = "false" }, "missing"))
    e:put("ingresses", ingress("managed", { "m.example" }, { ["cert-manager.io/cluster-issuer"] = "x" }, "missing"))
    e:put("ingresses", ingress("other", { "a.elsewhere", "*.example", "badexample" }, nil, "missing"))
    e:render()
    local _, stored = obtained(e)
    assert.same({ "a.example" }, stored)
    local told = e:output().warnings["default/other"].AcmeNotPossible
    for _, host in ipairs({ "a.elsewhere", "*.example", "badexample" }) do assert.matches(host, told, 1, true) end
    -- When the Secret comes, it is used.
    e:put("secrets", secret("missing"))
    e:render()
    local lines
    lines, stored = obtained(e)
    assert.same({}, stored)
    assert.equal("certs/default_missing.pem", lines["a.example"])
  end)

  it("gives a host of two Ingresses one certificate, and stops at its limit", function()
    local e = engine({ acme_hosts = "absent" })
    e:put("ingresses", ingress("a", { "a.example" }), 1)
    e:put("ingresses", ingress("b", { "a.example" }), 2)
    local many = {}
    for i = 1, 105 do many[i] = i .. ".many.example" end
    e:put("ingresses", ingress("many", many))
    e:render()
    local _, stored = obtained(e)
    assert.equal(101, #stored)
    assert.matches("more than 100", e:output().warnings["default/many"].AcmeNotPossible)
  end)

  it("is off without a directory, and says why where it cannot work", function()
    for reason, case in pairs({
      ["3%.4"] = { {}, { version = "3.2", major = 3, minor = 2, default_certificate = OWN } },
      haproxy_pods = { { haproxy_pods = "2" } },
      HTTPS = { { https = false } },
    }) do
      local e = engine(case[1], case[2])
      e:put("ingresses", ingress("a", { "a.example" }, { [ACME] = "true" }, "missing"))
      e:render()
      local output = e:output()
      assert.is_nil(output.config:find("acme haptic", 1, true))
      assert.matches(reason, output.warnings[""].AcmeNotSupported)
      if reason ~= "HTTPS" then assert.is_string(output.warnings["default/a"].AcmeNotSupported) end
    end
    for _, value in ipairs({ "http://acme.example/dir", "https://", "https://a b/", "https://a/\n", "ftp://x", '"' }) do
      local e = engine({ acme_directory = value })
      e:put("ingresses", ingress("a", { "a.example" }, { [ACME] = "true" }, "missing"))
      e:render()
      assert.is_nil(e:output().config:find("acme haptic", 1, true), value)
      assert.matches("acme_directory", e:output().warnings["default/a"].AcmeNotSupported)
    end
  end)

  it("passes wrong annotations over, and tells their owner", function()
    local e = engine({ acme_hosts = "absent" })
    for i, value in ipairs({ "perhaps", "2", "true\nacme x", "\0", "ＴＲＵＥ", ("x"):rep(10000) }) do
      e:put("ingresses", ingress("bad" .. i, { i .. ".example" }, { [ACME] = value }, "missing"))
    end
    e:render()
    assert.same({}, e.host.failures)
    for i = 1, 6 do
      local told = e:output().warnings["default/bad" .. i] or {}
      assert.matches(ACME, told.InvalidAnnotation or "nothing about bad" .. i, 1, true)
    end
    assert.is_nil(e:output().config:find("perhaps", 1, true))
  end)

  it("takes authorities and the account's key from Secrets", function()
    local e = engine({ acme_ca = "default/ca", acme_account = "default/account", acme_key_type = "RSA-2048" })
    e:put("secrets", { metadata = { namespace = "default", name = "ca" }, data = { ["ca.crt"] = HANDLE },
      x509 = { authorities = { certificates = 1 } } })
    e:put("secrets", { metadata = { namespace = "default", name = "account" }, data = { ["tls.key"] = HANDLE } })
    e:render()
    local output = e:output()
    for _, line in ipairs({ "\n    httpclient.ssl.ca-file certs/default_ca_server-ca.pem\n",
      "\n    account-key certs/acme-account.pem\n", "\n    keytype RSA\n", "\n    bits 2048\n" }) do
      assert.matches(line, output.config, 1, true)
    end
    e:delete("secrets", "default/account")
    e:render()
    assert.matches("default/account", e:output().warnings[""].InvalidAcmeAccount, 1, true)
  end)

  it("warns where there are several HAProxys", function()
    local e = engine()
    local function pod(name, leaves)
      return { metadata = { namespace = "default", name = name, deletionTimestamp = leaves and "2026-01-01T00:00:00Z" } }
    end
    e:put("haproxy_pods", pod("one"))
    e:put("haproxy_pods", pod("leaves", true))
    e:render()
    assert.is_nil((e:output().warnings[""] or {}).AcmeSeveralMembers)
    e:put("haproxy_pods", pod("two"))
    e:render()
    assert.matches("2 pods", e:output().warnings[""].AcmeSeveralMembers)
  end)
end)
