--- The manual agrees with itself and with the program.

local posix = require("support.posix")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local PAGES = posix.lines_of("ls README.md docs/*.md docs/*/*.md charts/*/README.md")

--- As the usual hosts of repositories make it from a heading.
local function anchor(heading)
  return (heading:gsub("%[([^%]]*)%]%([^)]*%)", "%1"):lower():gsub("[^%w _-]", ""):gsub(" ", "-"))
end

local anchors = {}
local function anchors_of(path)
  if not anchors[path] then
    local set, code = {}, false
    for line in read(path):gmatch("[^\n]*") do
      if line:find("^%s*```") then code = not code end
      local heading = not code and line:match("^#+ (.+)$")
      if heading then set[anchor(heading)] = true end
    end
    anchors[path] = set
  end
  return anchors[path]
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- "docs/a/../b.md" without the "..".
local function simple(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then table.remove(parts) elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

describe("the manual", function()
  it("has pages that lead to others which are there", function()
    local broken, count = {}, 0
    for _, page in ipairs(PAGES) do
      local folder = page:match("^(.*/)[^/]*$") or ""
      local text = read(page):gsub("```.-```", "")
      for target in text:gmatch("%]%(([^)%s]+)%)") do
        if not target:find("^%a+://") then
          count = count + 1
          local file, fragment = target:match("^([^#]*)#?(.*)$")
          local path = file == "" and page or simple(folder .. file)
          if not exists(path) then
            broken[#broken + 1] = page .. ": " .. target
          elseif fragment ~= "" and not anchors_of(path)[fragment] then
            broken[#broken + 1] = page .. ": " .. target .. " (no such heading)"
          end
        end
      end
    end
    assert.is_true(count > 60)
    assert.same({}, broken)
  end)

  it("explains each Reason that the libraries give to owners", function()
    local manual, missing, count = read("docs/libraries.md") .. read("docs/templates.md"), {}, 0
    for _, line in ipairs(posix.lines_of([[grep -rhoE '(warn|event)\("[A-Z][A-Za-z]+"|return "[A-Z][a-z]+[A-Z][A-Za-z]+", ' templates]])) do
      local reason = line:match('"(%u%a+)"')
      count = count + 1
      if not manual:find("`" .. reason .. "`", 1, true) then missing[reason] = true end
    end
    assert.is_true(count > 20)
    assert.same({}, missing)
  end)

  it("explains each alert of the chart, and no other", function()
    local chart, manual, count = {}, {}, 0
    for _, line in ipairs(posix.lines_of("cat charts/haptic/files/*alerts.yaml")) do
      local name = line:match("^%s+%- alert: (%S+)")
      if name then
        count = count + 1
        chart[name] = true
      end
    end
    for name in read("docs/operations/monitoring.md"):gmatch("\n| `(%u%a+)` |") do manual[name] = true end
    assert.is_true(count > 10)
    assert.same(chart, manual)
    -- And promtool lets each of them fire and clear.
    local tests = read("tools/chart/alerts.test.yaml") .. read("spec/e2e/leader-election-alerts.test.yaml")
    for name in pairs(chart) do
      assert.is_truthy(tests:find("alertname: " .. name .. "\n%s+exp_alerts:\n"), name .. " is not seen to fire")
      local _, last = tests:find(".*alertname: " .. name)
      assert.equal(", exp_alerts: []", tests:sub(last + 1, last + 16), name .. " is not seen to clear at last")
    end
  end)

  it("quotes words in the tables of troubleshooting that the program says", function()
    local program = table.concat(posix.lines_of("cat core/*/*.c templates/*.lua templates/*/*.lua"), "\n"):gsub('"\n%s*"', "")
    local unknown, count = {}, 0
    for line in read("docs/troubleshooting.md"):gmatch("[^\n]+") do
      local cell = line:match("^| ([^|]+) |")
      for quoted in (cell or ""):gmatch("`([^`]+)`") do
        count = count + 1
        quoted = quoted:gsub("…", ""):gsub("^%s+", ""):gsub("%s+$", "")
        if quoted ~= "/readyz" and not program:find(quoted, 1, true) then unknown[#unknown + 1] = quoted end
      end
    end
    assert.is_true(count > 10)
    assert.same({}, unknown)
  end)
end)
