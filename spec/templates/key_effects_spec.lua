--- Each key of the family, at each kind of object that may have it, from the declarations: a right value changes what is
--- rendered, a wrong one gives way to the next level and is told, and what protects and has no right value closes.
package.path = "./?.lua;" .. package.path
local program = require("spec.support.program")
local page = require("tools.annotations")
local values = require("spec.templates.annotation_values")

local KINDS = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }
local HASH = "HapticSecret0123456789abcdef0123456789abcdefEnd"
local OTHER_HASH = "HapticSecretfedcba9876543210fedcba9876543210End"
--- No type reads it, and it stands in nothing by itself.
local WRONG = "zz-wrong\1"

--- What is told of what a wrong value leaves behind, and does nothing: lines that do not count, by key.
local LEFT = {
  -- The backend has the rule of the effect, which acts where a route has a value.
  ["timeout-server"] = "^1 backend default_web_80 from ",
}

--- What is rendered where something that protects is wrong everywhere.
local CLOSED = { "2 path-prefix.map web.example/ haptic_unavailable\n", "0 backend default_web_80 body \n",
  "http-request deny deny_status 503 if { path /metrics }", "certs/client-ca.everybody.pem verify optional",
  "2 client-prefix.map web.example/ required:" }

local function certificate(name, handle)
  return { metadata = { namespace = "default", name = name }, type = "kubernetes.io/tls",
    data = { ["tls.crt"] = handle, ["tls.key"] = handle, ["ca.crt"] = handle },
    x509 = { validity = "valid", not_before = 1, not_after = 2, usable = true, names = { "web.example", "a.example" },
      key_type = "ECDSA", key_bits = 256, certificates = 1, strays = 0, reordered = false, chain = handle, digest = "aabbcc",
      authorities = { digest = "ddeeff" } } }
end

--- A world in which each key has something to act on.
local function world()
  local e = program.engine({ kinds = KINDS, checked = false, context = { trusted_proxies = { "192.0.2.1" },
    configmap = "default/haproxy", access_log = true, ssl_passthrough = true, http3 = true, tcp_services = "default/tcp",
    config_snippets = { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = "3.4", major = 3, minor = 4, quic = true, default_certificate = HASH } })
  for name, hash in pairs({ users = HASH, others = OTHER_HASH }) do
    e:put("secrets", { metadata = { namespace = "default", name = name }, data = { ada = hash },
      passwords = { ada = { scheme = "sha256", microseconds = 100 } } })
  end
  e:put("secrets", certificate("crt", HASH))
  e:put("secrets", certificate("ca", HASH))
  e:put("endpoints", program.slice("tcp-1", "tcp", 80, { { "10.0.0.2" } }))
  e:put("services", program.service("tcp"))
  e:put("configmaps", { metadata = { namespace = "default", name = "tcp" }, data = { ["9000"] = "default/tcp:80" } })
  return e
end

local function prefixed(data)
  local all = {}
  for key, value in pairs(data or {}) do all[key:find("/", 1, true) and key or "haproxy.org/" .. key] = value end
  return all
end

--- What is rendered of these values: at.KIND = {key = value}. Names of backends do not count, as an Ingress has its own
--- where it has such a key at all. Also what each kind of object's owner is told.
local function render(e, at, with_names)
  local service = program.service("web")
  service.metadata.annotations = prefixed(at.Service)
  e:put("services", service)
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1", ready = not at.none_ready } }))
  e:put("ingresses", program.ingress("web", { annotations = prefixed(at.Ingress), tls = at.tls and { { hosts = { "web.example" },
    secretName = "crt" } } or nil, rules = { { host = "web.example", paths = { { "/" } } } } }))
  e:put("configmaps", { metadata = { namespace = "default", name = "haproxy" }, data = at.ConfigMap or {} })
  e:render()
  local o, told = e:output(), {}
  for kind, id in pairs({ Ingress = "default/web", ConfigMap = "default/haproxy" }) do
    told[kind] = ""
    for _, message in pairs(o.warnings[id] or {}) do told[kind] = told[kind] .. message .. "\n" end
  end
  told.Service = told.Ingress
  local items = {}
  for _, item in ipairs(e.host:winners()) do
    if item.kind ~= 8 then
      local line = table.concat({ item.kind, item.scope, item.key, item.text }, " ")
      items[#items + 1] = with_names and line or line:gsub("default_web_80_web", "default_web_80")
        :gsub("([@ ])default/web/web", "%1default/web")
    end
  end
  table.sort(items)
  return table.concat(items, "\n"), told, o
end

--- Levels with the needs of a key at one kind, and further values: {{kind, key, value}, …}.
local function levels(key, kind, ...)
  local at = { tls = key:find("^ssl%-redirect") == nil, none_ready = key:find("keep%-last%-ready") ~= nil }
  for other, value in pairs(values.needs_of(key)) do
    at[kind] = at[kind] or {}
    at[kind][other] = value
  end
  for _, v in ipairs({ ... }) do
    at[v[1]] = at[v[1]] or {}
    at[v[1]][v[2]] = v[3]
  end
  return at
end

local function difference(a, b)
  local seen, list = {}, {}
  for line in a:gmatch("[^\n]+") do seen[line] = true end
  for line in b:gmatch("[^\n]+") do
    if not seen[line] then list[#list + 1] = "+ " .. line:sub(1, 300) end
  end
  seen = {}
  for line in b:gmatch("[^\n]+") do seen[line] = true end
  for line in a:gmatch("[^\n]+") do
    if not seen[line] then list[#list + 1] = "- " .. line:sub(1, 300) end
  end
  return table.concat(list, "\n")
end

describe("Keys of the family", function()
  local keys = {}
  for _, list in ipairs({ page.keys(page.FAMILY), page.own_keys() }) do
    for _, k in ipairs(list) do
      -- Our own have their prefix here, as some are called like those of the family.
      if k.key:find(page.OWN .. "/", 1, true) == 1 then k.short = k.key end
      -- acme_spec has the only one that needs an authority.
      if not k.refused and k.short ~= page.OWN .. "/acme" then keys[#keys + 1] = k end
    end
  end

  it("have a value to be tried with", function()
    for _, k in ipairs(keys) do assert.is_string(values.VALUES[k.old_for or k.short], k.short) end
    assert.truthy(#keys > 75, #keys)
  end)

  it("change what is rendered, at each kind of object that may have them", function()
    local e, problems, count = world(), {}, 0
    for _, k in ipairs(keys) do
      for _, kind in ipairs(k.on) do
        -- The name of the backend is what this one is about.
        local with_names = k.short == "standalone-backend"
        local without = render(e, levels(k.short, kind), with_names)
        local with, told = render(e, levels(k.short, kind, { kind, k.short, values.VALUES[k.old_for or k.short] }), with_names)
        count = count + 1
        if with == without then
          problems[#problems + 1] = ("%s at %s changes nothing: %s"):format(k.short, kind, told[kind])
        end
        if told[kind]:find(k.short, 1, true) then
          problems[#problems + 1] = ("%s at %s: %s"):format(k.short, kind, told[kind])
        end
      end
    end
    assert.equal("", table.concat(problems, "\n"))
    assert.truthy(count > 130, count)
  end)

  it("give way to the next level where they are wrong, and their owner is told", function()
    local e, problems, count = world(), {}, 0
    for _, k in ipairs(keys) do
      local right, left = values.VALUES[k.old_for or k.short], LEFT[k.short]
      for i, kind in ipairs(k.on) do
        local next_kind = k.on[i + 1]
        local wrong = { kind, k.short, WRONG }
        local wanted, seen, told
        if next_kind then
          wanted = render(e, levels(k.short, kind, { next_kind, k.short, right }))
          seen, told = render(e, levels(k.short, kind, { next_kind, k.short, right }, wrong))
        else
          wanted = render(e, levels(k.short, kind))
          seen, told = render(e, levels(k.short, kind, wrong))
        end
        count = count + 1
        if not told[kind]:find(k.short, 1, true) then
          problems[#problems + 1] = ("%s at %s: nobody is told; %q"):format(k.short, kind, told[kind])
        end
        local is_closed = false
        for _, text in ipairs(CLOSED) do is_closed = is_closed or (seen .. "\n"):find(text, 1, true) ~= nil end
        local changes = difference(wanted, seen)
        if left then changes = changes:gsub("[^\n]+", function(line) return line:sub(3):find(left) and "" or line end):gsub("^\n*", "") end
        if k.protects and not next_kind then
          if not is_closed then problems[#problems + 1] = ("%s at %s, wrong, does not close"):format(k.short, kind) end
        elseif changes ~= "" and not (k.short == "server-ssl" and not next_kind) then
          problems[#problems + 1] = ("%s at %s, wrong, is not %s:\n%s"):format(k.short, kind, next_kind or "the default",
            changes)
        end
      end
    end
    assert.equal("", table.concat(problems, "\n"))
    assert.truthy(count > 130, count)
  end)
end)
