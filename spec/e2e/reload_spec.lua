--- What a reload costs others: nothing.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")
local http = require("support.http")

local CLIENTS, RELOADS, BACKEND = 12, 10, "198.18.0.7:8001"

describe("a reload", function()
  local scope, source
  local addresses = { "198.18.0.7" }

  setup(function()
    e2e.backends()
  end)

  before_each(function()
    scope = e2e.scope("reload")
    source = scope:manifests()
    source:write("class.json", kube.ingress_class())
    source:write("keep.yaml", kube.route("keep", "keep.test", addresses))
  end)

  after_each(function()
    scope:close()
  end)

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("loses no request of a client that keeps its connection, " .. series, function()
      local haptic = scope:haptic({ source = source.path, series = series })
      haptic:wait_ready()
      scope:wait_answer(haptic.http_port, "keep.test", BACKEND)
      local client = scope:spawn({ name = "keepalive",
        argv = { "spec/support/e2e_keepalive", tostring(haptic.http_port), "keep.test", tostring(CLIENTS) } })
      local reloads = haptic:state().haproxy.reloads
      for i = 1, RELOADS do
        posix.sleep(0.3)
        posix.write_file(haptic.config_file, http.encode(e2e.config({
          templatingSettings = { extraContext = { retries = 3 + i } },
        })))
        haptic:signal("HUP")
        scope:wait_for("the reload", 20, function()
          return haptic:state().haproxy.reloads >= reloads + i
        end)
      end
      posix.sleep(1)
      client:signal("TERM")
      assert.equal("exit 0", client:wait(20))
      assert.matches("^0 lost of %d+%s*$", client:log())
      assert.is_true(tonumber(client:log():match("of (%d+)")) > 500, client:log())
    end)
  end

  it("that waits for its turn does not take the replica out of service", function()
    local haptic = scope:haptic({ source = source.path, series = "2.6",
      config = e2e.config({ dataplane = { minDeploymentInterval = "2s" } }) })
    haptic:wait_ready()
    local asked = 0
    for i = 1, 8 do
      source:write("more-" .. i .. ".yaml", kube.route("more-" .. i, "more-" .. i .. ".test", addresses))
      for _ = 1, 10 do
        posix.sleep(0.05)
        local ready, why = haptic:is_ready()
        assert.is_true(ready, why)
        asked = asked + 1
      end
    end
    assert.equal(80, asked)
    assert.is_true(haptic:count_log('msg="A reload waits"') >= 1)
    scope:wait_answer(haptic.http_port, "more-8.test", BACKEND, 30)
    scope:wait_for("nothing to wait for", 20, function()
      return haptic:metric("haptic_reload_wait_seconds") == 0
    end)
  end)
end)
