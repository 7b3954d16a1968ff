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

  local CANDIDATE = [[{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"probe"},"spec":{"ingressClassName":"haptic","rules":
    [{"host":"probe.example","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}}]}}]}}]]

  --- A command line that asks the API server once, without a program that takes long to start.
  local function question()
    local directory = cluster.directory
    posix.write_file(cluster.scratch .. "/candidate.json", CANDIDATE)
    return ("curl -sS -m 20 --cacert %s/ca.crt --cert %s/pki/admin.crt --key %s/pki/admin.key -H 'Content-Type: application/json' --data @%s/candidate.json "
      .. "-w '\\n%%{http_code}\\n' \"$(cat %s/server)/apis/networking.k8s.io/v1/namespaces/shop/ingresses?dryRun=All\""):format(directory, directory,
      directory, cluster.scratch, directory)
  end

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
    local ask = question()
    cluster:wait_for("the webhook", 60, function()
      local output = cluster:sh(ask)
      return output:find("\n201%s*$") and judged() > 0, output
    end)
    local log = cluster.scratch .. "/probes.log"
    local process = posix.spawn({
      name = "probes", output = log,
      argv = { "bash", "-c", ("while :; do %s | tr '\\n' ' '; echo; done"):format(ask) },
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
    -- The last one was cut off by its end.
    local good, refused = 0, {}
    for line in posix.read_file(log):gmatch("([^\n]*)\n") do
      if line:find(" 201 ") then
        good = good + 1
      else
        refused[#refused + 1] = line
      end
    end
    assert(good > 20, "only " .. good .. " questions were answered")
    assert.same({}, refused)
    print(("%d questions, each answered"):format(good))
  end)
end)
