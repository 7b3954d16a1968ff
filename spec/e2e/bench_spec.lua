--- The benchmark in small: what must hold however busy the machine is. Times are not looked at.

local json = require("cjson")
local e2e = require("support.e2e")
local posix = require("support.posix")

local ROUND = { endpoint = 20, ingress = 8 }

describe("tools/bench --quick", function()
  local scope

  setup(function()
    scope = e2e.scope("bench")
  end)

  teardown(function()
    scope:close()
  end)

  --- No request fails, nothing is reloaded, all hosts answer.
  local function measure(...)
    local path = scope:path("figures.json")
    local binary = e2e.program()
    local programs = os.getenv("BENCH_PROGRAMS") or binary:gsub("/core/haptic$", "/tools/benchmark")
    local output, code = posix.run({
      "env", "HAPTIC_BIN=" .. binary, "BENCH_PROGRAMS=" .. programs, "TMPDIR=" .. scope.directory, "tools/bench",
      "--quick", "--output", path, ...,
    })
    assert.equal(0, code, e2e.tail(output, 30))
    local sizes = json.decode(posix.read_file(path)).sizes
    assert.equal(1, #sizes)
    assert.equal(50, sizes[1].size)
    local ours, floor = sizes[1].ours, sizes[1].floor
    assert.equal(0, ours.reloads)
    for name, figures in pairs({ ours = ours, floor = floor }) do
      -- A cold start counts only when all hosts have answered, a sample only when the new endpoint has.
      assert.equal(1, #figures.cold_start_s.all, name)
      for kind, samples in pairs(ROUND) do
        assert.equal(samples, figures[kind].n, name)
      end
      local churn = figures.churn
      assert.equal(150, churn.changes, name)
      assert.is_true(churn.asked > 200, name .. " was asked only " .. churn.asked .. " times")
      assert.same({ 0, 0 }, { churn.failed, churn.stale }, name .. " failed requests, stale endpoints\n" .. output)
    end
    -- Every endpoint change was counted by the controller's own histogram.
    assert.is_true(ours.share.endpoint.own.n >= ROUND.endpoint)
    assert.truthy(output:find("reloads +0.00 +wanted ≤ 0 +met"))
    return ours
  end

  it("changes endpoints and Ingresses under load", function()
    assert.is_nil(measure().memory.agent)
  end)

  it("does so for Ingresses with TLS, redirects and annotations, which need no check either", function()
    measure("--tls")
  end)

  it("does so through an agent", function()
    local ours = measure("--agent")
    assert.is_true(ours.memory.agent.rss > 0)
    -- The agent has carried out each of them, and no backend was checked before it came.
    assert.is_true(ours.share.endpoint.agent.n >= ROUND.endpoint)
    assert.is_true(ours.share.ingress.agent.n >= ROUND.ingress)
  end)
end)
