--- examples/recipes, as tools/quickstart serves them: each line that a recipe says to try shows what it says.

local e2e = require("support.e2e")
local posix = require("support.posix")

local FOLDER = "examples/recipes"

--- {file=, try=, see= (list)} of all recipes, in order.
local function tries()
  local list, files = {}, 0
  for name in posix.run({ "sh", "-c", "ls " .. FOLDER .. "/[0-9]*.yaml" }):gmatch("[^\n]+") do
    local before = #list
    for kind, text in posix.read_file(name):gmatch("# (%l+): ([^\n]+)") do
      if kind == "try" then
        list[#list + 1] = { file = name, try = text }
      elseif kind == "see" then
        local seen = {}
        for part in (text .. "; "):gmatch("(.-); ") do seen[#seen + 1] = part end
        list[#list].see = seen
      end
    end
    if #list > before then files = files + 1 end
  end
  return list, files
end

describe("the tour of recipes", function()
  local scope

  before_each(function() scope = e2e.scope("tour") end)
  after_each(function() scope:close() end)

  -- 2.6 is what the quickstart finds on Debian 12.
  for _, series in ipairs({ "2.6", "3.4" }) do
    it("shows what each recipe says, with HAProxy " .. series, function()
      local list, files = tries()
      assert.equal(10, files)
      scope:spawn({ name = "pods", argv = { e2e.haproxy_binary(series), "-f", "examples/backends.cfg" } })
      local haptic = scope:haptic({ source = FOLDER, series = series, https = true,
        config = posix.read_file(FOLDER .. "/haptic.yaml") }):wait_ready()
      scope:wait_for("the pods", 30, function() return posix.run({ "curl", "-s", "127.0.0.1:8083" }) ~= "" end)
      local ports = ("localhost:8080=localhost:%d localhost:8443=localhost:%d"):format(haptic.http_port, haptic.https_port)
      for _, t in ipairs(list) do
        local line = t.try
        for from, to in ports:gmatch("(%S+)=(%S+)") do line = line:gsub(from, to) end
        -- As a terminal does it: this page's ports, and what curl prints.
        local output = posix.run({ "sh", "-c", line })
        for _, wanted in ipairs(t.see) do
          assert.truthy(output:lower():find(wanted:lower(), 1, true), t.file .. ": " .. line .. "\n" .. output .. "\nhas no " .. wanted)
        end
      end
      assert.equal(0, haptic:count_log("level=ERROR"))
      assert.equal(0, haptic:metric("haptic_warned_objects"), haptic:log())
      -- What the quickstart prints has these lines with the ports of this HAProxy.
      local printed = posix.run({ "bash", "-euc", ". tools/lib/answers.sh; cfg=" .. haptic.directory .. "/haproxy.cfg; recipes_of "
        .. FOLDER .. " $(http_port_of $cfg) $(https_port_of $cfg)" })
      for _, t in ipairs(list) do
        local line = t.try
        for from, to in ports:gmatch("(%S+)=(%S+)") do line = line:gsub(from, to) end
        assert.truthy(printed:find("    " .. line .. "\n", 1, true), printed)
      end
    end)
  end
end)
