--- spec.tls and redirects: what the templates make of them, of right and of hostile values.
local host = require("spec.support.host")
local program = require("spec.support.program")

local CERTIFICATE, CRT_LIST = 4, 5
local OWN = "HapticSecret0123456789abcdef0123456789abcdefEnd"
local HANDLE = "HapticSecret" .. ("ab"):rep(16) .. "End"

local function secret(name, names, facts)
  local x509 = { validity = "valid", not_before = 1, not_after = 2, usable = true, names = names, key_type = "ECDSA",
    key_bits = 256, certificates = 1, strays = 0, reordered = false, chain = HANDLE }
  for k, v in pairs(facts or {}) do x509[k] = v end
  return { metadata = { namespace = "default", name = name }, type = "kubernetes.io/tls",
    data = { ["tls.crt"] = HANDLE, ["tls.key"] = HANDLE }, x509 = x509 }
end

local function engine(context, capabilities)
  local kinds = { { name = "secrets", parts = 2 }, unpack(program.KINDS) }
  return program.engine({ kinds = kinds, context = context, capabilities = capabilities
    or { version = "3.2", major = 3, minor = 2, default_certificate = OWN } })
end

local function ingress(name, tls, more)
  local spec = { tls = tls, rules = { { host = name .. ".example", paths = { { "/" }, { "/x", "Exact" } } } } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return program.ingress(name, spec)
end

--- Certificates and lines: name → text, with "keep " in front where they ask to stay.
local function tables(e)
  local certificates, lines = {}, {}
  for _, item in ipairs(e.host:winners()) do
    local text = (item.rank == 1 and "keep " or "") .. item.text
    if item.kind == CERTIFICATE then certificates[item.scope] = text end
    if item.kind == CRT_LIST then lines[item.key] = text end
  end
  return certificates, lines
end

describe("The ssl library", function()
  it("gives hosts of spec.tls their certificates and redirects", function()
    local e = engine()
    e:put("secrets", secret("s", { "*.example", "a.example" }))
    e:put("ingresses", ingress("a", { { hosts = { "a.example", "b.example" }, secretName = "s" } }))
    e:put("ingresses", ingress("plain", nil))
    e:render()
    assert.same({}, e.host.failures)
    local certificates, lines = tables(e)
    assert.same({ ["default.pem"] = OWN .. "\n", ["default_s.pem"] = HANDLE .. "\n" .. HANDLE .. "\n" }, certificates)
    assert.same({ [""] = "certs/default.pem", ["a.example"] = "certs/default_s.pem",
      ["b.example"] = "certs/default_s.pem" }, lines)
    local output = e:output()
    assert.equal("a.example/ 302:443:default_web_80\n", output.maps["redirect-prefix.map"])
    assert.equal("a.example/x 302:443:default_web_80\n", output.maps["redirect-exact.map"])
    assert.is_nil(output.warnings["default/a"].TlsNotSupported)
    assert.matches("bind :8443 ssl crt-list certs/https.list alpn h2,http/1.1 ", output.config, 1, true)
  end)

  it("gives no redirects to what has no routes, which would be in the way of others", function()
    local e = engine()
    e:put("ingresses", program.ingress("canary", { annotations = { ["nginx.ingress.kubernetes.io/canary"] = "true",
      ["haproxy.org/ssl-redirect"] = "true" }, rules = { { host = "a.example", paths = { { "/", "Prefix", "new" } } } } }), 1000)
    e:put("ingresses", ingress("a", { { hosts = { "a.example" } } }), 2000)
    e:render()
    assert.same({}, e.host.failures)
    assert.equal("a.example/ 302:443:default_web_80\n", e:output().maps["redirect-prefix.map"])
  end)

  it("is not there without Secrets, without a default certificate, or when it is switched off", function()
    for _, e in ipairs({ program.engine({}), engine({ https = false }), engine(nil, { version = "3.2" }) }) do
      e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
      e:render()
      local output = e:output()
      assert.matches("spec.tls", output.warnings["default/a"].TlsNotSupported)
      assert.is_nil(output.config:find("crt-list", 1, true))
    end
    local e = engine({ tls_elsewhere = true })
    e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
    e:render()
    assert.is_nil((e:output().warnings["default/a"] or {}).TlsNotSupported)
    assert.equal("", e:output().maps["redirect-prefix.map"])
  end)

  it("keeps what was there where a Secret cannot be used, and names the reason", function()
    for reason, s in pairs({
      InvalidCertificate = secret("s", {}, { problem = "the key is encrypted: store it without a password" }),
      CertificateExpired = secret("s", { "a.example" }, { validity = "ended" }),
      CertificateNotYetValid = secret("s", { "a.example" }, { validity = "early" }),
      TlsSecretNotFound = secret("other", { "a.example" }),
    }) do
      local e = engine()
      e:put("secrets", s)
      e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
      e:render()
      local certificates, lines = tables(e)
      assert.equal("keep ", certificates["default_s.pem"], reason)
      -- Of a Secret that is not there it is not known which pairs it had; files that are not there are left out.
      assert.equal(reason == "TlsSecretNotFound" and "keep certs/default_s.pem certs/default_s_ecdsa.pem certs/default_s_rsa.pem"
        or "keep certs/default_s.pem", lines["a.example"])
      assert.is_string(e:output().warnings["default/a"][reason])
    end
  end)

  it("takes the certificates of each type of key that one Secret has, as another controller does", function()
    local RSA_KEY, RSA, EC_KEY, EC = HANDLE:gsub("a", "1"), HANDLE:gsub("a", "2"), HANDLE:gsub("a", "3"), HANDLE:gsub("a", "4")
    local function run(rsa, ecdsa, more)
      local e = engine({ default_certificate = "default/s" })
      local s = secret("s", { "a.example" }, { stem = "rsa", key_type = "RSA", chain = RSA })
      for k, v in pairs(rsa) do s.x509[k] = v end
      local pair = secret("s", { "a.example" }, { stem = "ecdsa", chain = EC }).x509
      for k, v in pairs(ecdsa) do pair[k] = v end
      s.x509.pairs = { pair }
      s.type, s.data = "Opaque", { ["rsa.crt"] = RSA, ["rsa.key"] = RSA_KEY, ["ecdsa.crt"] = EC, ["ecdsa.key"] = EC_KEY }
      for k, v in pairs(more or {}) do s.data[k] = v end
      e:put("secrets", s)
      e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
      e:render()
      assert.same({}, e.host.failures)
      local certificates, lines = tables(e)
      return certificates, lines, e:output().warnings["default/a"] or {}
    end
    local rsa, ec = RSA .. "\n" .. RSA_KEY .. "\n", EC .. "\n" .. EC_KEY .. "\n"
    local certificates, lines, told = run({}, {})
    assert.same({ ["default.pem"] = rsa, ["default_s_rsa.pem"] = rsa, ["default_s_ecdsa.pem"] = ec }, certificates)
    assert.equal("certs/default_s_ecdsa.pem certs/default_s_rsa.pem", lines["a.example"])
    assert.is_nil(told.InvalidCertificate)
    -- A bad one leaves the other as it is.
    certificates, lines, told = run({ problem = "rsa.key is empty" }, {})
    assert.same({ ["default.pem"] = ec, ["default_s_rsa.pem"] = "keep ", ["default_s_ecdsa.pem"] = ec }, certificates)
    assert.equal("keep certs/default_s_ecdsa.pem certs/default_s_rsa.pem", lines["a.example"])
    assert.matches("Secret default/s: rsa.key is empty;", told.InvalidCertificate, 1, true)
    local other
    certificates, other, told = run({}, { validity = "ended" })
    assert.equal("keep certs/default_s_ecdsa.pem certs/default_s_rsa.pem", other["a.example"])
    assert.equal("keep ", certificates["default_s_ecdsa.pem"])
    assert.matches("Secret default/s: the certificate ecdsa.crt has expired;", told.CertificateExpired, 1, true)
    certificates, lines, told = run({}, { names = { "b.example" } })
    assert.equal(ec, certificates["default_s_ecdsa.pem"])
    assert.equal("certs/default_s_rsa.pem", lines["a.example"])
    assert.is_string(told.CertificateHostMismatch)
    told = select(3, run({}, {}, { ["dsa.crt"] = RSA, ["dsa.key"] = RSA_KEY }))
    assert.matches("dsa.crt has no effect", told.InvalidCertificate, 1, true)
    -- OCSP answers for one of them only: it comes under another name.
    local e = engine({ ocsp_update = true })
    local s = secret("s", { "a.example" }, { stem = "rsa", key_type = "RSA", chain = RSA })
    s.data = { ["rsa.crt"] = RSA, ["rsa.key"] = RSA_KEY, ["ecdsa.crt"] = EC, ["ecdsa.key"] = EC_KEY }
    s.x509.pairs = { secret("s", { "a.example" }, { stem = "ecdsa", chain = EC, ocsp = true, ocsp_host = "ocsp.example.com" }).x509 }
    e:put("secrets", s)
    e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
    e:render()
    certificates, lines = tables(e)
    assert.equal("certs/default_s_ecdsa_unstapled.pem certs/default_s_rsa.pem", lines["a.example"])
    assert.equal(ec, certificates["default_s_ecdsa_unstapled.pem"])
  end)

  it("gives each content of each Secret a file of its own, whatever the Secrets are called", function()
    local long, digest = ("a"):rep(200), ("0a"):rep(20)
    local hashes = program.engine({ libraries = false, scripts = { { name = "x.lua", source = [[
      fragment("hash", function(out) out:map_entry("h.map", "x", hash(("a"):rep(200))) end)]] } } })
    hashes:render()
    local names = { "x", "ca", "rsa", long, hashes:output().maps["h.map"]:match("x (%x+)") }
    for _, ending in ipairs({ "ca", "crl", "server-ca", "unstapled", "rsa", "ecdsa", digest .. ".server-ca", "pem" }) do
      for _, between in ipairs({ ".", "-" }) do names[#names + 1] = "x" .. between .. ending end
    end
    local e = program.engine({ kinds = { { name = "secrets", parts = 2 }, unpack(program.KINDS) },
      capabilities = { version = "3.2", major = 3, minor = 2, default_certificate = OWN }, scripts = { { name = "all.lua", source = [[
        local ssl = use("ssl")
        each(resources.secrets, "files", function(s, out)
          local namespace, name = s.metadata.namespace, s.metadata.name
          for _, c in ipairs(ssl.certificates(out, namespace, name)) do ssl.unstapled(out, namespace, name, c.facts) end
          ssl.authorities(out, namespace, name)
          ssl.server_authorities(out, out, namespace, name, true)
        end)]] } } })
    for _, name in ipairs(names) do
      local s = secret(name, {}, { authorities = { certificates = 1, digest = digest }, revocations = { lists = 1 } })
      s.data["ca.crt"], s.data["ca.crl"], s.data["ecdsa.key"] = HANDLE, HANDLE, HANDLE
      s.x509.pairs = { secret(name, {}, { stem = "ecdsa" }).x509 }
      e:put("secrets", s)
    end
    e:render()
    assert.same({}, e.host.failures)
    local files, count = {}, 0
    for _, item in ipairs(e.host:winners()) do
      if item.kind == CERTIFICATE and item.scope ~= "default.pem" then files[item.scope], count = true, count + 1 end
    end
    local distinct = 0
    for _ in pairs(files) do distinct = distinct + 1 end
    -- Two certificates, each with and without OCSP answers; authorities of clients and their list; two of servers.
    assert.equal(8 * #names, distinct)
    assert.equal(distinct, count)
  end)

  it("has at most four certificates for a host, also while their Secrets are missing", function()
    local e, tls = engine(), {}
    for i = 1, 6 do tls[i] = { hosts = { "a.example" }, secretName = "missing" .. i } end
    e:put("ingresses", ingress("a", tls))
    e:render()
    assert.same({}, e.host.failures)
    local _, lines = tables(e)
    assert.equal(4, select(2, lines["a.example"]:gsub("certs/", "")))
  end)

  it("gives no host a certificate that is not for it", function()
    local e = engine()
    e:put("secrets", secret("s", { "*.example", "other.test" }))
    e:put("ingresses", ingress("a", { { hosts = { "a.example", "a.b.example", "bank.test", "*.example" }, secretName = "s" } }))
    e:render()
    local _, lines = tables(e)
    assert.is_nil(lines["a.b.example"])
    assert.is_nil(lines["bank.test"])
    assert.equal("certs/default_s.pem", lines["*.example"])
    local told = e:output().warnings["default/a"].CertificateHostMismatch
    assert.matches("bank.test", told)
    assert.matches("a.b.example", told)
  end)

  it("reads annotations, and passes over what they cannot be", function()
    local tls = { { hosts = { "a.example" }, secretName = "s" } }
    local cases = {
      { { ["haproxy.org/ssl-redirect"] = "false" }, "off" },
      { { ["haproxy.org/ssl-redirect-code"] = "301" }, "301:443" },
      { { ["haproxy.org/ssl-redirect-port"] = "8443" }, "302:8443" },
      { { ["haproxy.org/ssl-redirect"] = "perhaps", ["haproxy.org/ssl-redirect-code"] = "200" }, "302:443", true },
      { { ["haproxy.org/ssl-redirect-port"] = "443\n http-request deny" }, "302:443", true },
      { { ["haproxy.org/ssl-redirect-port"] = "70000" }, "302:443", true },
      { { ["haproxy-haptic.org/ssl-redirect-code"] = "307", ["haproxy.org/ssl-redirect-code"] = "301" }, "307:443" },
    }
    for _, case in ipairs(cases) do
      local e = engine()
      e:put("secrets", secret("s", { "a.example" }))
      e:put("ingresses", ingress("a", tls, { annotations = case[1] }))
      e:render()
      local output = e:output()
      assert.equal("a.example/ " .. case[2] .. ":default_web_80\n", output.maps["redirect-prefix.map"])
      assert.equal(case[3] or false, output.warnings["default/a"].InvalidAnnotation ~= nil)
      assert.is_nil(output.warnings["default/a"].AnnotationIgnored)
    end
    local e = engine({ ssl_redirect = false })
    e:put("ingresses", ingress("a", tls))
    e:put("ingresses", ingress("forced", nil, { annotations = { ["haproxy.org/ssl-redirect"] = "true" } }))
    e:render()
    assert.equal("forced.example/ 302:443:default_web_80\n", e:output().maps["redirect-prefix.map"])
  end)

  it("passes no TLS through where something protects the routes, at whichever object", function()
    local function run(annotations, of_service, map)
      local kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }
      local e = program.engine({ kinds = kinds, context = { ssl_passthrough = true, configmap = "default/map",
        config_snippets = { "Ingress" } }, capabilities = { version = "3.4", major = 3, minor = 4, default_certificate = OWN } })
      local service = program.service("web")
      service.metadata.annotations = of_service
      e:put("services", service)
      e:put("configmaps", { metadata = { namespace = "default", name = "map" }, data = map or {} })
      annotations["haproxy.org/ssl-passthrough"] = "true"
      e:put("ingresses", ingress("a", nil, { annotations = annotations }))
      e:render()
      local o = e:output()
      return o.maps["passthrough.map"] == "a.example default_web_80__tcp\n", (o.warnings["default/a"] or {}).ProtectionNotSupported
    end
    for key, value in pairs({ ["haproxy.org/rate-limit-requests"] = "5", ["haproxy-haptic.org/deny-list"] = "10.0.0.1",
      ["haproxy-haptic.org/client-ca"] = "ca", ["haproxy.com/auth-type"] = "basic-auth",
      ["haproxy.org/backend-config-snippet"] = "http-request deny if { path /x }",
      ["nginx.ingress.kubernetes.io/auth-url"] = "http://a" }) do
      local passes, told = run({ [key] = value })
      assert.is_false(passes, key)
      assert.matches(key, told, 1, true)
    end
    local passes, told = run({}, { ["haproxy.org/route-acl"] = "path /x" })
    assert.is_false(passes)
    assert.matches("route-acl", told, 1, true)
    passes, told = run({}, nil, { ["deny-list"] = "10.0.0.0/8" })
    assert.is_false(passes)
    assert.matches("deny-list of the ConfigMap protects", told, 1, true)
    -- What stands between HAProxy and the pods, and settings, are no matter of the routes.
    for _, case in ipairs({ { { ["haproxy.org/server-ca"] = "ca", ["haproxy.org/set-host"] = "b.example" } },
      { { ["haproxy.org/backend-config-snippet"] = "http-request set-header X-A b" } },
      { {}, nil, { ["prometheus-endpoint-auth-secret"] = "users", ["server-ca"] = "default/ca" } } }) do
      passes, told = run(case[1], case[2], case[3])
      assert.is_true(passes, told)
      assert.is_nil(told)
    end
  end)

  it("says what has no effect on TLS that is passed through, and gives its servers the Service's words", function()
    local e = engine({ ssl_passthrough = true }, { version = "3.4", major = 3, minor = 4, default_certificate = OWN })
    local service = program.service("web")
    service.metadata.annotations = { ["haproxy.org/pod-maxconn"] = "7", ["haproxy.org/send-proxy-protocol"] = "proxy-v2",
      ["haproxy.org/check"] = "true", ["haproxy.org/check-interval"] = "9s", ["haproxy.org/load-balance"] = "leastconn",
      ["haproxy.org/cookie-persistence-no-dynamic"] = "c" }
    e:put("services", service)
    e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
    e:put("ingresses", ingress("a", nil, { annotations = { ["haproxy.org/ssl-passthrough"] = "true",
      ["haproxy.org/ssl-redirect-code"] = "301", ["haproxy.org/path-rewrite"] = "/x", ["haproxy.org/set-host"] = "b.example" } }))
    e:render()
    local o = e:output()
    local told = o.warnings["default/a"]
    assert.equal("these have no effect on TLS that is passed through: haproxy.org/path-rewrite, haproxy.org/set-host, "
      .. "service web: haproxy.org/cookie-persistence-no-dynamic, service web: haproxy.org/load-balance", told.AnnotationIgnored)
    assert.matches("TLS for a.example goes to the Service of the first path", told.PathIgnored, 1, true)
    local backend = o.config:match("\nbackend default_web_80__tcp.-\n\n") or o.config:match("\nbackend default_web_80__tcp.*")
    assert.matches("server 10.0.0.1_80 10.0.0.1:80 check inter 9s maxconn 7 send-proxy-v2\n", backend, 1, true)
    assert.is_nil(backend:find("balance", 1, true))
  end)

  it("closes the routes that ask for client certificates where there is no HTTPS", function()
    local e = engine({ https = false })
    e:put("services", program.service("web"))
    e:put("ingresses", ingress("a", nil, { annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } }))
    e:render()
    local output = e:output()
    assert.equal("a.example/ haptic_unavailable\n", output.maps["path-prefix.map"])
    assert.matches("client%-ca", output.warnings["default/a"].ProtectionNotSupported)
  end)

  it("asks for client certificates with the route, and takes what is wrong for the stricter", function()
    for written, wanted in pairs({ required = "required", optional = "optional", off = "required", [""] = "required" }) do
      for _, ca in ipairs({ "ca", "../x", "A" }) do
        local e = engine()
        e:put("secrets", secret("s", { "a.example" }))
        e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }, { annotations = {
          ["haproxy-haptic.org/client-ca"] = ca, ["haproxy-haptic.org/client-verify"] = written } }))
        e:render()
        local output = e:output()
        local mode = ca == "ca" and wanted .. "@default_ca" or "required"
        assert.equal("a.example/ " .. mode .. ":default_web_80\n", output.maps["client-prefix.map"])
        assert.equal("a.example/x " .. mode .. ":default_web_80\n", output.maps["client-exact.map"])
        local _, lines = tables(e)
        assert.equal(ca == "ca" and "keep certs/default_s.pem [ca-file certs/default_ca_ca.pem verify optional]"
          or "certs/default_s.pem", lines["a.example"])
        assert.equal(ca == "ca" and "a.example default_ca\n" or "", output.maps["client-ca.map"])
      end
    end
  end)

  it("asks for lists of revoked certificates and leads to a page, and takes neither for what it is not", function()
    local function run(annotations, facts)
      local e = engine()
      e:put("secrets", secret("s", { "a.example" }))
      e:put("secrets", { metadata = { namespace = "default", name = "ca" }, data = { ["ca.crt"] = HANDLE, ["ca.crl"] = OWN },
        x509 = { validity = "valid", usable = false, names = {}, problem = "it has no tls.crt",
          authorities = { certificates = 1 }, revocations = facts } })
      annotations["haproxy-haptic.org/client-ca"] = "ca"
      e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }, { annotations = annotations }))
      e:render()
      local certificates, lines = tables(e)
      return e:output(), certificates, lines
    end
    local _, certificates, lines = run({}, { lists = 1 })
    assert.equal(OWN .. "\n", certificates["default_ca_crl.pem"])
    assert.equal("keep certs/default_s.pem [ca-file certs/default_ca_ca.pem crl-file certs/default_ca_crl.pem verify optional]",
      lines["a.example"])
    local output
    output, certificates = run({}, { lists = 0, problem = "garbage" })
    assert.equal("keep ", certificates["default_ca_crl.pem"])
    assert.matches("garbage", output.warnings["default/a"].InvalidClientCrl)
    for page, good in pairs({ ["https://x.example/why?a=1&b=%20"] = true, ["http://x.example:8080/"] = true, ["/why"] = true,
      ["//x.example/"] = false, ["javascript:1"] = false, ["https://x.example"] = false, ["/a b"] = false,
      ["https://x.example/%[env(PATH)]"] = false, ["/" .. ("a"):rep(1024)] = false }) do
      output = run({ ["haproxy-haptic.org/client-error-page"] = page })
      assert.equal("a.example/ required@default_ca:" .. (good and page .. ":" or "") .. "default_web_80\n", output.maps["client-prefix.map"])
      assert.equal(not good, output.warnings["default/a"] ~= nil and output.warnings["default/a"].InvalidAnnotation ~= nil)
    end
  end)

  it("asks for OCSP answers where HAProxy can, and names a file with and without them never", function()
    local function run(context, capabilities, responder)
      local e = engine(context, capabilities)
      e:put("secrets", secret("s", { "a.example", "b.example" }, { ocsp = true,
        ocsp_host = responder or "ocsp.example.com" }))
      e:put("secrets", secret("r", { "b.example" }, { ocsp = false, key_type = "RSA" }))
      e:put("ingresses", ingress("a", { { hosts = { "a.example" }, secretName = "s" } }))
      e:put("ingresses", ingress("b", { { hosts = { "b.example" }, secretName = "s" },
        { hosts = { "b.example" }, secretName = "r" } }))
      e:render()
      assert.same({}, e.host.failures)
      return select(2, tables(e)), e:output()
    end
    local lines = run({ ocsp_update = true })
    assert.equal("certs/default_s.pem [ocsp-update on]", lines["a.example"])
    assert.equal("certs/default_r.pem certs/default_s_unstapled.pem", lines["b.example"])
    assert.equal("certs/default_s.pem", run({})["a.example"])
    -- Whom HAProxy asks is chosen by whoever made the certificate.
    for _, responder in ipairs({ "127.0.0.1", "169.254.169.254", "0x7f.1", "2130706433", "localhost", "metadata.google.internal",
      "168.63.129.16", "", "-x" }) do
      local certificates, output = run({ ocsp_update = true }, nil, responder)
      assert.equal("certs/default_s.pem", certificates["a.example"], responder)
      assert.is_string(output.warnings["default/a"].OcspResponderRefused, responder)
    end
    lines = run({ ocsp_update = true }, { version = "2.6", major = 2, minor = 6, default_certificate = OWN })
    assert.equal("certs/default_s.pem", lines["a.example"])
  end)

  it("takes hostile values of spec.tls for nothing", function()
    local hostile = {
      "text", 7, { "text" }, { 5 }, { { hosts = "a.example", secretName = "s" } }, { { hosts = { 5, {}, "" }, secretName = "s" } },
      { { hosts = { "a.example\n bind :1" }, secretName = "s" } }, { { hosts = { "A.Example" }, secretName = "s" } },
      { { hosts = { "*" }, secretName = "s" } }, { { hosts = { "*.*.example" }, secretName = "s" } },
      { { hosts = { "a.example" }, secretName = "../../etc/passwd" } }, { { hosts = { "a.example" }, secretName = 5 } },
      { { hosts = { "a.example" }, secretName = "s\n" } }, { { hosts = { "a.example" }, secretName = {} } },
      { { hosts = { HANDLE }, secretName = HANDLE } },
    }
    for i, tls in ipairs(hostile) do
      local e = engine()
      e:put("secrets", secret("s", { "*.example" }))
      e:put("ingresses", ingress("good", { { hosts = { "good.example" }, secretName = "s" } }))
      e:put("ingresses", ingress("a", tls))
      e:render()
      local _, lines = tables(e)
      local known = { [""] = true, ["good.example"] = true, ["a.example"] = true }
      for name, text in pairs(lines) do
        assert.is_true(known[name], i .. ": " .. name)
        assert.matches("^k?e?e?p? ?certs/[%w_.]+%.pem$", text)
      end
      assert.equal("certs/default_s.pem", lines["good.example"])
      assert.is_nil(e:output().config:find("\n    bind :1\n", 1, true))
      assert.is_nil(e.host.failures["ingress.lua:tls/ingresses/default/a"], i)
    end
  end)

  it("limits entries and hosts", function()
    local tls, hosts = {}, {}
    for i = 1, 101 do tls[i] = { hosts = { "a.example" }, secretName = "s" } end
    for i = 1, 1001 do hosts[i] = "h" .. i .. ".example" end
    local e = engine()
    e:put("secrets", secret("s", { "*.example" }))
    e:put("ingresses", ingress("a", tls))
    e:put("ingresses", ingress("b", { { hosts = hosts, secretName = "s" } }))
    e:render()
    local _, lines = tables(e)
    local count = 0
    for _ in pairs(lines) do count = count + 1 end
    assert.equal(1002, count)
    assert.is_string(e:output().warnings["default/a"].InvalidTls)
  end)

  it("serves a default certificate of the administrator, and its own where that cannot be used", function()
    local e = engine({ default_certificate = "default/wild" })
    e:put("secrets", secret("wild", { "*.example" }))
    e:render()
    assert.equal(HANDLE .. "\n" .. HANDLE .. "\n", (tables(e))["default.pem"])
    e:delete("secrets", "default/wild")
    e:render()
    assert.equal("keep " .. OWN .. "\n", (tables(e))["default.pem"])
    assert.equal(4, CERTIFICATE)
    assert.is_table(host)
  end)
end)
