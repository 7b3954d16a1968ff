-- Runs the examples of docs/templates.md.
local cjson = require("cjson")
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local blocks = {}
for language, info, body in program.read("docs/templates.md"):gmatch("\n```(%l+) ([^\n]+)\n(.-)\n```") do
  blocks[#blocks + 1] = { language = language, kind = info:match("^%l+"), name = info:match("=(%S+)"), info = info, body = body .. "\n" }
end

local objects
local snippets = {}
for _, b in ipairs(blocks) do
  if b.kind == "objects" then objects = cjson.decode(b.body) end
  if b.kind == "snippet" then snippets[b.name] = b.body end
end

local function render(b)
  local e
  local kinds = { { name = "secrets", parts = 2 }, { name = "fetched", parts = 1 },
    { name = "configmaps", parts = 2, owned = { apiVersion = "v1", resources = "configmaps" } }, unpack(program.KINDS) }
  if b.language == "lua" then
    e = program.engine({ kinds = kinds, libraries = b.info:find("libraries") ~= nil, scripts = { { name = b.name .. ".lua", source = b.body } } })
  else
    e = program.engine({ kinds = kinds, libraries = false, haproxyConfig = b.body, snippets = snippets })
  end
  for kind, list in pairs(objects) do
    for _, o in ipairs(list) do e:put(kind, o) end
  end
  e:render()
  assert.same({}, e.host.failures)
  return e:output()
end

describe("docs/templates.md", function()
  it("has examples", function()
    assert.is_table(objects)
    assert.is_true(#blocks >= 11, #blocks .. " blocks")
  end)

  for _, b in ipairs(blocks) do
    if b.kind == "run" then
      it("example " .. b.name .. " does what the page says", function()
        local output = render(b)
        local expected = 0
        for _, x in ipairs(blocks) do
          if x.kind == "expect" and x.name == b.name then
            expected = expected + 1
            local all = output.config
            if x.language == "map" then
              all = ""
              for _, text in pairs(output.maps) do all = all .. text end
            end
            assert.is_truthy(all:find(x.body, 1, true), "expected\n" .. x.body .. "in\n" .. all)
          end
        end
        assert.is_true(expected > 0, "nothing is expected of it")
      end)
    end
  end

  it("has every setting of the libraries, and no other", function()
    local page = program.read("docs/libraries.md") .. program.read("docs/templates.md")
    local declared = {}
    for _, script in ipairs(program.libraries()) do
      for settings in script.source:gmatch("\nsettings(%b())") do
        for key in settings:gmatch("\n  (%l[%l%d_]*) = { type = ") do
          declared[key] = true
          assert.is_truthy(page:find("`" .. key .. "`", 1, true) or page:find("`" .. key .. ":", 1, true), key)
        end
      end
    end
    for _, script in ipairs(program.libraries()) do
      for key in script.source:gmatch("context%.(%l[%l%d_]*)") do assert.is_true(declared[key], key .. " is not declared") end
      for reason in script.source:gmatch("out:%l+%(\"(%u%a+)\"") do assert.is_truthy(page:find("`" .. reason .. "`", 1, true), reason) end
    end
    local table_of_settings = page:match("\n(| key | type | default .-)\n\n")
    local rows = 0
    for line in table_of_settings:gmatch("[^\n]+") do
      local keys = line:match("^| (`[^|]+) |") or ""
      rows = rows + (keys ~= "" and 1 or 0)
      for key in keys:gmatch("`(%l[%l%d_]*)`") do assert.is_true(declared[key], key .. " is not declared") end
    end
    assert.is_true(rows > 10)
  end)

  it("shows configurations that HAProxy takes", function()
    local folder = haproxy.folder()
    finally(function() haproxy.remove(folder) end)
    for _, b in ipairs(blocks) do
      if b.name == "point" and b.kind == "run" or b.name == "words" and b.kind == "run" then
        haproxy.write(folder, render(b))
        local ok, words = haproxy.check("haproxy", folder)
        assert.is_true(ok, words)
      end
    end
  end)
end)
