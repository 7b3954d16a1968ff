--- What is made of the declarations of annotations for others: admission policies, which a real API server takes and
--- which refuse what they say, and the list of keys.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")
local program = require("support.program")
local page = dofile("tools/annotations.lua")

local OWN = [[
watchedResources: {}
templateSnippets:
  own.lua:
    template: |
      annotations({
        team_limit = { type = "integer", min = 1, max = 9, on = { "Ingress" }, families = { ["example.org"] = "limit" },
          doc = "Requests that a team may have." },
      })
]]

--- Words of which values are made at random: right ones, wrong ones, and what stands between.
local WORDS = { "true", "False", "T", "on", "0", "1", "2", "15", "-3", "+7", "007", "1000001", "302", "429", "5s", "1m30s", "500ms", "9ms", "2h",
  "25d", "3us", "1d", "5", "1.5", "10.0.0.0/8", "10.1.2.3", "10.0.0.256", "10.0.0.1/33", "010.0.0.1", "::1", "fe80::/10", "::ffff:10.0.0.1", "1:2:3",
  "::1/129", "patterns/office", "lists/x", "basic-auth", "digest", "proxy", "proxy-v2", "proxy-v3", "h2", "/", "/a", "/(.*)", "/\\1", "GET", "X-A b",
  "a.example", "https://a.example:8443", "a_b", "users", "ns/users", "a/b/c", "hdr(x)", "roundrobin", "64k", "1Gi", "k", "ä", "\226\128\139", "" }
local BETWEEN = { "", " ", ", ", ",", "\n", "\n\n", "\t", " ; ", "\r\n", "\1" }

--- Which of these cases the library takes: a list of booleans. A case is {key=, kind=, value=}.
local function taken(cases)
  local source = { "local CASES = {\n" }
  for _, case in ipairs(cases) do source[#source + 1] = ("  { %q, %q, %q },\n"):format(case.key, case.kind, case.value) end
  source[#source + 1] = [[}
fragment("cases", function(out)
  local taken = {}
  for i, case in ipairs(CASES) do
    local key, kind, is_wrong = case[1], case[2], false
    annotated({ annotation(key, kind).name }, { { kind = kind, values = { [key] = case[3] } } }, function() is_wrong = true end)
    taken[i] = not is_wrong
  end
  out:file("cases.json", json(taken))
end)]]
  -- The engine that tools/annotations.lua has: all libraries declare their keys.
  local e = program.engine({ kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) },
    capabilities = { version = "3.4", major = 3, minor = 4, default_certificate = "HapticSecret0123456789abcdef0123456789abcdefEnd" },
    scripts = { { name = "cases.lua", source = table.concat(source) } } })
  e:render()
  assert.is_nil(e.host.failures["cases.lua:cases"])
  return cjson.decode(e:output().files["cases.json"])
end

--- Can a policy say all that the library says of these values?
local function is_whole(row, value)
  local types = { switch = true, bool = true, enum = true, addresses = true, integer = true }
  return types[row.type] and not row.short:find("code$") and not value:find("patterns/", 1, true)
end

describe("Declared annotations", function()
  local scope

  before_each(function() scope = e2e.scope("policy") end)
  after_each(function() scope:close() end)

  local function run(...)
    local output, code = posix.run({ e2e.program(), ... })
    assert(code == 0, output)
    return output
  end

  --- The API server refuses no value that the library takes; and where the type says it all, takes no other one.
  local function compare(cluster, policy)
    local seed = tonumber(os.getenv("POLICY_SEED")) or os.time()
    io.stderr:write(("policy_spec: POLICY_SEED=%d\n"):format(seed))
    math.randomseed(seed)
    local cases, rows = {}, {}
    local function pick(list) return list[math.random(#list)] end
    for _, row in ipairs(page.keys("haproxy.org")) do
      -- Off by default are snippets, and without Secrets what the library ssl has.
      local is_off = row.refused or row.short:find("snippet", 1, true) or not policy:find("haproxy.org/" .. row.short, 1, true)
      for _, kind in ipairs(is_off and {} or row.on) do
        for _ = 1, kind ~= "ConfigMap" and 7 or 0 do
          local value = pick(WORDS)
          for _ = 1, math.random() < 0.6 and 0 or math.random(1, 2) do value = value .. pick(BETWEEN) .. pick(WORDS) end
          -- Without a value there is nothing to judge.
          if value:find("%S") then
            cases[#cases + 1] = { key = "haproxy.org/" .. row.short, kind = kind, value = value }
            rows[#cases] = row
          end
        end
      end
    end
    local is_taken, refused, told = taken(cases), 0, 0
    for i, case in ipairs(cases) do
      local object = case.kind == "Ingress" and kube.ingress({ name = "case", host = "case.example", service = "web" }) or kube.service("case")
      object.metadata.annotations = { [case.key] = case.value }
      local status, answer = cluster.admin:call("POST", cluster.admin:path(case.kind, "default") .. "?dryRun=All", object)
      local what = ("%s = %q at a %s, POLICY_SEED=%d: %s"):format(case.key, case.value, case.kind, seed, cjson.encode(answer):sub(1, 600))
      assert.truthy(status == 201 or status == 422, what)
      refused, told = refused + (status == 422 and 1 or 0), told + (is_taken[i] and 0 or 1)
      assert.is_false(is_taken[i] and status == 422, "is refused, and the library takes it: " .. what)
      if is_whole(rows[i], case.value) then
        assert.is_false(not is_taken[i] and status == 201, "is let in, and the library does not take it: " .. what)
      end
    end
    assert.truthy(#cases > 250 and refused > 100 and #cases - told > 10, ("%d cases, %d refused, %d told"):format(#cases, refused, told))
    io.stderr:write(("policy_spec: %d values, %d refused by the API server, %d by the library\n"):format(#cases, refused, told))
  end

  it("make a policy that lets right values in and refuses wrong ones with the sentence of the Event", function()
    local cluster = scope:cluster()
    local file, own = scope:path("policy.yaml"), scope:path("own.yaml")
    posix.write_file(own, OWN)
    posix.write_file(file, run("policy", "-c", own))
    local output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "apply", "-f", file })
    assert(code == 0, output)
    local function put(name, annotations, prefix)
      local all = {}
      for key, value in pairs(annotations) do all[(prefix or "haproxy.org/") .. key] = value end
      return pcall(cluster.admin.put, cluster.admin, kube.ingress({ name = name, host = name .. ".example", service = "web",
        annotations = all }))
    end
    scope:wait_for("the policy to be in force", 30, function()
      local ok, message = put("probe", { ["cors-enable"] = "perhaps" })
      return not ok and tostring(message):find("must be true or false", 1, true) ~= nil, tostring(message)
    end)
    for i, annotations in ipairs({
      { ["cors-enable"] = "On" }, { ["allow-list"] = "10.0.0.0/8, ::1\n192.0.2.1" }, { ["allow-list"] = "10.1.2.3/8" },
      { ["rate-limit-requests"] = " 10 ", ["rate-limit-period"] = "500" }, { ["cors-max-age"] = "1m30s" }, { ["cors-max-age"] = "2d" },
      { ["cors-max-age"] = "5000" }, { ["cors-enable"] = "T" },
      { ["cors-enable"] = "", ["allow-list"] = "" }, { ["path-rewrite"] = "/x\n\n/a /b\n/c /d\n/e /f" },
      { ["request-redirect"] = "https://a.example:8443" }, { ["auth-type"] = "basic-auth", ["auth-secret"] = "ns/users" },
      { ["set-host"] = "a.example" }, { ["allow-list"] = "patterns/office 10.0.0.0/8" }, { ["unheard-of"] = "x" },
    }) do
      local ok, message = put("good-" .. i, annotations)
      assert.is_true(ok, tostring(message))
    end
    for i, case in ipairs({
      { { ["allow-list"] = "lists/x" }, "must be a list of addresses or networks, such as 10.0.0.0/8" },
      { { ["allow-list"] = "10.0.0.0/8, 10.0.0.999" }, "must be a list of addresses" },
      { { ["deny-list"] = "10.0.0.0/33" }, "must be a list of addresses" },
      { { ["rate-limit-requests"] = "0" }, "must be a whole number from 1 to 1000000, not \"0\"" },
      { { ["rate-limit-requests"] = "many" }, "must be a whole number" },
      { { ["rate-limit-period"] = "9ms" }, "must be a duration" }, { { ["rate-limit-period"] = "9" }, "must be a duration" },
      { { ["rate-limit-period"] = "2h" }, "must be a duration" }, { { ["cors-max-age"] = "5x" }, "must be a duration" },
      { { ["auth-type"] = "digest" }, "must be one of basic-auth, not \"digest\"" },
      { { ["auth-secret"] = "a/b/c" }, "must be the name of a Secret" }, { { ["request-redirect"] = "a b" }, "must be a host" },
      { { ["set-host"] = "a_b\nuser" }, "must be a host" }, { { whitelist = "office" }, "haproxy.org/whitelist must be" },
      { { ["path-rewrite"] = "/a\n/b\n/c\n/d\n/e" }, "must be at most 4 lines" },
      { { ["cors-enable"] = ("x"):rep(300000 / 4) }, "must be true or false" },
    }) do
      local ok, message = put("bad-" .. i, case[1])
      assert.is_false(ok, cjson.encode(case[1]):sub(1, 200))
      message = tostring(message)
      assert.truthy(message:find(case[2], 1, true), message:sub(1, 1000) .. " " .. case[2])
    end
    -- The templates' own, and Services.
    assert.is_true((put("own", { limit = "9" }, "example.org/")))
    local ok, message = put("own-bad", { limit = "10" }, "example.org/")
    assert.is_false(ok)
    assert.matches('example.org/limit must be a whole number from 1 to 9, not', tostring(message), 1, true)
    local service = kube.service("web")
    service.metadata.annotations = { ["haproxy.org/check"] = "often" }
    scope:wait_for("the policy of Services to be in force", 30, function()
      ok, message = pcall(cluster.admin.put, cluster.admin, service)
      return not ok and tostring(message):find("haproxy.org/check must be true or false, not \"often\"", 1, true), tostring(message)
    end)
    service.metadata.annotations = { ["haproxy.org/check"] = "true", ["haproxy.org/cors-enable"] = "of no meaning here" }
    assert.is_true(pcall(cluster.admin.put, cluster.admin, service))
    if e2e.is_full then
      compare(cluster, posix.read_file(file))
    else
      io.stderr:write("policy_spec: values at random with E2E_FULL=1 only, as an API server takes a while for 500 of them\n")
    end
  end)

  it("are listed for editors and shells", function()
    local own = scope:path("own.yaml")
    posix.write_file(own, OWN)
    local by_key = {}
    for _, row in ipairs(cjson.decode(run("annotations", "-c", own, "-o", "json")).annotations) do by_key[row.key] = row end
    assert.same({ key = "example.org/limit", kinds = { "Ingress" }, has_effect = true, type = "integer", min = 1, max = 9,
      expects = "a whole number from 1 to 9", description = "Requests that a team may have." }, by_key["example.org/limit"])
    assert.same({ "true", "false" }, by_key["haproxy.org/cors-enable"].values)
    assert.equal("haproxy.org/allow-list", by_key["haproxy.org/whitelist"].replaced_by)
    assert.is_true(by_key["haproxy.org/allow-list"].protects)
    assert.is_false(by_key["haproxy.org/cr-backend"].has_effect)
    assert.is_string(by_key["haproxy.org/cr-backend"].reason)
    local text = run("annotations", "-c", own, "--family", "example.org")
    assert.equal("example.org/limit\tIngress\ta whole number from 1 to 9\n", text)
    local output, code = posix.run({ e2e.program(), "annotations", "--family", "example.com" })
    assert.same({ 2, "haptic annotations: no annotation with the prefix example.com is declared\n" }, { code, output })
    output, code = posix.run({ e2e.program(), "policy", "--action", "shout" })
    assert.equal(2, code)
    assert.matches("deny, warn or audit", output, 1, true)
    assert.matches("validationActions: [Warn]", run("policy", "--family", "haproxy.org", "--action", "warn"), 1, true)
  end)
end)
