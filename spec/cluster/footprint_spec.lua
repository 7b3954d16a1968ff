--- What the pods need: memory and processor of controllers and of HAProxy's pods, idle and under changes, against the chart's requests and limits.
-- E2E_FULL=1 runs it; FOOTPRINT_SIZES names other numbers of Ingresses ("10 1000 5000").

local k8s = require("support.k8s")
local posix = require("support.posix")

if not k8s.wanted() then
  return
end
if os.getenv("E2E_FULL") ~= "1" then
  io.stderr:write("left out: what pods need with thousands of Ingresses, which takes minutes; E2E_FULL=1 runs it\n")
  return
end

local CHANGES_PER_SECOND, MEMORY_LIMIT, CPU_REQUEST = 20, 512, 100 -- of the controller: MiB, thousandths

describe("what pods need", function()
  local cluster
  local have, runs = 0, 0

  setup(function() cluster = k8s.up() end)
  after_each(function() cluster:uninstall() end)
  teardown(function()
    cluster:run(("python3 spec/support/many_ingresses.py $(cat %s/server) %s/pki delete %d"):format(cluster.directory, cluster.directory, have))
    cluster:down()
  end)

  local function many(arguments)
    return cluster:run(("python3 spec/support/many_ingresses.py $(cat %s/server) %s/pki %s"):format(cluster.directory, cluster.directory, arguments))
  end

  --- Of a container: MiB that it cannot give back, MiB at most, seconds of processor. By its control group, of either version.
  local function use(pod, container)
    local text = cluster:run(([[kubectl exec %s -c %s -- sh -c '
      cd /sys/fs/cgroup
      if [ -e memory.current ]; then
        cat memory.current memory.peak; grep "^inactive_file" memory.stat; grep "^usage_usec" cpu.stat
      else
        cat memory/memory.usage_in_bytes memory/memory.max_usage_in_bytes
        grep "^total_inactive_file" memory/memory.stat; echo usage_usec $(($(cat cpuacct/cpuacct.usage) / 1000))
      fi' 2>/dev/null]]):format(pod, container)) -- kubectl may say something of its own on a busy machine
    local now, most = text:match("^(%d+)%s+(%d+)")
    assert(now, text)
    local cached = tonumber(text:match("inactive_file (%d+)"))
    return (now - cached) / 2 ^ 20, most / 2 ^ 20, tonumber(text:match("usage_usec (%d+)")) / 1e6
  end

  for size in (os.getenv("FOOTPRINT_SIZES") or "10 1000 5000"):gmatch("%d+") do
    size = tonumber(size)
    it(("with %d Ingresses stays within the chart's figures"):format(size), function()
      many(("create %d %d"):format(have + 1, size))
      have = size
      -- From the start on, so that a start with so many objects is in it.
      cluster:install("--set replicaCount=2")
      cluster:wait_for("all Ingresses at both pods of HAProxy", 120, function()
        local leader = assert(cluster:leader())
        local read = cluster:metric(leader, [[haptic_resources{kind="ingresses"}]])
        return read == size and cluster:metric(leader, "haptic_members_verified") == 2, read
      end)
      posix.sleep(5)
      local leader, rows = cluster:leader(), {}
      local containers = {}
      for _, pod in ipairs(cluster:controllers()) do
        containers[#containers + 1] = { name = pod == leader and "controller, leads" or "controller, stands by", pod = pod, container = "controller" }
      end
      local haproxy = cluster:haproxies()[1]
      containers[#containers + 1] = { name = "agent", pod = haproxy, container = "agent" }
      containers[#containers + 1] = { name = "haproxy", pod = haproxy, container = "haproxy" }
      local function measure(what, work)
        local before, begun = {}, posix.now()
        for i, c in ipairs(containers) do before[i] = select(3, use(c.pod, c.container)) end
        work()
        local seconds = posix.now() - begun
        for i, c in ipairs(containers) do
          local memory, most, cpu = use(c.pod, c.container)
          c[what] = { memory = memory, most = most, cpu = (cpu - before[i]) / seconds * 1000 }
        end
      end
      measure("idle", function() posix.sleep(20) end)
      -- Other addresses than those that the size before has left, or nothing would change.
      runs = runs + 1
      local generation = cluster:metric(leader, "haptic_generation")
      measure("busy", function() many(("change %d %d %d"):format(size, CHANGES_PER_SECOND, 50 * runs)) end)
      assert(cluster:metric(leader, "haptic_generation") >= generation + 100, "the changes were none")
      for _, c in ipairs(containers) do
        rows[#rows + 1] = ("| %d | %s | %.0f | %.0f | %.0f | %.0f | %.0f |"):format(size, c.name,
          c.idle.memory, c.idle.cpu, c.busy.memory, c.busy.cpu, c.busy.most)
        if c.container == "controller" then
          assert(c.busy.most < MEMORY_LIMIT, c.busy.most)
          assert(c.idle.cpu < CPU_REQUEST, c.idle.cpu)
        end
      end
      print("\n" .. table.concat(rows, "\n"))
      local restarts = cluster:run("kubectl get pods -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}'")
      assert.equal("", (restarts:gsub("[0 ]", "")))
    end)
  end
end)
