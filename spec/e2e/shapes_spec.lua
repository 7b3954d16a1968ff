--- Configurations in the shapes that people have: each of spec/shapes loads and passes its tests, or says what to write
--- instead. The first line of a file says what is expected.

local e2e = require("support.e2e")
local posix = require("support.posix")

local function read(path)
  local f = assert(io.open(path))
  local text = f:read("*a")
  f:close()
  return text
end

describe("a configuration in the shape of", function()
  local pipe = assert(io.popen("LC_ALL=C ls spec/shapes"))
  for name in pipe:lines() do
    local path = "spec/shapes/" .. name
    local expected = read(path):match("^# expects: ([^\n]+)")
    it(name .. " gives: " .. tostring(expected), function()
      assert.truthy(expected, "the first line says what is expected")
      local output, code = posix.run({ e2e.program(), "test", "--config", path, "--haproxy-binary", e2e.haproxy_binary("3.2") })
      assert.truthy(output:find(expected, 1, true), output)
      local passes = expected:find("^Tests: %d+ passed$") ~= nil
      assert.equal(passes and 0 or 1, code, output)
      if passes then
        assert.truthy(output:find(expected .. ", 0 failed, 0 skipped", 1, true), output)
        -- As it is taken, it is a configuration that is taken in the same way.
        local script = "set -e; d=$(mktemp -d); trap 'rm -r $d' EXIT; %s config view -c %s >$d/a.yaml 2>/dev/null; "
          .. "%s config view -c $d/a.yaml >$d/b.yaml; cmp $d/a.yaml $d/b.yaml; grep -c matchLabels $d/b.yaml"
        output, code = posix.run({ "sh", "-c", script:format(e2e.program(), path, e2e.program()) })
        assert.equal(0, code, output)
      end
    end)
  end
  pipe:close()
end)
