--- The admission policy that is made of the declarations: a real API server takes it, and refuses what it says.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("The policy of annotations", function()
  it("lets right values in and refuses wrong ones", function()
    local scope = e2e.scope("policy")
    local cluster = scope:cluster()
    local output, code = posix.run({ "kubectl", "--kubeconfig", cluster.admin_kubeconfig, "apply", "-f",
      "examples/annotation-policy.yaml" })
    assert(code == 0, output)
    local function put(name, annotations)
      local all = {}
      for key, value in pairs(annotations) do all["haproxy.org/" .. key] = value end
      return pcall(cluster.admin.put, cluster.admin, kube.ingress({ name = name, host = name .. ".example", service = "web",
        annotations = all }))
    end
    scope:wait_for("the policy to be in force", 30, function()
      local ok, message = put("probe", { ["cors-enable"] = "perhaps" })
      return not ok and tostring(message):find("must be true or false", 1, true) ~= nil, tostring(message)
    end)
    for name, annotations in pairs({ switch = { ["cors-enable"] = "On" }, list = { ["allow-list"] = "10.0.0.0/8, ::1" },
      number = { ["rate-limit-requests"] = "10", ["rate-limit-period"] = "500" }, time = { ["cors-max-age"] = "5m" },
      empty = { ["cors-enable"] = "", ["allow-list"] = "" }, others = { ["path-rewrite"] = "/x" } }) do
      local ok, message = put("good-" .. name, annotations)
      assert.is_true(ok, tostring(message))
    end
    for name, annotations in pairs({ list = { ["allow-list"] = "patterns/x" }, number = { ["rate-limit-requests"] = "0" },
      text = { ["rate-limit-requests"] = "many" }, time = { ["cors-max-age"] = "5" }, type = { ["auth-type"] = "digest" } }) do
      local ok, message = put("bad-" .. name, annotations)
      assert.is_false(ok, name)
      assert.matches("haproxy.org/", tostring(message), 1, true)
    end
    scope:close()
  end)
end)
