--- A whole Kubernetes of one node (tools/testenv k8s), the chart in it, and requests from inside the node.
--
-- The node takes minutes to build the first time, so these specs run only with E2E_CLUSTER=1. E2E_CLUSTER_DIR names a
-- cluster of "tools/testenv k8s up" that is used and left as it is; without it each file of specs has one of its own.

local posix = require("support.posix")
local witness = require("support.k8s_witness")

local M = {}

local HOST = "web.example"

--- Is there to be a cluster? Says so if not.
function M.wanted()
  if os.getenv("E2E_CLUSTER") == "1" then
    return true
  end
  io.stderr:write("cluster specs are left out: a node of Kubernetes takes minutes to build; E2E_CLUSTER=1 runs them\n")
  return false
end

local Cluster = {}
Cluster.__index = Cluster

local function must(argv)
  local output, code = posix.run(argv)
  if code ~= 0 then
    error(table.concat(argv, " ") .. ": " .. output, 3)
  end
  return (output:gsub("%s+$", ""))
end

--- A cluster with an empty namespace "default", whose pods must meet the standard "restricted".
function M.up()
  local given = os.getenv("E2E_CLUSTER_DIR")
  local cluster = setmetatable({ given = given, clients = 0 }, Cluster)
  cluster.scratch = posix.make_temporary_directory("cluster")
  cluster.directory = given or cluster.scratch .. "/node"
  if not given then
    must({ "tools/testenv", "k8s", "up", cluster.directory, "--owner", tostring(posix.pid()) })
  end
  cluster.kubeconfig = cluster.directory .. "/kubeconfig"
  cluster.helm_program = must({ "sh", "-c", "tools/testenv helm 2>/dev/null" })
  cluster:run("kubectl label namespace default pod-security.kubernetes.io/enforce=restricted --overwrite")
  return cluster
end

function Cluster:down()
  if not self.given then
    posix.run({ "tools/testenv", "k8s", "down", self.directory })
  end
  posix.run({ "rm", "-rf", self.scratch })
end

--- A command line, in a shell with KUBECONFIG and helm: its output and exit code.
function Cluster:sh(line)
  return posix.run({
    "bash", "-c",
    ("export KUBECONFIG=%s PATH=%s:$PATH; %s"):format(self.kubeconfig, self.helm_program:match("^(.*)/"), line),
  })
end

--- The same, which must succeed. Returns its output.
function Cluster:run(line)
  local output, code = self:sh(line)
  if code ~= 0 then
    error(("%s: exit %d: %s"):format(line, code, output), 2)
  end
  return (output:gsub("%s+$", ""))
end

--- Runs a command line in the node, where pods and Services are reached.
function Cluster:inside(line)
  return posix.run({ "tools/testenv", "k8s", "exec", self.directory, "sh", "-c", line })
end

function Cluster:wait_for(what, seconds, condition)
  local deadline, last = posix.now() + seconds, nil
  repeat
    local ok, result, seen = pcall(condition)
    if ok and result then
      return result
    end
    last = ok and seen or not ok and result or last
    posix.sleep(0.2)
  until posix.now() > deadline
  error(("waited %g s for %s; last seen: %s\n%s"):format(seconds, what, tostring(last),
    (self:sh("kubectl get pods -o wide; kubectl get events | tail -n 8"))), 2)
end

function Cluster:apply(text)
  local path = self.scratch .. "/apply.yaml"
  posix.write_file(path, text)
  return self:run("kubectl apply -f " .. path)
end

--- `helm install haproxy-ic charts/haptic …`. Returns when all of it is ready. (Nobody here makes load balancers.)
function Cluster:install(arguments)
  return self:run("helm install haproxy-ic charts/haptic --set haproxy.service.type=NodePort --wait --timeout 150s "
    .. (arguments or ""))
end

--- Removes the release, and waits until its pods are gone.
function Cluster:uninstall()
  self:sh("helm uninstall haproxy-ic --wait --timeout 120s")
  self:sh("kubectl delete lease haptic-leader --ignore-not-found")
  self:wait_for("the pods to be gone", 120, function()
    return self:run("kubectl get pods -l app.kubernetes.io/name=haptic -o name") == ""
  end)
end

--- Names of pods that are not about to end, by label selector.
function Cluster:pods(selector)
  local names = {}
  local template = [[{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}]]
  local lines = self:run(("kubectl get pods -l %s -o go-template='%s'"):format(selector, template))
  for name in lines:gmatch("%S+") do
    names[#names + 1] = name
  end
  return names
end

function Cluster:controllers()
  return self:pods(M.CONTROLLERS)
end

--- The pods that HAProxy runs in.
function Cluster:haproxies()
  return self:pods(M.HAPROXIES)
end

function Cluster:leader()
  local holder = self:run("kubectl get lease haptic-leader -o jsonpath='{.spec.holderIdentity}'")
  return holder ~= "" and holder or nil
end

--- The value of a metric of a pod, by `kubectl exec … wget`.
function Cluster:metric(pod, name)
  local text = self:run(("kubectl exec %s -- wget -qO- localhost:9090/metrics"):format(pod))
  return tonumber(text:match("\n" .. name:gsub("%p", "%%%0") .. " (%S+)"))
end

-- ---- an application and requests ----

--- Those objects of an application that are of these kinds (nil: all). Returns when its pods are ready.
function Cluster:application_parts(name, replicas, kinds)
  local text = posix.read_file("spec/cluster/application.yaml"):gsub("NAME", name):gsub("REPLICAS", tostring(replicas))
  local parts = {}
  for part in (text .. "\n---\n"):gmatch("(.-)\n%-%-%-\n") do
    for _, kind in ipairs(kinds or { part:match("\nkind: (%a+)") }) do
      if part:find("\nkind: " .. kind .. "\n", 1, true) then
        parts[#parts + 1] = part
      end
    end
  end
  assert(#parts == (kinds and #kinds or 4), "spec/cluster/application.yaml has other objects")
  self:apply(table.concat(parts, "\n---\n"))
  self:run("kubectl rollout status deployment/" .. name .. " --timeout=90s")
end

--- A Deployment "web" of small web servers that say their pod's name, with a Service and an Ingress for web.example.
function Cluster:application(name, replicas)
  self:application_parts(name, replicas)
end

--- Removes an application.
function Cluster:forget(name)
  self:run("kubectl delete --ignore-not-found --timeout=90s ingress,service,deployment,configmap " .. name)
end

--- The address of HAProxy's Service.
function Cluster:address()
  return self:run("kubectl get service haptic-haproxy -o jsonpath='{.spec.clusterIP}'")
end

--- One request through the Service, or to another address (IPv6 in brackets): status and body.
function Cluster:ask(host, address)
  local output = self:inside(("curl -sg -m 3 -w '\\n%%{http_code}' -H 'Host: %s' 'http://%s/'")
    :format(host or HOST, address or self:address()))
  local body, status = output:match("^(.*)\n(%d+)%s*$")
  return tonumber(status), body
end

function Cluster:wait_answer(host, address)
  return self:wait_for("an answer through the Service", 60, function()
    local status, body = self:ask(host, address)
    return status == 200 and body, tostring(status) .. " " .. tostring(body)
  end)
end

--- Asks all the time, on kept and on new connections, until `finish`. authority: the file of an authority, for HTTPS;
-- nil: HTTP.
function Cluster:traffic(rate, authority)
  self.clients = self.clients + 1
  local output = ("%s/client-%d.log"):format(self.scratch, self.clients)
  local argv = { "tools/testenv", "k8s", "exec", self.directory, "python3", "spec/support/e2e_client" }
  if authority then
    argv[#argv + 1], argv[#argv + 2] = "--tls", authority
  end
  argv[#argv + 1] = self:address() .. (authority and ":443" or ":80")
  argv[#argv + 1], argv[#argv + 2] = tostring(rate or 50), HOST
  local process = posix.spawn({ name = "client", output = output, argv = argv })
  self:wait_for("the client's first answers", 20, function()
    return (posix.read_file(output) or ""):find(" 200 ")
  end)
  return {
    --- Ends it. Returns the number of requests, and those that failed as a list of texts.
    finish = function()
      -- It is in a session of its own, with the programs that lead into the node.
      posix.run({ "kill", "-TERM", "--", "-" .. process.pid })
      process:stop(10)
      self:wait_for("the client's end", 15, function()
        return (posix.read_file(output) or ""):find("\nagain %d+\n")
      end)
      local count, failed = 0, {}
      local log = posix.read_file(output) or ""
      local offset = os.time() - posix.now() -- of the client's clock to the day's
      for time, kind, host, status, detail in log:gmatch("([%d.]+) (%l+) (%S+) (%w+) ([^\n]*)\n") do
        count = count + 1
        if status ~= "200" then
          failed[#failed + 1] = ("%s %s %s %s %s"):format(os.date("!%T", time + offset), kind, host, status, detail)
        end
      end
      return count, failed
    end,
  }
end

--- Runs `change` under requests, with some seconds before and after it: none of them may fail. authority: as for
-- `traffic`.
function Cluster:under_traffic(change, authority)
  local seen = witness.watch(self)
  local traffic = self:traffic(50, authority)
  posix.sleep(2)
  local ok, reason = pcall(change)
  posix.sleep(3)
  local count, failed = traffic.finish()
  local account = seen.finish(not ok or #failed > 0)
  assert(ok, tostring(reason) .. account)
  assert(count > 150, "only " .. count .. " requests were made")
  local first = table.concat(failed, "\n", 1, math.min(#failed, 40))
  assert(#failed == 0, ("%d of %d requests failed:\n%s%s"):format(#failed, count, first, account))
  print(("%d requests, none failed"):format(count))
end

--- Waits until what has pods is as it should be ("deployment/web").
function Cluster:rolled_out(what)
  self:run("kubectl rollout status " .. what .. " --timeout=170s")
end

--- Waits until there are so many pods, those included that are about to end.
function Cluster:settled(selector, count)
  self:wait_for(count .. " pods of " .. selector, 150, function()
    local all = self:run("kubectl get pods -l " .. selector .. " -o name")
    local _, found = all:gsub("pod/", "")
    return found == count, all
  end)
end

M.CONTROLLERS = "app.kubernetes.io/name=haptic,app.kubernetes.io/component=controller"
M.HAPROXIES = "app.kubernetes.io/name=haptic,app.kubernetes.io/component=loadbalancer"

return M
