--- Metrics are what the manual, the alerts and the dashboards say.

local e2e = require("support.e2e")
local http = require("support.http")
local json = require("cjson")
local kube = require("support.kube")
local posix = require("support.posix")

local PAGES = { "docs/operations/running.md", "docs/operations/high-availability.md", "docs/agent-api.md" }
local DASHBOARDS = { "controller", "haproxy" }
local FOLDER = "charts/haptic/files/"

--- The names that stand between quotes in the program's source.
local function names_of_program()
  local names = {}
  local text = posix.run({ "sh", "-c", [[grep -rhoE '"(haptic|process)_[a-z_]+"' core --include=*.c]] })
  for name in text:gmatch('"([%l_]+)"') do names[name] = true end
  return names
end

--- The queries of the dashboards, with values for their variables.
local function queries()
  local list = {}
  for _, name in ipairs(DASHBOARDS) do
    local dashboard = json.decode((assert(posix.read_file(FOLDER .. "dashboards/" .. name .. ".json"))))
    for _, panel in ipairs(dashboard.panels) do
      for _, target in ipairs(panel.targets or {}) do
        list[#list + 1] = { panel = panel.title,
          query = target.expr:gsub("%$__rate_interval", "5m"):gsub("%$%l+", ".*") }
      end
    end
  end
  return list
end

--- Names of metrics in a query or rule: words that are no labels.
local function metrics_in(text)
  local names = {}
  for name in text:gsub("%b{}", ""):gmatch("[%l_]+") do
    if name:find("^haptic_") or name:find("^haproxy_") or name:find("^process_") then
      names[name:gsub("_bucket$", ""):gsub("_count$", ""):gsub("_sum$", "")] = true
    end
  end
  return names
end

describe("metrics", function()
  local scope
  before_each(function() scope = e2e.scope("metrics") end)
  after_each(function() scope:close() end)

  it("stand in the manual, each one, and no others", function()
    local program, manual = names_of_program(), {}
    for _, page in ipairs(PAGES) do
      for line in assert(posix.read_file(page)):gmatch("[^\n]+") do
        if line:find("^|") then
          for name in line:gmatch("`(haptic_[%l_]+)[`{]") do manual[name] = true end
          for name in line:gmatch("`(process_[%l_]+)`") do manual[name] = true end
        end
      end
    end
    local missing, wrong, count = {}, {}, 0
    for name in pairs(program) do
      count = count + 1
      if not manual[name] then missing[#missing + 1] = name end
    end
    for name in pairs(manual) do
      if not program[name] then wrong[#wrong + 1] = name end
    end
    table.sort(missing)
    table.sort(wrong)
    assert.is_true(count > 60)
    assert.same({}, missing)
    assert.same({}, wrong)
  end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("that alerts and dashboards use are there, on " .. series, function()
      local source = scope:manifests()
      source:write("class.json", kube.ingress_class())
      source:write("web.yaml", kube.route("web", "web.example", { "198.18.0.1" }))
      local haptic = scope:haptic({ source = source.path, series = series }):wait_ready()
      local there = names_of_program()
      local answer = http.request({ port = haptic.status_port, path = "/metrics" })
      for name in answer.body:gmatch("\n# TYPE (%S+)") do there[name] = true end
      for name in assert(haptic:get("/metrics")).body:gmatch("# TYPE (%S+)") do
        assert.truthy(there[name], name .. " is not found in the source")
      end
      local missing = {}
      local function look(where, text)
        for name in pairs(metrics_in(text)) do
          if not there[name] then missing[#missing + 1] = where .. ": " .. name end
        end
      end
      for _, q in ipairs(queries()) do look(q.panel, q.query) end
      for _, file in ipairs({ "alerts.yaml", "leader-election-alerts.yaml" }) do
        for line in assert(posix.read_file(FOLDER .. file)):gmatch("expr: ([^\n]+)") do look(file, line) end
      end
      assert.same({}, missing)
    end)
  end

  it("are asked for by queries that Prometheus understands", function()
    local rules = {}
    for i, q in ipairs(queries()) do rules[i] = { record = "check:query" .. i, expr = q.query } end
    assert.is_true(#rules > 40)
    local file = scope:path("rules.yaml")
    posix.write_file(file, http.encode({ groups = { { name = "dashboards", rules = rules } } }))
    local output, code = posix.run({ "promtool", "check", "rules", file })
    assert.equal(0, code, output)
  end)
end)
