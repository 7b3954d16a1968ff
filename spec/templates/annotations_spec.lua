--- Every annotation that three known controllers document, one by one: those that protect a route close it unless the
--- library honours them, and no other is passed over in silence. spec/templates/annotations.tsv lists them: prefix, key,
--- the objects that may have it, and whether it protects (authentication, lists of addresses, client certificates). Which
--- of them are honoured is asked from the library.
local program = require("spec.support.program")

-- A script that says of each annotation in `keys`, a file of its own, whether the library honours it.
local ASK = [[
local foreign = use("ingress.foreign")
fragment("asked", function(out)
  local lines = {}
  for line in context.asked:gmatch("%S+") do
    local kind, annotation = line:match("^(%a+)=(.*)$")
    if foreign.is_honoured(annotation, kind) then lines[#lines + 1] = line end
  end
  out:file("honoured", table.concat(lines, " "))
end)
]]

local function read_list()
  local rows = {}
  for line in io.lines("spec/templates/annotations.tsv") do
    local prefix, key, objects, protects = line:match("^(%S+)\t(%S+)\t(%S+)\t(%S+)$")
    assert(prefix, "spec/templates/annotations.tsv: " .. line)
    if prefix ~= "prefix" then
      rows[#rows + 1] = { prefix = prefix, key = key, annotation = prefix .. "/" .. key, protects = protects == "yes",
        Ingress = objects:find("ingress", 1, true) ~= nil, Service = objects:find("service", 1, true) ~= nil }
    end
  end
  return rows
end

local ROWS = read_list()

--- The set of "KIND=ANNOTATION" that the library honours.
local function honoured()
  local asked = {}
  for _, row in ipairs(ROWS) do
    for _, kind in ipairs({ "Ingress", "Service" }) do asked[#asked + 1] = kind .. "=" .. row.annotation end
  end
  local e = program.engine({ checked = false, context = { asked = table.concat(asked, " ") },
    scripts = { { name = "ask.lua", source = ASK } } })
  e:render()
  assert.same({}, e.host.failures)
  local set = {}
  for line in (e:output().files.honoured or ""):gmatch("%S+") do set[line] = true end
  return set
end

--- What comes of each annotation of objects of one kind: whether the route is open, and what the owner is told.
local function reactions(kind)
  local e = program.engine({ checked = false })
  for i, row in ipairs(ROWS) do
    local name = ("n%04d"):format(i)
    local service = program.service("s" .. name)
    local notes = { [row.annotation] = "a-value" }
    if kind == "Service" then service.metadata.annotations = notes end
    e:put("services", service)
    e:put("endpoints", program.slice("s" .. name .. "-1", "s" .. name, 80, { { ("10.1.%d.%d"):format(i / 250, i % 250 + 1) } }))
    e:put("ingresses", program.ingress(name, { annotations = kind == "Ingress" and notes or nil,
      rules = { { host = name .. ".example", paths = { { "/", "Prefix", "s" .. name } } } } }))
  end
  e:render()
  local output, found = e:output(), {}
  local texts = {}
  for owner, reasons in pairs(output.warnings) do
    for _, text in pairs(reasons) do
      local name = tostring(owner):match("n%d%d%d%d")
      if name then texts[name] = (texts[name] or "") .. text .. "\n" end
    end
  end
  for _, failure in pairs(e.host.failures) do
    local name = tostring(failure.message or failure):match("n%d%d%d%d")
    if name then texts[name] = (texts[name] or "") .. tostring(failure.message or failure) .. "\n" end
  end
  for i, row in ipairs(ROWS) do
    local name = ("n%04d"):format(i)
    local leads_to = output.maps["path-prefix.map"]:match("%f[%w]" .. name .. "%.example/ (%S+)")
    local has_server = output.config:find(("server 10.1.%d.%d_80"):format(i / 250, i % 250 + 1), 1, true) ~= nil
    found[row] = { told = texts[name] or "", open = leads_to ~= nil and leads_to ~= "haptic_unavailable" and has_server }
  end
  return found
end

describe("The annotations of other controllers", function()
  local is_honoured
  setup(function() is_honoured = honoured() end)

  for _, kind in ipairs({ "Ingress", "Service" }) do
    it("of an object of the kind " .. kind .. " are honoured, or told, or close the route", function()
      local found, wrong, count = reactions(kind), {}, 0
      for _, row in ipairs(ROWS) do
        local r = found[row]
        if row[kind] and not is_honoured[kind .. "=" .. row.annotation] then
          count = count + 1
          if not r.told:find(row.annotation, 1, true) then
            wrong[#wrong + 1] = row.annotation .. " is passed over in silence"
          end
          if row.protects and r.open then wrong[#wrong + 1] = row.annotation .. " protects, and the route is open" end
        end
      end
      assert.same({}, wrong)
      assert.is_true(count > 0)
    end)
  end

  it("that protect by the library's list are those of the list here", function()
    local protects = {}
    for _, row in ipairs(ROWS) do
      protects[row.prefix] = protects[row.prefix] or {}
      if row.protects then protects[row.prefix][row.key] = true end
    end
    local e = program.engine({ checked = false, scripts = { { name = "ask.lua", source = [[
      local families = use("ingress.families")
      fragment("asked", function(out)
        for prefix, keys in pairs(families) do
          for key in pairs(keys) do out:map_entry("protects.map", prefix .. "/" .. key, "yes") end
        end
      end)]] } } })
    e:render()
    local listed, count = e:output().maps["protects.map"], 0
    for annotation in listed:gmatch("(%S+) yes") do
      local prefix, key = annotation:match("^([^/]+)/(.+)$")
      if protects[prefix] then
        assert.is_true(protects[prefix][key], annotation .. " is not in spec/templates/annotations.tsv")
        protects[prefix][key], count = nil, count + 1
      end
    end
    assert.same({}, { next(protects["haproxy.org"]), next(protects["haproxy-ingress.github.io"]),
      next(protects["nginx.ingress.kubernetes.io"]) })
    assert.is_true(count > 20)
  end)
end)
