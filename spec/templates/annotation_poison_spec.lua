-- Bad values of each annotation that is honoured: the owner is told, nothing of them is in the output, others keep what
-- they have, and HAProxy takes the configuration.
local haproxy = require("spec.support.haproxy")
package.path = "./?.lua;" .. package.path
local program = require("spec.support.program")
local page = require("tools.annotations")

local LOOK_ALIKE = "\208\176" -- the Cyrillic letter that looks like "a"
local EVIL = "zz-evil"
--- Kinds of what fragments put out.
local CERTIFICATE, CRT_LIST = 4, 5

--- What no type takes.
local INJECTIONS = {
  "x\n    http-request deny " .. EVIL, EVIL .. "\0", ("9"):rep(9000) .. EVIL, EVIL .. "\27[31m",
  "\255\254" .. EVIL,
}

local SWITCH = { "tru" .. LOOK_ALIKE, "2", "true false", EVIL, "{}" }
local ADDRESSES = { "10.0.0.0/33", "010.0.0.1", "10.0.0.0/08", "300.1.1.1", "patterns/" .. EVIL, "10.0.0.1;" .. EVIL, "::1/129",
  "\239\188\145\239\188\144.0.0.1" }
local DURATION = { "-1s", "5 s", "1e3s", "99999999999999d", "5s" .. EVIL, "5\208\181" }
local STATUS = { "99", "200", "99999999999999999999", "3O2", "302 " .. EVIL, "-302", "\239\188\14702" }
local HEADER = { EVIL, "Host " .. EVIL, "Transfer-Encoding chunked", "Content-Length 0", "X-" .. LOOK_ALIKE .. " " .. EVIL,
  "X-A %[env(HOME)]" .. EVIL, "X-A " .. ("y"):rep(5000), 'X-A:b "' .. EVIL, "X A\r\nSet-Cookie: " .. EVIL .. "\226\128\168" }
local HOST = { EVIL .. "/x", EVIL .. ":99999", "a b", EVIL .. "\226\128\139", "a..b", "%[src]", "-a", "a:" }
local EXPRESSION = { "(a+)+" .. EVIL, "(" .. EVIL, "[" .. EVIL, "a{1,5000}", "(?=a)" .. EVIL, "\\1", "(a|aa)*" .. EVIL,
  "*a", ".*.*.*.*" .. EVIL, LOOK_ALIKE }
local LIMIT = { "0", "-5", "1.5", "99999999999999999999", "ten", "1 " .. EVIL, "\239\188\145" }

local function expressions(format)
  local list = {}
  for i, e in ipairs(EXPRESSION) do list[i] = format:format(e) end
  return list
end

--- Bad values, by key; needs: the annotations without which the key has no effect.
local CORPUS = {
  ["allow-list"] = ADDRESSES, whitelist = ADDRESSES, allowlist = ADDRESSES,
  ["deny-list"] = ADDRESSES, blacklist = ADDRESSES, denylist = ADDRESSES,
  ["rate-limit-whitelist"] = ADDRESSES,
  ["request-redirect"] = { "ftp://" .. EVIL, "//" .. EVIL, EVIL .. "/path", "https://" .. EVIL .. ":0", "https://a b",
    "javascript:" .. EVIL, "%[src]", LOOK_ALIKE .. ".example" },
  ["request-redirect-code"] = STATUS,
  ["request-set-header"] = HEADER, ["response-set-header"] = HEADER,
  ["set-host"] = HOST,
  ["path-rewrite"] = { EVIL, "/%[src]" .. EVIL, "/a b c " .. EVIL, "/a /\\2", "/\\2", "/a?" .. EVIL, "/\226\128\174",
    "/1\n/2\n/3\n/4\n/5" .. EVIL, unpack(expressions("%s /x")) },
  ["auth-type"] = { "basic", "digest", EVIL, "b" .. LOOK_ALIKE .. "sic-auth", "basic-auth basic-auth" },
  ["auth-secret"] = { "a/b/c" .. EVIL, "../" .. EVIL, "UPPER/" .. EVIL, EVIL .. "/", "nobody", "other/users",
    "users\226\128\139" },
  ["auth-realm"] = { 'a"' .. EVIL, "a/b", ("r"):rep(101), "r\226\128\168", "%[env(HOME)]" .. EVIL, "r;" .. EVIL },
  ["cors-enable"] = SWITCH, ["cors-allow-credentials"] = SWITCH, ["cors-respond-to-options"] = SWITCH,
  ["cors-allow-origin"] = EXPRESSION,
  ["cors-allow-methods"] = { "GET;" .. EVIL, "G" .. LOOK_ALIKE .. "T", "GET\tPUT" .. EVIL, "(" .. EVIL, ",", "%[src]" },
  ["cors-allow-headers"] = { "X:" .. EVIL, "X-" .. LOOK_ALIKE, "X\tY" .. EVIL, "{" .. EVIL, " , ", "%[src]" },
  ["cors-max-age"] = DURATION,
  ["rate-limit-requests"] = LIMIT, ["rate-limit-period"] = { "0", "2h", "1ms", unpack(DURATION) },
  ["rate-limit-status-code"] = { "418", "600", unpack(STATUS) },
  ["request-capture"] = { "env(HOME)" .. EVIL, "hdr(a),lua." .. EVIL, "hdr(" .. EVIL, "req.body", "hdr(a b)", "path path",
    "hdr(" .. LOOK_ALIKE .. ")" },
  ["request-capture-len"] = { "0", "-1", "9999", "ten", "1e2", "128 " .. EVIL, "\239\188\145" },
  ["src-ip-header"] = { "X-" .. LOOK_ALIKE, "a b", "X:" .. EVIL, ("x"):rep(65), "%[src]", "x," .. EVIL },
  ["timeout-server"] = { "0", "25d", unpack(DURATION) },
  ["load-balance"] = { "round" .. LOOK_ALIKE, EVIL, "hdr(" .. EVIL, "roundrobin " .. EVIL, "random(0)", "uri len x" .. EVIL },
  ["cookie-persistence"] = { "a b" .. EVIL, "a;" .. EVIL, LOOK_ALIKE, ("c"):rep(65), "%[src]" .. EVIL },
  ["cookie-persistence-no-dynamic"] = { "a b" .. EVIL, "a;" .. EVIL, LOOK_ALIKE, ("c"):rep(65), "%[src]" .. EVIL },
  check = SWITCH, abortonclose = SWITCH, ["forwarded-for"] = SWITCH,
  ["check-http"] = { "x" .. EVIL, "DELETE /" .. EVIL, "GET / HTTP/9 " .. EVIL, "GET /%[src] a b " .. EVIL, "/" .. LOOK_ALIKE },
  ["check-interval"] = DURATION, ["timeout-check"] = DURATION,
  ["pod-maxconn"] = LIMIT,
  ["send-proxy-protocol"] = { "proxy-v3", EVIL, "true", "prox" .. LOOK_ALIKE, "proxy proxy" },
  ["server-ssl"] = SWITCH, ["standalone-backend"] = SWITCH, ["ssl-passthrough"] = SWITCH,
  ["server-proto"] = { "h3", EVIL, "h2 " .. EVIL, "\208\189" .. "2", "http/1.1", "h2,h1" },
  ["server-ca"] = { "a/b/c" .. EVIL, EVIL .. "/", "UPPER", "nobody", "other/ca", "ca\226\128\139", "ca verify none " .. EVIL },
  ["server-crt"] = { "a/b/c" .. EVIL, "../" .. EVIL, "UPPER", "nobody", "other/crt", LOOK_ALIKE, "crt ssl " .. EVIL },
  ["server-sni"] = { "UPPER.example", "a b", "x) verify none " .. EVIL, LOOK_ALIKE .. ".example", "%[src]", "-a", EVIL .. "\226\128\139" },
  ["backend-config-snippet"] = { "server " .. EVIL .. " 127.0.0.1:1", "http-request lua." .. EVIL, "backend " .. EVIL,
    "http-request deny if { src -f " .. EVIL .. " }", 'http-request set-header X-A "$' .. EVIL .. '"', "ser\208\178er x" .. EVIL },
}
local TIME = { "-1s", "5 s", "1e3s", "99999999999999d", "5s" .. EVIL, "5\208\181", "0" }
local NUMBER = { "-5", "1.5", "99999999999999999999", "ten", "1 " .. EVIL, "\239\188\145" }

--- Bad values of keys that only the ConfigMap has.
local CONFIG = {
  maxconn = NUMBER, nbthread = NUMBER, ["rate-limit-size"] = NUMBER, ["quic-alt-svc-max-age"] = NUMBER,
  dontlognull = SWITCH, logasap = SWITCH, ["http-keep-alive"] = SWITCH, ["http-server-close"] = SWITCH,
  ["client-strict-sni"] = SWITCH, ["proxy-protocol"] = ADDRESSES, ["hard-stop-after"] = TIME,
  ["http-connection-mode"] = { "close", EVIL, "http-keep-alive " .. EVIL, "HTTPCLOSE", "httpcl" .. LOOK_ALIKE .. "se" },
  ["tls-alpn"] = { "h2;" .. EVIL, "(" .. EVIL, "h2\"" .. EVIL, LOOK_ALIKE, "%[env(HOME)]" },
  ["ssl-certificate"] = { EVIL, "a/b/c", "A/B", "a/" .. EVIL .. " x", "a/b\226\128\139", "../b" },
  ["default-backend-service"] = { EVIL, "a/b:c:d", "A/B", "a/" .. EVIL .. " x", "a/b\226\128\139", "a:80" },
  ["syslog-server"] = { EVIL, "address:" .. EVIL .. ";x, facility:local0", "address:127.0.0.1", "facility:local0",
    "address:127.0.0.1, facility:local9", "address:127.0.0.1, facility:local0, level:" .. EVIL,
    "address:127.0.0.1, facility:local0, port:99999", "address:/dev/log, facility:local0", "address:fd@1, facility:local0",
    "address:127.0.0.1, facility:loc" .. LOOK_ALIKE .. "l0", "address:127.0.0.1, facility:local0, length:1", "address:ring@" .. EVIL .. ", facility:local0" },
  ["global-config-snippet"] = { "chroot /" .. EVIL, "lua-load " .. EVIL, "tune.bufsize 1", "setenv A " .. EVIL, "d\208\176emon" },
  ["frontend-config-snippet"] = { "bind :1 name " .. EVIL, "use_backend " .. EVIL, "default_backend " .. EVIL, "filter " .. EVIL,
    "http-request use-service lua." .. EVIL, "http-request r\208\181turn status 200" },
  ["client-ca"] = { EVIL, "a/b/c", "A/B", "default/" .. EVIL .. " x", "default/ca\226\128\139", "default/ca verify none" },
  ["client-crt-optional"] = SWITCH,
  ["prometheus-endpoint-auth-secret"] = { "a/b/c" .. EVIL, "../" .. EVIL, "UPPER/" .. EVIL, EVIL .. "/", "users\226\128\139" },
  ["stats-config-snippet"] = { "stats admin if TRUE", "stats auth a:" .. EVIL, "stats scope " .. EVIL, "stats uri /" .. EVIL,
    "bind :1 name " .. EVIL, "st" .. LOOK_ALIKE .. "ts hide-version" },
}
for _, key in ipairs({ "log-format", "log-format-tcp" }) do
  CONFIG[key] = { "%[env(HOME)]" .. EVIL, "%[lua." .. EVIL .. "]", "%[str(a),map(" .. EVIL .. ")]", "%" .. LOOK_ALIKE, "%[req.hdr(a)",
    "%zz", ("x"):rep(3000) .. EVIL }
end
for name in ("client client-fin connect http-request http-keep-alive queue server-fin tunnel"):gmatch("%S+") do
  CONFIG["timeout-" .. name] = TIME
end
--- What protects everything closes it: what then is in the configuration.
local CLOSED = { ["frontend-config-snippet"] = "the configuration is refused",
  ["stats-config-snippet"] = "the configuration is refused", ["prometheus-endpoint-auth-secret"] = "deny_status 503 if { path /metrics }",
  ["client-ca"] = "certs/client-ca.everybody.pem verify optional" }
local NEEDS = {
  ["request-redirect-code"] = { ["request-redirect"] = "new.example" },
  ["auth-type"] = { ["auth-secret"] = "users" }, ["auth-secret"] = { ["auth-type"] = "basic-auth" },
  ["auth-realm"] = { ["auth-type"] = "basic-auth", ["auth-secret"] = "users" },
  ["rate-limit-period"] = { ["rate-limit-requests"] = "5" },
  ["rate-limit-status-code"] = { ["rate-limit-requests"] = "5" },
  ["rate-limit-whitelist"] = { ["rate-limit-requests"] = "5" },
  ["request-capture-len"] = { ["request-capture"] = "path" },
}
for _, key in ipairs({ "origin", "methods", "headers", "credentials" }) do
  NEEDS["cors-allow-" .. key] = { ["cors-enable"] = "true" }
end
NEEDS["cors-max-age"], NEEDS["cors-respond-to-options"] = { ["cors-enable"] = "true" }, { ["cors-enable"] = "true" }

local OWN = "HapticSecret0123456789abcdef0123456789abcdefEnd"

--- Bad values of keys that only a Service has.
local SERVICE = { ["route-acl"] = { EVIL, "{ path /" .. EVIL, "path /x } or { src 0.0.0.0/0 " .. EVIL, "src -f " .. EVIL,
  "http_auth(" .. EVIL .. ")", "path -m reg (a+)+" .. EVIL, "env(HOME) -m found", "hdr(\208\176) -m found", 'path "$' .. EVIL .. '"',
  "lua." .. EVIL, "path /x\n server " .. EVIL .. " 127.0.0.1:1" } }

--- Bad values of keys of Ingresses that need TLS, tried with certificates.
local TLS = { ["ssl-redirect"] = SWITCH, ["ssl-redirect-code"] = STATUS, ["ssl-redirect-port"] = { "0", "65536", "-1", "44 3",
  "443 " .. EVIL, "\239\188\145" },
  ["client-ca"] = { "other/ca", "../" .. EVIL, "UPPER", "nobody", "ca " .. EVIL, "ca\226\128\139", LOOK_ALIKE },
  ["client-verify"] = { "none", "Required", "optional " .. EVIL, EVIL, "opti\208\190nal" },
  ["client-error-page"] = { "//" .. EVIL, "javascript:" .. EVIL, "https://" .. EVIL, "/%[src]" .. EVIL, "/a b" .. EVIL,
    "/" .. LOOK_ALIKE },
  acme = SWITCH }
--- Bad values of our own keys of Services, which protect nothing.
local OWN_SERVICE = { ["keep-last-ready"] = SWITCH }

--- Keys of the ConfigMap with a Secret or a Service that is missing.
local MISSING = { ["default-backend-service"] = "default/nobody", ["client-ca"] = "default/nobody", ["ssl-certificate"] = "default/nobody",
  ["prometheus-endpoint-auth-secret"] = "nobody" }
--- Keys that name a Secret.
local SECRETS = { ["auth-secret"] = true, ["server-ca"] = true, ["server-crt"] = true, ["client-ca"] = true,
  ["ssl-certificate"] = true, ["prometheus-endpoint-auth-secret"] = true }

--- An engine in which TLS ends, if the capabilities have a certificate for that.
local function engine(version, context, certificate)
  local major, minor = version:match("^(%d+)%.(%d+)")
  local settings = { trusted_proxies = { "192.0.2.1" }, https = certificate ~= nil,
    config_snippets = { "Ingress", "Service", "ConfigMap" } }
  for key, value in pairs(context or {}) do settings[key] = value end
  local e = program.engine({ kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 },
    unpack(program.KINDS) }, checked = false, context = settings,
    capabilities = { version = version, major = tonumber(major), minor = tonumber(minor),
      default_certificate = certificate } })
  e:put("services", program.service("web"))
  e:put("secrets", { metadata = { namespace = "default", name = "users" }, data = { ada = OWN } })
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  e:put("ingresses", program.ingress("neighbour", { annotations = { ["haproxy.org/allow-list"] = "10.0.0.0/8" },
    rules = { { host = "n.example", paths = { { "/" } } } } }))
  return e
end

--- All that the owner of an object is told, as one text.
local function told_of(o, id)
  local all = {}
  for _, message in pairs(o.warnings[id] or {}) do all[#all + 1] = message end
  return table.concat(all, " ")
end

--- May objects of a kind have a key?
local function is_on(k, kind) return (" " .. table.concat(k.on, " ") .. " "):find(" " .. kind .. " ", 1, true) ~= nil end

--- Put an Ingress for each bad value; returns name → {key, value}.
local function put_all(e)
  local cases, n = {}, 0
  for key, values in pairs(CORPUS) do
    local all = {}
    for _, list in ipairs({ values, INJECTIONS }) do
      for _, value in ipairs(list) do all[#all + 1] = value end
    end
    for _, value in ipairs(all) do
      n = n + 1
      local name = "case" .. n
      local annotations = { ["haproxy.org/" .. key] = value }
      for other, good in pairs(NEEDS[key] or {}) do annotations["haproxy.org/" .. other] = good end
      e:put("ingresses", program.ingress(name, { annotations = annotations,
        rules = { { host = name .. ".example", paths = { { "/" } } } } }))
      cases[name] = { key = key, value = value }
    end
  end
  return cases, n
end

describe("Bad values of annotations", function()
  it("of each key are tried, five at least: of other types, too long, with more lines, and with letters that look alike", function()
    local function has(list, what, fn)
      for _, value in ipairs(list) do
        if fn(value) then return end
      end
      error(what, 0)
    end
    has(INJECTIONS, "none has more lines", function(v) return v:find("\n", 1, true) end)
    has(INJECTIONS, "none is too long", function(v) return #v > 8192 end)
    local count = 0
    for _, keys in ipairs({ page.keys(page.FAMILY), page.own_keys() }) do
      for _, k in ipairs(keys) do
        local is_own = k.key:find(page.OWN .. "/", 1, true) == 1
        for _, kind in ipairs(k.refused and {} or k.on) do
          local tables = { Ingress = { TLS, CORPUS }, Service = { is_own and OWN_SERVICE or SERVICE, CORPUS },
            ConfigMap = { CONFIG, CORPUS, TLS } }
          local list
          for _, t in ipairs(tables[kind]) do list = list or t[k.old_for or k.short] end
          assert.truthy(list and #list >= 5, k.key .. " at " .. kind)
          has(list, k.key .. ": none has letters that look alike", function(v) return v:find("[\128-\255]") end)
          assert.truthy(SECRETS[k.short] or not k.doc:find("^A Secret"), k.key .. " names a Secret that can be missing")
          if SECRETS[k.short] then
            has(list, k.key .. ": none is missing", function(v)
              return v:find("nobody$") or kind == "ConfigMap" and MISSING[k.short]
            end)
          end
          count = count + 1
        end
      end
    end
    assert.truthy(count > 130, count)
  end)

  it("of keys about TLS are told, let nobody in, and leave nothing behind", function()
    local e, cases, n = engine("3.4", { configmap = "default/haproxy" }, OWN), {}, 0
    local function secret(name, values)
      local facts = { validity = "valid", not_before = 1, not_after = 2, usable = true, names = { "*.example" }, key_type = "ECDSA",
        key_bits = 256, certificates = 1, strays = 0, reordered = false, chain = OWN, authorities = { certificates = 1 } }
      e:put("secrets", { metadata = { namespace = "default", name = name }, data = values, x509 = facts })
    end
    secret("s", { ["tls.crt"] = OWN, ["tls.key"] = OWN })
    secret("ca", { ["ca.crt"] = OWN })
    for key, values in pairs(TLS) do
      local own = key:find("^client") or key == "acme"
      for _, list in ipairs({ values, INJECTIONS }) do
        for _, value in ipairs(list) do
          n = n + 1
          local annotations = { [(own and "haproxy-haptic.org/" or "haproxy.org/") .. key] = value }
          if key ~= "client-ca" and own then annotations["haproxy-haptic.org/client-ca"] = "ca" end
          e:put("ingresses", program.ingress("t" .. n, { annotations = annotations,
            tls = { { hosts = { "t" .. n .. ".example" }, secretName = "s" } },
            rules = { { host = "t" .. n .. ".example", paths = { { "/" } } } } }))
          cases[n] = { key = key, value = value, is_own = own }
        end
      end
    end
    e:render()
    local o = e:output()
    local problems, clients, redirects = {}, "\n" .. o.maps["client-prefix.map"], "\n" .. o.maps["redirect-prefix.map"]
    for i, case in ipairs(cases) do
      local told = told_of(o, "default/t" .. i)
      local what = ("%s = %q: "):format(case.key, case.value:sub(1, 60))
      if not told:find(case.key, 1, true) and not told:find("no ca.crt", 1, true) and not told:find("no Secret", 1, true) then
        problems[#problems + 1] = what .. "is not told: " .. told
      end
      -- The stricter counts: a certificate is needed, and what is wrong with a redirect leaves the setting's.
      if case.is_own and case.key ~= "acme" and not clients:find("\nt" .. i .. "%.example/ required[:@]") then
        problems[#problems + 1] = what .. "lets clients in"
      end
      if not redirects:find("\nt" .. i .. ".example/ 302:443:", 1, true) then problems[#problems + 1] = what .. "has another redirect" end
    end
    assert.equal("", table.concat(problems, "\n"))
    assert.truthy(n > 70, n)
    assert.is_nil(o.config:find(EVIL, 1, true))
    for name, text in pairs(o.maps) do assert.is_nil(text:find(EVIL, 1, true), name) end
    for _, item in ipairs(e.host:winners()) do
      if item.kind == CERTIFICATE or item.kind == CRT_LIST then
        assert.is_nil((item.scope .. item.key .. item.text):find(EVIL, 1, true), item.key)
      end
    end
    assert.same({}, e.host.failures)
    -- Of the ConfigMap: what it names is missing.
    for key, value in pairs(MISSING) do
      e:put("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "haproxy" },
        data = { [key] = value } })
      e:render()
      local told = told_of(e:output(), "default/haproxy")
      assert.matches(key, told, 1, true)
      assert.matches("nobody", told, 1, true)
    end
  end)

  it("in the ConfigMap are told there, and change nothing", function()
    local e = engine("3.4", { configmap = "default/haproxy" })
    local function put(data)
      e:put("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "haproxy" },
        data = data })
      e:render()
      local o = e:output()
      return o.config, o.warnings["default/haproxy"] or {}
    end
    local before = put({})
    local function try(key, values, reason)
      for _, value in ipairs(values) do
        local config, told = put({ [key] = value })
        local what = ("%s = %q"):format(key, value:sub(1, 60))
        assert.truthy(told[reason], what)
        assert.is_nil(told[reason]:find("\n", 1, true))
        if CLOSED[key] and config ~= before then
          assert.truthy(config:find(CLOSED[key], 1, true), what)
          assert.is_nil(config:find(EVIL, 1, true), what)
        else
          assert.equal(before, config, what)
        end
      end
    end
    for key, values in pairs(CONFIG) do
      try(key, values, "InvalidAnnotation")
      try(key, INJECTIONS, "InvalidAnnotation")
    end
    -- Those that Ingresses may have as well: nothing of them is in what is rendered for these.
    local tried, problems = 0, {}
    for _, k in ipairs(page.keys(page.FAMILY)) do
      local values = not k.refused and is_on(k, "ConfigMap") and not CONFIG[k.short] and CORPUS[k.old_for or k.short]
      for _, list in ipairs(values and { values, INJECTIONS } or {}) do
        for _, value in ipairs(list) do
          local what = ("%s = %q"):format(k.short, value:sub(1, 60))
          local data = { [k.short] = value }
          for other, good in pairs(NEEDS[k.short] or {}) do data[other] = good end
          local config, told = put(data)
          local all = table.concat({ told.InvalidAnnotation or "", told.InvalidProtection or "", told.InvalidServerSecret or "",
            told.InvalidServerCa or "", told.TlsSecretNotFound or "", told.InvalidReference or "" }, " ")
          -- A Secret without a namespace is looked for beside each Ingress: these are told.
          if k.short == "auth-secret" and value == "nobody" then all = all .. e.host:dump():match("== notes.*") end
          if not all:find(k.short, 1, true) and not all:find(k.old_for or k.short, 1, true) then problems[#problems + 1] = what .. " is not told: " .. all end
          if config:find(EVIL, 1, true) then problems[#problems + 1] = what .. " is in the configuration" end
          for name, text in pairs(e:output().maps) do assert.is_nil(text:find(EVIL, 1, true), what .. " in " .. name) end
          tried = tried + 1
        end
      end
    end
    assert.equal("", table.concat(problems, "\n"))
    assert.truthy(tried > 300, tried)
    -- Keys without an effect are told whatever they have.
    for _, k in ipairs(page.keys(page.FAMILY)) do
      if k.refused and table.concat(k.on, " "):find("ConfigMap", 1, true) then try(k.short, INJECTIONS, "AnnotationIgnored") end
    end
    -- The last of those that seem to keep somebody out: the lines that were good stay.
    for id, message in pairs(e.host.failures) do
      assert.matches("snippet%-%l+/configmaps/default/haproxy$", id)
      assert.matches("config-snippet is refused", message, 1, true)
    end
  end)

  it("of keys of Ingresses are told at Services as well, and leave nothing behind", function()
    local e, cases, n = engine("3.4"), {}, 0
    for _, k in ipairs(page.keys(page.FAMILY)) do
      local values = not k.refused and is_on(k, "Service") and not SERVICE[k.short] and CORPUS[k.old_for or k.short]
      for _, list in ipairs(values and { values, INJECTIONS } or {}) do
        for _, value in ipairs(list) do
          n = n + 1
          local service = program.service("s" .. n)
          service.metadata.annotations = { ["haproxy.org/" .. k.short] = value }
          e:put("services", service)
          e:put("endpoints", program.slice("s" .. n .. "-1", "s" .. n, 80, { { "10.0.1.1" } }))
          e:put("ingresses", program.ingress("i" .. n, { rules = { { host = "i" .. n .. ".example", paths = { { "/", "Prefix",
            "s" .. n } } } } }))
          cases[n] = { key = k.short, value = value }
        end
      end
    end
    assert.truthy(n > 150, n)
    e:render()
    local o, problems = e:output(), {}
    for i, case in ipairs(cases) do
      local told = {}
      for _, id in ipairs({ "default/s" .. i, "default/i" .. i }) do
        for _, message in pairs(o.warnings[id] or {}) do told[#told + 1] = message end
      end
      if not table.concat(told, " "):find(case.key, 1, true) then
        problems[#problems + 1] = ("%s = %q is not told: %s"):format(case.key, case.value:sub(1, 60), table.concat(told, " "))
      end
    end
    assert.equal("", table.concat(problems, "\n"))
    assert.is_nil(o.config:find(EVIL, 1, true))
    for name, text in pairs(o.maps) do assert.is_nil(text:find(EVIL, 1, true), name) end
    assert.same({}, e.host.failures)
  end)

  it("of a Service are told there, and close its backends", function()
    local e, n = engine("3.4"), 0
    for key, values in pairs(SERVICE) do
      for _, list in ipairs({ values, INJECTIONS }) do
        for _, value in ipairs(list) do
          n = n + 1
          local service = program.service("s" .. n)
          service.metadata.annotations = { ["haproxy.org/" .. key] = value }
          e:put("services", service)
          e:put("endpoints", program.slice("s" .. n .. "-1", "s" .. n, 80, { { "10.0.1.1" } }))
          e:put("ingresses", program.ingress("i" .. n, { rules = { { host = "i" .. n .. ".example", paths = { { "/", "Prefix",
            "s" .. n } } } } }))
        end
      end
    end
    e:render()
    local o = e:output()
    for i = 1, n do
      assert.matches("answered with 503", (o.warnings["default/s" .. i] or {}).InvalidAnnotation or "", 1, true, "s" .. i)
    end
    assert.is_nil(o.config:find(EVIL, 1, true))
    assert.is_nil(o.config:find("10.0.1.1", 1, true))
    assert.same({}, e.host.failures)
  end)

  it("of keys without an effect are told at Ingresses, and leave nothing behind", function()
    local e, names = engine("3.4"), {}
    for _, k in ipairs(page.keys(page.FAMILY)) do
      for i, value in ipairs(k.refused and table.concat(k.on, " "):find("Ingress", 1, true) and INJECTIONS or {}) do
        local name = k.short:gsub("[^%w]", "-"):lower() .. i
        e:put("ingresses", program.ingress(name, { annotations = { ["haproxy.org/" .. k.short] = value },
          rules = { { host = name .. ".example", paths = { { "/" } } } } }))
        names[name] = k.short
      end
    end
    e:render()
    local o = e:output()
    for name, key in pairs(names) do
      local told = o.warnings["default/" .. name] or {}
      assert.matches(key, (told.AnnotationIgnored or "") .. (told.ProtectionNotSupported or ""), 1, true, name)
    end
    assert.is_nil(o.config:find(EVIL, 1, true))
    for map, text in pairs(o.maps) do assert.is_nil(text:find(EVIL, 1, true), map) end
    assert.same({}, e.host.failures)
  end)

  -- Those without and with headers whose names are values.
  for _, version in ipairs({ "2.6", "3.4" }) do
    it("are told, and leave nothing behind, with HAProxy " .. version, function()
      local e = engine(version)
      e:render()
      local before = e:output()
      local cases, n = put_all(e)
      assert.truthy(n > 300)
      e:render()
      assert.same({}, e.host.failures)
      local o = e:output()
      local routes = "\n" .. o.maps["path-prefix.map"]
      for name, case in pairs(cases) do
        local told = o.warnings["default/" .. name] or {}
        local what = ("%s = %q"):format(case.key, case.value:sub(1, 60))
        assert.truthy(told.InvalidAnnotation or told.InvalidProtection or told.InvalidServerSecret, what)
        -- A route that was to be protected is closed.
        local route = routes:match("\n" .. name .. "%.example/ (%S+)")
        if case.key:find("list$") and case.key ~= "rate-limit-whitelist" or case.key:find("^auth%-[ts]") then
          assert.equal("haptic_unavailable", route, what)
        end
      end
      assert.is_nil(o.config:find(EVIL, 1, true))
      for name, text in pairs(o.maps) do assert.is_nil(text:find(EVIL, 1, true), name) end
      assert.equal(before.maps["path-prefix.map"], routes:match("n%.example/ [^\n]+\n"))
      if version == "3.4" then
        for _, line in ipairs({ "allow:8:0A 1" }) do assert.truthy(o.maps["addresses.map"]:find(line, 1, true)) end
      end
      -- HAProxy takes it: the newest rendering is for that series.
      o.config = o.config:gsub(OWN, "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6")
      local checked = haproxy.check_series(version, o)
      if checked == 0 then pending("there is no HAProxy " .. version .. " to check the output with") end
    end)
  end
end)
