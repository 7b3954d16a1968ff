--- The manual's commands for a cluster, as they stand, in the order of the pages: the first route, an upgrade, what to look at, and the removal.

local k8s = require("support.k8s")
local manual = require("support.manual")
local posix = require("support.posix")

if not k8s.wanted() then
  return
end

--- A web server of the node's own images, in the place of the one that the manual takes from a registry.
local SERVER = [[--image=localhost/haptic/haproxy:3.4 -- sh -c "printf 'defaults\n mode http\n timeout client 9s\nfrontend f\n bind :8080\n ]]
  .. [[http-request return status 200 content-type text/plain string hello\n' >/tmp/web.cfg && exec haproxy -db -f /tmp/web.cfg"]]

--- What the commands must say, by page: a Lua pattern of the command, one of its output, and its exit code if that is not 0. Commands of other
-- programs than helm, kubectl and curl are another spec's.
local PAGES = {
  { "docs/getting-started.md", {
    { "^curl http://shop", false },
    { "^helm install", "STATUS: deployed.*1%. Wait until.*2%. Give an Ingress.*3%. " },
    { "^kubectl rollout status", "successfully rolled out" },
    { "^kubectl create deployment hello", "created" },
    { "^kubectl expose", "exposed" },
    { "^kubectl create ingress", "created" },
    { "^kubectl get service haptic%-haproxy", "LoadBalancer.*80:.*443:" },
    { "^curl .*ADDRESS", "^hello$" },
    { "^kubectl port%-forward", "" },
    { "^curl .*localhost", "^hello$" },
  } },
  { "docs/installation.md", {
    { "^helm install", false }, { "^helm uninstall", false }, { "^kubectl delete", false }, -- upgrade_spec; below; what has not stayed
    { "^kubectl create ingress", false }, { "^curl ", false },
    { "^kubectl get service haptic%-haproxy", "LoadBalancer" },
    { "^kubectl get htplcfg", "haptic%-config" },
    { "^kubectl wait", "condition met" },
  } },
  { "docs/troubleshooting.md", {
    { "^kubectl describe ingress", "ServiceNotFound" },
    { "^kubectl get events", "ServiceNotFound" },
    { "^kubectl get pods.*name=haptic", "haptic%-controller.*Running.*haptic%-haproxy.*2/2 .*Running" },
    { "^kubectl get pods.*loadbalancer", "haptic%-haproxy.*2/2 .*Running" },
    { "^kubectl exec deploy.*readyz", "%f[%w]ok%f[%W]" },
    { "^kubectl exec .*agent.*readyz", "%f[%w]ok%f[%W]" },
    { "^kubectl describe pod", "haproxy:.*Ready: +True" },
    { "^kubectl auth can%-i", "^yes$" },
    { "^kubectl logs.*grep %-iE 'deploy", "Deployed" },
    { "^kubectl logs.*level=", "ServiceNotFound" },
    { "^kubectl logs.*> haptic.log", "" },
    { "^kubectl exec.*> metrics.txt", "" },
    { "^kubectl exec.*%-%-version", "^haptic %d" },
  } },
  { "docs/operations/high-availability.md", {
    { "^kubectl get lease", "holderIdentity: haptic%-controller" },
    { "^kubectl describe lease", "LeaderElection" },
    { "^kubectl logs", "Became leader" },
  } },
  { "docs/operations/upgrade.md", {
    { "^helm upgrade.*%-f new%-values", "STATUS: deployed" },
    { "^kubectl get htplcfg haptic%-config %-o yaml", "message: the configuration is live" },
    { "^kubectl logs.*grep", "^$", 1 },
    { "^kubectl apply", "haproxytemplateconfigs.*serverside%-applied" },
    { "^helm upgrade.*reset%-then", "STATUS: deployed" },
    { "^kubectl rollout status", "successfully rolled out" },
    { "^kubectl get htplcfg", "haptic%-config" },
    { "^helm history", "1 .*superseded.*deployed" },
    { "^helm rollback", "Rollback was a success" },
  } },
}

describe("the manual, on a cluster", function()
  randomize(false) -- each page goes on where the one before has ended
  local cluster, port, forward

  setup(function()
    cluster = k8s.up()
    -- A new cluster does not ask for a standard, and the manual's web server does not meet one.
    cluster:run("kubectl label namespace default pod-security.kubernetes.io/enforce-")
    port = cluster:run("python3 tools/lib/free_port.py")
  end)
  teardown(function()
    if forward then forward:stop(5) end
    cluster:sh("kubectl delete deployment,service,ingress hello --ignore-not-found --timeout=60s; kubectl delete ingress lost --ignore-not-found")
    cluster:uninstall()
    cluster:down()
  end)

  --- The reader's own words in the place of the manual's.
  local function filled(command)
    local words = {
      { " --set controller.image.repository=registry.example/haptic", "" },
      { "--image=registry.k8s.io/e2e-test-images/agnhost:2.53 -- /agnhost netexec --http-port=8080", SERVER },
      { "8080:80", port .. ":80" }, { "localhost:8080", "localhost:" .. port }, { "NAMESPACE", "default" }, { "<namespace>", "default" },
      { "ingress NAME", "ingress lost" }, { "name=NAME", "name=lost" }, { "REVISION", "1" },
      { "> haptic.log", "> " .. cluster.scratch .. "/haptic.log" }, { "> metrics.txt", "> " .. cluster.scratch .. "/metrics.txt" },
      { "new-values.yaml", cluster.scratch .. "/new-values.yaml" },
    }
    if command:find("POD", 1, true) then words[#words + 1] = { "POD", cluster:haproxies()[1] } end
    if command:find("deployment/haptic-controller |", 1, true) then words[#words + 1] = { "deployment/haptic-controller |", cluster:leader() .. " |" } end
    for _, word in ipairs(words) do
      local at, to = command:find(word[1], 1, true)
      if at then command = command:sub(1, at - 1) .. word[2] .. command:sub(to + 1) end
    end
    return command
  end

  local function run(command)
    if command:find("^kubectl port%-forward") then
      forward = posix.spawn({ name = "forward", output = cluster.scratch .. "/forward.log",
        argv = { "bash", "-c", "exec env KUBECONFIG=" .. cluster.kubeconfig .. " " .. command } })
      cluster:wait_for("the port", 20, function()
        return (posix.read_file(cluster.scratch .. "/forward.log") or ""):find("Forwarding from", 1, true)
      end)
      return "", 0
    end
    if command:find("ADDRESS", 1, true) then
      command = command:gsub("ADDRESS", cluster:address()):gsub("^curl ", "curl -s -m 3 ")
      cluster:wait_for("the first route", 60, function() return cluster:inside(command):find("hello") end)
      return cluster:inside(command)
    end
    local output, code = cluster:sh(command:gsub("^curl ", "curl -s -m 3 "))
    -- kubectl sometimes reports a late frame of its connection, beside the command's output.
    output = output:gsub("E%d+ [^\n]*websocket%.go:[^\n]*\n", ""):gsub("%s+$", "")
    return output, code
  end

  --- Runs the commands of a page that have something to say.
  local function follow(page, rows)
    local used = {}
    for _, command in ipairs(manual.commands(page)) do
      if command:find("^kubectl ") or command:find("^helm ") or command:find("^curl ") then
        local row
        for _, r in ipairs(rows) do
          row = row or command:find(r[1]) and r
        end
        assert(row, page .. ": this spec does not know what '" .. command .. "' says")
        used[row] = true
        if row[2] then
          command = filled(command)
          local output, code = run(command)
          assert(code == (row[3] or 0) and output:find(row[2]), ("%s: %s\nends with %d, and says:\n%s"):format(page, command, code, output))
        end
      end
    end
    for _, row in ipairs(rows) do
      assert(used[row], page .. ": no command of it is " .. row[1])
    end
  end

  for _, entry in ipairs(PAGES) do
    it("does what " .. entry[1] .. " says", function()
      if entry[1] == "docs/troubleshooting.md" then
        cluster:run("kubectl create ingress lost --class=haptic --rule='lost.example/*=absent:80'")
        cluster:wait_for("the Event about it", 30, function()
          return cluster:run("kubectl describe ingress lost"):find("ServiceNotFound")
        end)
      elseif entry[1] == "docs/operations/upgrade.md" then
        posix.write_file(cluster.scratch .. "/new-values.yaml", "controller: {config: {templatingSettings: {extraContext: {timeout_server: 90s}}}}\n")
        -- A definition of an older chart: its field is the new one's to change.
        cluster:run("kubectl get crd haproxytemplatelibraries.haproxy-haptic.org -o json --show-managed-fields "
          .. [[| jq '.spec.versions[0].schema.openAPIV3Schema.description = "older"' | kubectl replace --field-manager=helm -f -]])
      end
      follow(entry[1], entry[2])
    end)
  end
end)
