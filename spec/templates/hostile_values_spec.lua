--- Values that try to leave their word, put behind a good value of each key: whoever takes them takes them as text.
--- Nothing of them is syntax, neighbours keep what they have, and HAProxy takes the configuration.
local haproxy = require("spec.support.haproxy")
package.path = "./?.lua;" .. package.path
local program = require("spec.support.program")
local page = require("tools.annotations")
local values = require("spec.templates.annotation_values")

local EVIL = "zz-evil"
local IS_FULL = os.getenv("E2E_FULL") == "1"
local SERIES = IS_FULL and { "2.6", "3.0", "3.2", "3.4" } or { "3.4" }
if not IS_FULL then io.stderr:write("hostile_values_spec: 2.6, 3.0 and 3.2, and each ConfigMap by HAProxy, with E2E_FULL=1 only\n") end
local HASH = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6"

--- What leaves a word where it is pasted: ends of lines, ends of strings, variables of the environment, expressions.
local HOSTILE = {
  "\r\nserver " .. EVIL .. " 127.0.0.1:1", "\rserver " .. EVIL .. " 127.0.0.1:1", "\0" .. EVIL, " " .. EVIL .. "\\",
  EVIL .. "\\\\", " #" .. EVIL, EVIL .. "\"", EVIL .. "'", "' " .. EVIL .. " '", "\" " .. EVIL .. " \"", " ${HOME}" .. EVIL,
  " \"$HOME\"" .. EVIL, " \"${HOME}" .. EVIL, " $(" .. EVIL .. ")", " `" .. EVIL .. "`", "%[env(HOME)]" .. EVIL, "%[src]" .. EVIL,
  (" %["):rep(40) .. EVIL .. ("]"):rep(40), ("{"):rep(200) .. EVIL .. ("}"):rep(200), ("("):rep(300) .. EVIL .. (")"):rep(300),
  " } or { always_true } # " .. EVIL, EVIL .. ("x"):rep(60000), EVIL .. "\226\128\174", EVIL .. "\239\188\135", "\239\187\191" .. EVIL,
  " \\x0aserver " .. EVIL .. " 127.0.0.1:1", " \\n" .. EVIL, "\11" .. EVIL, "\194\133" .. EVIL, "@" .. EVIL .. "@+allow+", "|" .. EVIL, ";" .. EVIL,
}

--- What stands in these is syntax, as far as the firewall lets it through: there it is tried whether HAProxy takes it.
local function hostile_for(key, hostile)
  if key:find("snippet", 1, true) or key:find("^log%-format") or key == "route-acl" then return (hostile:gsub("zz%-evil", "zz-text")) end
  return hostile
end

--- The keys that may be tried at objects of a kind.
local function keys_at(kind)
  local list = {}
  for _, k in ipairs(page.keys(page.FAMILY)) do
    if not k.refused and not k.old_for and (" " .. table.concat(k.on, " ") .. " "):find(" " .. kind .. " ", 1, true) then
      list[#list + 1] = k.short
    end
  end
  return list
end

local function engine(version)
  local major, minor = version:match("^(%d+)%.(%d+)")
  local e = program.engine({ kinds = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) },
    checked = false, context = { trusted_proxies = { "192.0.2.1" }, https = false, configmap = "default/haproxy", access_log = true,
      config_snippets = { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = version, major = tonumber(major), minor = tonumber(minor) } })
  e:put("services", program.service("web"))
  for _, name in ipairs({ "users", "others" }) do
    e:put("secrets", { metadata = { namespace = "default", name = name }, data = { ada = HASH } })
  end
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  e:put("ingresses", program.ingress("neighbour", { annotations = { ["haproxy.org/allow-list"] = "10.0.0.0/8" },
    rules = { { host = "n.example", paths = { { "/" } } } } }))
  return e
end

--- Nothing begins a word or a line, and no variable of the environment is where HAProxy would put its value.
local function check(o, version, what, is_short)
  local syntax = o.config:gsub("'[^'\n]*'", "''")
  for _, beginning in ipairs({ "%s" .. EVIL:gsub("%-", "%%-"), "%${HOME}", "%$HOME", "\nserver ", "\n    server zz" }) do
    local at = syntax:find(beginning)
    assert.is_nil(at, what .. " " .. beginning .. ": " .. syntax:sub((at or 1) - 200, (at or 1) + 100))
  end
  for name, text in pairs(o.maps) do
    for line in text:gmatch("[^\n]+") do assert.is_nil(line:find("[%z\r\11]"), name) end
    assert.is_nil(text:find("\nserver ", 1, true), name)
  end
  return is_short and 0 or haproxy.check_series(version, o)
end

describe("Values that try to leave their word", function()
  it("are tried behind a good value of each key", function()
    local count = 0
    for _, k in ipairs(page.keys(page.FAMILY)) do
      if not k.refused and not k.old_for then
        assert.is_string(values.VALUES[k.short], k.short)
        count = count + 1
      end
    end
    assert.truthy(count > 75, count)
  end)

  for _, version in ipairs(SERIES) do
    it("stay text at Ingresses and Services, and HAProxy takes the rest, with HAProxy " .. version, function()
      local e, n = engine(version), 0
      e:render()
      local before = e:output()
      for _, kind in ipairs({ "Ingress", "Service" }) do
        for _, key in ipairs(keys_at(kind)) do
          for _, hostile in ipairs(HOSTILE) do
            n = n + 1
            local annotations = { ["haproxy.org/" .. key] = values.VALUES[key] .. hostile_for(key, hostile) }
            if kind == "Service" then
              local service = program.service("s" .. n)
              service.metadata.annotations, annotations = annotations, nil
              e:put("services", service)
              e:put("endpoints", program.slice("s" .. n .. "-1", "s" .. n, 80, { { "10.0.1.1" } }))
            else
              for other, good in pairs(values.needs_of(key)) do annotations["haproxy.org/" .. other] = good end
            end
            e:put("ingresses", program.ingress("case" .. n, { annotations = annotations, rules = { { host = "case" .. n .. ".example",
              paths = { { "/", "Prefix", kind == "Service" and "s" .. n or "web" } } } } }))
          end
        end
      end
      assert.truthy(n > 1500, n)
      e:render()
      assert.same({}, e.host.failures)
      local o = e:output()
      local routes = "\n" .. o.maps["path-prefix.map"]
      assert.equal(before.maps["path-prefix.map"], routes:match("n%.example/ [^\n]+\n"))
      o.config = o.config:gsub(HASH:gsub("%p", "%%%0"), (HASH:gsub("%%", "%%%%")))
      if check(o, version, "all") == 0 then pending("there is no HAProxy " .. version .. " to check the output with") end
    end)
  end

  it("stay text in the ConfigMap, and HAProxy takes the rest", function()
    local e, seen, checked = engine("3.4"), {}, 0
    for _, key in ipairs(keys_at("ConfigMap")) do
      local count = 0
      for i, hostile in ipairs(HOSTILE) do
        e:put("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "haproxy" },
          data = { [key] = values.VALUES[key] .. hostile_for(key, hostile) } })
        e:render()
        local o = e:output()
        -- Most are refused, and then the configuration is one that was checked.
        local id = o.config .. table.concat({ o.maps["path-prefix.map"], tostring(o.maps["route-redirect.map"]) }, "\n")
        if not seen[id] then
          seen[id] = true
          checked = checked + check(o, "3.4", ("%s and %d"):format(key, i), not IS_FULL and count > 0)
          count = count + 1
        end
      end
    end
    for id in pairs(e.host.failures) do assert.matches("snippet%-%l+/configmaps/default/haproxy$", id) end
    if checked == 0 then pending("there is no HAProxy 3.4 to check the output with") end
  end)
end)
