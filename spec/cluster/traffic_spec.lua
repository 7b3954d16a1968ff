--- Continuous requests through the Service while everything behind it is changed: none may fail.

local k8s = require("support.k8s")
local posix = require("support.posix")

if not k8s.wanted() then
  return
end

describe("no request fails", function()
  local cluster

  setup(function()
    cluster = k8s.up()
    cluster:install("--set replicaCount=2")
    cluster:application("web", 2)
    cluster:wait_answer()
  end)
  teardown(function()
    cluster:uninstall()
    cluster:forget("web")
    cluster:forget("green")
    cluster:down()
  end)

  local function under_traffic(change) cluster:under_traffic(change) end
  local function rolled_out(what) cluster:rolled_out(what) end
  local function settled(selector, count) cluster:settled(selector, count) end

  local CONTROLLERS, HAPROXIES = k8s.CONTROLLERS, k8s.HAPROXIES

  it("while the controllers are restarted one after another", function()
    under_traffic(function()
      cluster:run("kubectl rollout restart deployment haptic-controller")
      rolled_out("deployment/haptic-controller")
    end)
  end)

  it("while the leader's pod is deleted, and another takes over", function()
    under_traffic(function()
      local leader = assert(cluster:leader())
      cluster:run("kubectl delete pod --wait=false " .. leader)
      cluster:wait_for("another leader", 90, function()
        return cluster:leader() and cluster:leader() ~= leader
      end)
      -- It deploys: a change goes live.
      cluster:run("kubectl scale deployment web --replicas=3")
      rolled_out("deployment/web")
    end)
    rolled_out("deployment/haptic-controller")
  end)

  it("while the leader is killed as by a crash", function()
    under_traffic(function()
      local leader = assert(cluster:leader())
      cluster:run("kubectl delete pod --grace-period=0 --force " .. leader)
      cluster:wait_for("another leader", 90, function()
        return cluster:leader() and cluster:leader() ~= leader
      end)
    end)
    rolled_out("deployment/haptic-controller")
  end)

  it("while the pods of HAProxy are replaced", function()
    under_traffic(function()
      cluster:run("kubectl rollout restart deployment haptic-haproxy")
      rolled_out("deployment/haptic-haproxy")
      settled(HAPROXIES, 2)
    end)
  end)

  it("while there are one, five and two pods of HAProxy", function()
    under_traffic(function()
      for _, count in ipairs({ 1, 5, 2 }) do
        cluster:run("kubectl scale deployment haptic-haproxy --replicas=" .. count)
        rolled_out("deployment/haptic-haproxy")
        settled(HAPROXIES, count)
      end
    end)
  end)

  it("while the application is scaled, restarted, and loses a pod", function()
    under_traffic(function()
      for _, count in ipairs({ 5, 1, 3 }) do
        cluster:run("kubectl scale deployment web --replicas=" .. count)
        rolled_out("deployment/web")
        settled("app=web", count)
      end
      cluster:run("kubectl rollout restart deployment web")
      rolled_out("deployment/web")
      cluster:run("kubectl delete pod --wait=false " .. cluster:pods("app=web")[1])
      rolled_out("deployment/web")
      settled("app=web", 3)
    end)
  end)

  --- Waits until the application answers with this word in front of its pods' names, and no longer with the other.
  local function answered_by(name)
    local since
    cluster:wait_for("answers of " .. name .. " alone", 60, function()
      local _, body = cluster:ask()
      local is = body and body:find("^" .. name .. "%-") ~= nil
      since = is and (since or posix.now()) or nil
      return since and posix.now() - since > 1, body
    end)
  end

  it("while its Service is switched between two Deployments, and the other one is deleted at once", function()
    cluster:application("green", 2)
    local function switch(name)
      cluster:run(([[kubectl patch service web -p '{"spec":{"selector":{"app":"%s"}}}']]):format(name))
    end
    under_traffic(function()
      for _ = 1, 3 do
        switch("green")
        switch("web")
      end
      switch("green")
      cluster:run("kubectl delete deployment web --wait=false")
      answered_by("green")
      settled("app=web", 0)
      cluster:application_parts("web", 2, { "ConfigMap", "Deployment" })
      switch("web")
      cluster:run("kubectl delete deployment green --wait=false")
      answered_by("web")
      settled("app=green", 0)
    end)
    cluster:forget("green")
  end)

  it("while its Ingress is switched between two Services, and the pods of the other one are deleted at once", function()
    cluster:application("green", 2)
    local function switch(name)
      cluster:run(([[kubectl patch ingress web --type=json -p '[{"op":"replace",
        "path":"/spec/rules/0/http/paths/0/backend/service/name","value":"%s"}]']]):format(name))
    end
    under_traffic(function()
      for _ = 1, 3 do
        switch("green")
        switch("web")
      end
      switch("green")
      cluster:run("kubectl delete deployment web --wait=false")
      answered_by("green")
      settled("app=web", 0)
      -- The Service that nothing names any more goes, too, and comes back.
      cluster:run("kubectl delete service web")
      cluster:application_parts("web", 2, { "ConfigMap", "Deployment", "Service" })
      switch("web")
      cluster:run("kubectl delete deployment green --wait=false")
      answered_by("web")
      settled("app=green", 0)
    end)
    cluster:forget("green")
  end)

  local function header()
    local output = cluster:inside(("curl -s -m 3 -o /dev/null -D - -H 'Host: web.example' http://%s/"):format(cluster:address()))
    return output:match("[Xx]%-[Hh]ello: (%w+)")
  end

  --- `helm upgrade` with a template of one's own that adds a header.
  local function upgrade(code)
    local path = cluster.scratch .. "/template-values.yaml"
    posix.write_file(path, [[
controller:
  config:
    templateSnippets:
      hello.lua:
        template: |
          section("frontend http", { name = "hello", order = 450 }, function(b)
            ]] .. code .. [[

          end)
]])
    cluster:run("helm upgrade haproxy-ic charts/haptic --reuse-values -f " .. path)
  end

  it("while templates are changed, broken, and rolled back by helm", function()
    under_traffic(function()
      local before = cluster:controllers()
      upgrade([[b:line("http-response", "set-header", "X-Hello", "one")]])
      cluster:wait_for("the header", 150, function() return header() == "one" end)
      -- One that does not load, and one that HAProxy refuses.
      for _, code in ipairs({ "b:line(", [[b:line("http-response", "no-such-action")]] }) do
        upgrade(code)
        cluster:wait_for("a word in the leader's log", 150, function()
          local log = cluster:run("kubectl logs " .. assert(cluster:leader()))
          return log:find("hello.lua", 1, true) and log:find("level=ERROR", 1, true)
        end)
        assert.equal("one", header())
      end
      cluster:run("helm rollback haproxy-ic 2")
      cluster:wait_for("the configuration of before", 150, function()
        return cluster:metric(assert(cluster:leader()), "haptic_config_in_force") == 1
      end)
      assert.equal("one", header())
      -- The running pods did all of it.
      assert.same(before, cluster:controllers())
    end)
    settled(CONTROLLERS, 2)
  end)
end)
