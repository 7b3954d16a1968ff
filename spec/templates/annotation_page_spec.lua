-- docs/annotations.md: it is what the declarations say, and each test that it names is there and uses the key.
package.path = "./?.lua;" .. package.path
local page = require("tools.annotations")
local program = require("spec.support.program")

--- Each test of a file of specs: {title=, text= from its it() to the next one, series= its title ends with the series
--- of HAProxy it runs with}.
local function tests_of(source)
  local starts, tests = {}, {}
  for at in source:gmatch("()%f[%w]it%(") do starts[#starts + 1] = at end
  for i, at in ipairs(starts) do
    local text = source:sub(at, (starts[i + 1] or #source + 1) - 1)
    local title, more = text:match('^it%("([^"\n]*)"([^\n]*)')
    if title then tests[#tests + 1] = { title = title, text = text, has_series = more:find("series", 1, true) ~= nil } end
  end
  return tests
end

--- Is a key written in a text, as a whole: "…/key", "key", 'key', or key = …?
local function has_key(text, key)
  local pattern = key:gsub("%p", "%%%0")
  return text:find("[\"'/]" .. pattern .. "[\"']") ~= nil or text:find("%f[%w_]" .. pattern .. " = ") ~= nil
end

--- Keys that one series of HAProxy has.
local ONE_SERIES = { acme = "from 3.4 on" }

--- What is wrong with an entry of the column "tested by": nil when nothing is. of_configmap: only a ConfigMap has it.
local function problem_of(key, tested, read, of_configmap)
  local file, title = (tested or ""):match("^([%w_]+): (.+)$")
  if not file then return "it names no test" end
  local source = read("spec/e2e/" .. file .. ".lua")
  if not source then return "there is no file spec/e2e/" .. file .. ".lua" end
  -- Helpers in front of the first test belong to all of them.
  local before = source:match("^(.-)%f[%w]it%(")
  local count = 0
  for _, test in ipairs(tests_of(source)) do
    if test.title:find(title, 1, true) then
      count = count + 1
      if has_key(test.text, key) or has_key(before, key) then
        -- By real requests over both, with several series; a ConfigMap's settings are followed with one.
        if not (source:find("https", 1, true) and source:find("http_port", 1, true)) then return "it sends no requests over both" end
        return not test.has_series and not of_configmap and not ONE_SERIES[key] and "it is run with one series of HAProxy: " .. tested or nil
      end
    end
  end
  return count == 0 and "there is no test " .. tested or "the test does not have the key: " .. tested
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

describe("docs/annotations.md", function()
  it("is written from the declarations", function()
    assert.equal(page.page(), program.read(page.PAGE), "run luajit tools/annotations.lua")
  end)

  it("names a test of each key with an effect, which is there and uses the key", function()
    local count = 0
    for _, keys in ipairs({ page.keys(page.FAMILY), page.own_keys() }) do
      for _, k in ipairs(keys) do
        if not k.refused and not k.old_for then
          count = count + 1
          assert.is_nil(problem_of(k.short, k.tested, read, table.concat(k.on) == "ConfigMap"), k.short)
        end
      end
    end
    assert.truthy(count > 80, count)
  end)

  it("would name a wrong test", function()
    local source = 'local schemes = { "http", "https" }; local at = haptic.http_port\n'
      .. 'it("does one thing, on " .. series, function() put({ ["allow-list"] = "x" }) end)\n'
      .. 'it("does another thing, on " .. series, function() put({ check = "x", ["my-allow-list-2"] = 1 }) end)\n'
      .. 'it("is lonely", function() put({ check = "x" }) end)\n'
    local function read_it(path) return path == "spec/e2e/a_spec.lua" and source or nil end
    for _, case in ipairs({
      { "allow-list", "a_spec: does one thing" }, { "check", "a_spec: does another thing" },
      { "allow-list", nil, "it names no test" }, { "allow-list", "b_spec: does one thing", "there is no file" },
      { "allow-list", "a_spec: does nothing", "there is no test" },
      { "allow-list", "a_spec: does another thing", "the test does not have the key" },
      { "check", "a_spec: does one thing", "the test does not have the key" },
      { "check", "a_spec: is lonely", "it is run with one series" },
    }) do
      local problem = problem_of(case[1], case[2], read_it)
      if case[3] then assert.matches(case[3], problem or "", 1, true) else assert.is_nil(problem) end
    end
    -- Each real entry with the test of another key's, which it is not in.
    local wrong, keys = 0, page.keys(page.FAMILY)
    for _, k in ipairs(keys) do
      for _, other in ipairs(keys) do
        if k.tested and other.tested and other.tested ~= k.tested and problem_of(k.short, other.tested, read) then
          wrong = wrong + 1
          break
        end
      end
    end
    assert.truthy(wrong > 60, wrong)
  end)

  it("has each key of the list", function()
    local declared = {}
    for _, k in ipairs(page.keys(page.FAMILY)) do declared[k.short] = true end
    for key in ([[auth-type auth-secret auth-realm allow-list deny-list whitelist blacklist src-ip-header check check-http
      check-interval timeout-check ssl-certificate ssl-passthrough ssl-redirect ssl-redirect-code ssl-redirect-port tls-alpn
      client-ca client-crt-optional client-strict-sni generate-certificates-signer quic-alt-svc-max-age clean-certs
      cors-enable cors-allow-origin cors-allow-methods cors-allow-headers cors-allow-credentials cors-max-age
      cors-respond-to-options global-config-snippet frontend-config-snippet stats-config-snippet backend-config-snippet
      cr-global cr-defaults cr-backend cr-frontend-http cr-frontend-https cr-frontend-stats cookie-persistence
      cookie-persistence-no-dynamic load-balance scale-server-slots servers-increment server-slots standalone-backend
      pod-maxconn abortonclose server-ssl server-proto server-ca server-crt send-proxy-protocol proxy-protocol forwarded-for
      request-set-header response-set-header set-host path-rewrite request-redirect request-redirect-code route-acl
      request-capture request-capture-len rate-limit-requests rate-limit-period rate-limit-size rate-limit-status-code
      rate-limit-whitelist dontlognull logasap log-format log-format-tcp syslog-server maxconn nbthread hard-stop-after
      http-connection-mode http-keep-alive http-server-close timeout-client timeout-client-fin timeout-connect
      timeout-http-request timeout-http-keep-alive timeout-queue timeout-server timeout-server-fin timeout-tunnel
      ingress.class prometheus-endpoint-auth-secret default-backend-service]]):gmatch("%S+") do
      assert.truthy(declared[key], key)
    end
  end)
end)
