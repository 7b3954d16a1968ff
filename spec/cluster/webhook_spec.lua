--- The admission webhook in pods: the API server asks it all the time while the controllers are replaced.

local k8s = require("support.k8s")
local posix = require("support.posix")

if not k8s.wanted() then
  return
end

describe("the admission webhook", function()
  local cluster

  setup(function() cluster = k8s.up() end)
  teardown(function() cluster:down() end)
  after_each(function()
    cluster:uninstall()
    cluster:run("kubectl delete namespace shop --ignore-not-found --timeout=60s")
  end)

  local PROBE = "kubectl -n shop create ingress probe --class=haptic --rule='probe.example/*=web:80' --dry-run=server -o name"

  --- Candidates that the controllers have judged since they run, together.
  local function judged()
    local sum = 0
    for _, pod in ipairs(cluster:controllers()) do
      local text = cluster:run(("kubectl exec %s -c controller -- wget -qO- localhost:9090/metrics"):format(pod))
      for count in text:gmatch("\nhaptic_webhook_requests_total{[^}]*} (%d+)") do
        sum = sum + tonumber(count)
      end
    end
    return sum
  end

  it("answers each question while the controllers are replaced, where no answer means no object", function()
    cluster:run("kubectl create namespace shop")
    cluster:install("--set replicaCount=2 --set controller.webhook.enabled=true --set controller.webhook.failurePolicy=Fail")
    cluster:wait_for("the webhook", 60, function()
      local output, code = cluster:sh(PROBE)
      return code == 0 and judged() > 0, output
    end)
    local log = cluster.scratch .. "/probes.log"
    local process = posix.spawn({
      name = "probes", output = log,
      argv = { "bash", "-c", ("export KUBECONFIG=%s; while :; do %s && echo good || echo bad; done"):format(cluster.kubeconfig, PROBE) },
    })
    local ok, reason = pcall(function()
      for _ = 1, 2 do
        cluster:run("kubectl rollout restart deployment haptic-controller")
        cluster:rolled_out("deployment/haptic-controller")
        cluster:settled(k8s.CONTROLLERS, 2)
      end
    end)
    posix.run({ "kill", "-TERM", "--", "-" .. process.pid })
    process:stop(10)
    assert(ok, reason)
    local text = posix.read_file(log)
    local _, good = text:gsub("good\n", "")
    local _, bad = text:gsub("bad\n", "")
    assert(good > 20, "only " .. good .. " questions were answered")
    assert.equal(0, bad, text)
    assert.is_true(judged() > 0)
    print(("%d questions, each answered"):format(good))
  end)
end)
