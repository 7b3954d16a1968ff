--- Every recipe of docs/recipes.md is run as it stands, with the objects that stand there.

local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- The page's headings with their blocks of YAML.
local function recipes()
  local list, text = {}, read("docs/recipes.md")
  for title in text:gmatch("\n## ([^\n]+)") do list[#list + 1] = { title = title } end
  local i = 0
  for block in text:gmatch("```yaml recipe\n(.-)```") do
    i = i + 1
    list[i].config = block
  end
  assert(i == #list, "each heading has one recipe")
  return list, assert(text:match("```yaml objects\n(.-)```"))
end

describe("recipes", function()
  local dir
  before_each(function() dir = posix.make_temporary_directory("/tmp/haptic-recipes.") end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  local list, objects = recipes()
  for _, recipe in ipairs(list) do
    it(recipe.title, function()
      local fixtures = "validationTests:\n  _global:\n    fixtures:\n" .. objects:gsub("[^\n]+", "      %0")
      local config, count = recipe.config:gsub("validationTests:\n", function() return fixtures end)
      assert.equal(1, count)
      posix.write_file(dir .. "/recipe.yaml", config)
      local out, code = posix.run({ "sh", "-c", ("%s test -c %s/recipe.yaml 2>&1"):format(BIN, dir) })
      assert.equal(0, code, out)
    end)
  end
end)
