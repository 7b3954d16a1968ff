--- Services that a condition chooses among those of one path: which routes there are then, in which order, and for whom.
local program = require("spec.support.program")

local CANARY, BETA = "cookie(canary) -m found", "hdr(x-beta) -m found"

local function engine() return program.engine({ capabilities = { version = "3.4", major = 3, minor = 4 } }) end

local function put_service(e, name, condition, namespace)
  local service = program.service(name)
  service.metadata.namespace = namespace or "default"
  if condition then service.metadata.annotations = { ["haproxy.org/route-acl"] = condition } end
  e:put("services", service)
end

--- An Ingress for a.example with the paths; created: seconds.
local function put(e, name, created, paths, more)
  local spec = { rules = { { host = "a.example", paths = paths } } }
  for key, value in pairs(more or {}) do spec[key] = value end
  local ing = program.ingress(name, spec)
  ing.metadata.creationTimestamp = os.date("!%Y-%m-%dT%H:%M:%SZ", created)
  e:put("ingresses", ing, created)
end

local function rendered(e)
  e:render()
  assert.same({}, e.host.failures)
  return e:output()
end

--- The backends of variants at a path, in the order in which their conditions are tried.
local function variants_of(o, key)
  local spot = ("\n" .. (o.maps["variant-prefix.map"] or "") .. (o.maps["variant-exact.map"] or "")):match(
    "\n[%w_-]+@" .. key:gsub("%p", "%%%0") .. " (%x+)\n")
  local list = {}
  for id in o.config:gmatch("set%-var%(txn.variant%) str%((%x+)@%)") do
    list[#list + 1] = spot and ("\n" .. (o.maps["variant.map"] or "")):match("\n" .. id .. "@" .. spot .. " (%S+)")
  end
  return list
end

local function told(o, id) return (o.warnings or {})[id] or {} end

describe("A Service with a condition", function()
  for what, created in pairs({ ["the younger"] = 2000, ["the older"] = 500 }) do
    it("gets requests of the path of another one, as " .. what, function()
      local e = engine()
      put_service(e, "web")
      put_service(e, "canary", CANARY)
      put(e, "main", 1000, { { "/", "Prefix", "web" } })
      local before = rendered(e)
      put(e, "next", created, { { "/", "Prefix", "canary" } })
      local o = rendered(e)
      assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
      assert.same({ "default_canary_80" }, variants_of(o, "a.example/"))
      assert.matches("!{ var(txn.variant) -m found } { cookie(canary) -m found }\n", o.config, 1, true)
      assert.is_nil(told(o, "default/main").DuplicatePath or told(o, "default/next").DuplicatePath)
      -- What went leaves nothing behind.
      e:delete("ingresses", "default/next")
      local after = rendered(e)
      assert.equal(before.config, after.config)
      for name, text in pairs(after.maps) do assert.equal(before.maps[name] or "", text, name) end
      -- Alone it has the path.
      put(e, "next", created, { { "/", "Prefix", "canary" } })
      e:delete("ingresses", "default/main")
      o = rendered(e)
      assert.equal("a.example/ default_canary_80\n", o.maps["path-prefix.map"])
      assert.same({}, variants_of(o, "a.example/"))
      assert.is_nil(o.config:find("set-var(txn.variant)", 1, true))
    end)
  end

  it("gets them within one Ingress, of the path and type that are its own", function()
    local e = engine()
    put_service(e, "web")
    put_service(e, "canary", CANARY)
    put(e, "main", 1000, { { "/x", "Prefix", "canary" }, { "/x", "Prefix", "web" }, { "/y", "Exact", "web" },
      { "/y", "Exact", "canary" }, { "/z", "Exact", "web" }, { "/z", "Prefix", "canary" } })
    local o = rendered(e)
    assert.equal("a.example/x/ default_web_80\na.example/z/ default_canary_80\n", o.maps["path-prefix.map"])
    assert.equal("a.example/y default_web_80\na.example/z default_web_80\n", o.maps["path-exact.map"])
    assert.same({ "default_canary_80" }, variants_of(o, "a.example/x/"))
    assert.same({ "default_canary_80" }, variants_of(o, "a.example/y"))
    assert.same({}, variants_of(o, "a.example/z/"))
    assert.same({}, told(o, "default/main"))
  end)

  it("is tried in the order of age; of those with one condition, the oldest", function()
    local e = engine()
    put_service(e, "web")
    for name, condition in pairs({ one = CANARY, two = BETA, three = CANARY }) do put_service(e, name, condition) end
    put(e, "c-two", 1500, { { "/", "Prefix", "two" } })
    put(e, "b-one", 2000, { { "/", "Prefix", "one" } })
    put(e, "a-three", 2500, { { "/", "Prefix", "three" } })
    put(e, "main", 3000, { { "/", "Prefix", "web" } })
    local o = rendered(e)
    assert.same({ "default_two_80", "default_one_80" }, variants_of(o, "a.example/"))
    assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
    e:delete("ingresses", "default/c-two")
    e:delete("ingresses", "default/b-one")
    assert.same({ "default_three_80" }, variants_of(rendered(e), "a.example/"))
  end)

  it("gets none of another namespace's: the older one has the path, as ever", function()
    for what, case in pairs({ younger = { 2000, "default_web_80" }, older = { 500, "other_canary_80" } }) do
      local e = engine()
      put_service(e, "web")
      put_service(e, "canary", CANARY, "other")
      put(e, "main", 1000, { { "/", "Prefix", "web" } })
      put(e, "next", case[1], { { "/", "Prefix", "canary" } }, { namespace = "other" })
      local o = rendered(e)
      assert.equal("a.example/ " .. case[2] .. "\n", o.maps["path-prefix.map"], what)
      assert.same({}, variants_of(o, "a.example/"))
      assert.is_nil(o.config:find("txn.variant_at", 1, true))
    end
  end)

  it("gets none when its condition is wrong, and takes no path from anybody", function()
    for _, created in ipairs({ 500, 2000 }) do
      local e = engine()
      put_service(e, "web")
      put_service(e, "canary", "path /x } or { src 0.0.0.0/0")
      put(e, "main", 1000, { { "/", "Prefix", "web" } })
      put(e, "next", created, { { "/", "Prefix", "canary" } })
      local o = rendered(e)
      assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
      assert.same({}, variants_of(o, "a.example/"))
      assert.matches("route-acl must be", told(o, "default/canary").InvalidAnnotation, 1, true)
      assert.is_nil(o.config:find("0.0.0.0/0", 1, true))
      assert.is_nil(told(o, "default/main").DuplicatePath)
    end
  end)

  it("may be as long as a line has room for", function()
    for count, is_right in pairs({ [43] = true, [44] = false }) do
      local e = engine()
      put_service(e, "web")
      put_service(e, "canary", "path -i" .. (" /x"):rep(count))
      put(e, "main", 1000, { { "/", "Prefix", "web" } })
      put(e, "next", 2000, { { "/", "Prefix", "canary" } })
      local o = rendered(e)
      assert.equal(is_right and 1 or 0, #variants_of(o, "a.example/"))
      assert.equal(is_right, told(o, "default/canary").InvalidAnnotation == nil)
      assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
    end
  end)

  it("gets none of a path that is closed", function()
    local e = engine()
    put_service(e, "web")
    put_service(e, "canary", CANARY)
    put(e, "main", 1000, { { "/", "Prefix", "web", "NO-PORT" } })
    put(e, "next", 500, { { "/", "Prefix", "canary" } })
    local o = rendered(e)
    assert.equal("a.example/ haptic_unavailable\n", o.maps["path-prefix.map"])
    assert.equal("-@a.example/", o.maps["variant-prefix.map"]:match("^%S+"))
    assert.equal("- yes\n", o.maps["variant-main.map"])
  end)

  it("has effects of its own, and is closed by itself", function()
    local e = engine()
    put_service(e, "web")
    put_service(e, "canary", CANARY)
    put(e, "main", 1000, { { "/", "Prefix", "web" } })
    put(e, "next", 2000, { { "/", "Prefix", "canary" } }, { annotations = { ["haproxy.org/allow-list"] = "10.0.0.0/8" } })
    local o = rendered(e)
    assert.matches("^default_canary_80@default/next/canary@%+allow", variants_of(o, "a.example/")[1])
    assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
    put(e, "next", 500, { { "/", "Prefix", "canary" } }, { annotations = { ["nginx.ingress.kubernetes.io/whitelist-source-range"] = "10.0.0.0/8" } })
    o = rendered(e)
    assert.same({ "haptic_unavailable" }, variants_of(o, "a.example/"))
    assert.equal("a.example/ default_web_80\n", o.maps["path-prefix.map"])
  end)

  it("is no variant where it asks for other certificates of clients, and has the main one's redirect", function()
    local function rendering(annotations)
      local e = program.engine({ kinds = { { name = "secrets", parts = 2 }, unpack(program.KINDS) }, context = { ssl_redirect = true },
        capabilities = { version = "3.4", major = 3, minor = 4, default_certificate = "HapticSecret" .. ("0"):rep(32) .. "End" } })
      put_service(e, "web")
      put_service(e, "canary", CANARY)
      local tls = { { hosts = { "a.example" } } }
      put(e, "main", 1000, { { "/", "Prefix", "web" } }, { tls = tls })
      put(e, "next", 2000, { { "/", "Prefix", "canary" } }, { tls = tls, annotations = annotations })
      e:render()
      return e:output()
    end
    local o = rendering({ ["haproxy-haptic.org/client-ca"] = "ca" })
    assert.same({}, variants_of(o, "a.example/"))
    o = rendering()
    assert.same({ "default_canary_80" }, variants_of(o, "a.example/"))
    assert.matches("^a.example/ %d+:%d+:default_web_80\n$", o.maps["redirect-prefix.map"])
  end)

  it("has no more than sixteen beside it at a path", function()
    local e = engine()
    put_service(e, "web")
    put(e, "main", 1000, { { "/", "Prefix", "web" } })
    for i = 1, 17 do
      put_service(e, "s" .. i, "hdr(x-ring) -m str r" .. i)
      put(e, "i" .. i, 1000 + i, { { "/", "Prefix", "s" .. i } })
    end
    local o = rendered(e)
    assert.equal(16, #variants_of(o, "a.example/"))
    assert.is_string(told(o, "default/i17").TooManyConditions)
    assert.is_nil(told(o, "default/i16").TooManyConditions)
  end)

  it("runs what its path concerns, and nothing else, when an Ingress of the namespace changes", function()
    local e = engine()
    put_service(e, "web")
    put_service(e, "canary", CANARY)
    put(e, "main", 1000, { { "/", "Prefix", "web" } })
    put(e, "next", 2000, { { "/", "Prefix", "canary" } })
    put(e, "far", 1000, { { "/far", "Prefix", "web" } })
    rendered(e)
    put(e, "far", 1000, { { "/farther", "Prefix", "web" } })
    for _, id in ipairs(e:render().ran) do assert.is_nil(id:find("next", 1, true) or id:find("main", 1, true), id) end
  end)
end)
