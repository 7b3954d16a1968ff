--- Every command of the manual: run here, or by the spec that is named, or there is a reason why none runs it.

local manual = require("support.manual")
local posix = require("support.posix")

local ROOT = posix.real_path(".")
local BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")

--- Commands that another spec or check runs. A Lua pattern, the file, and words that stand in it.
local ELSEWHERE = {
  { "^tools/quickstart", "spec/e2e/tour_spec.lua", "tools/quickstart" },
  { "^haptic validate %-%-watch", "spec/e2e/validate_watch_spec.lua", "--watch" },
  { "^haptic snapshot", "spec/e2e/snapshot_spec.lua", "snapshot" },
  { "^haptic doctor", "spec/e2e/snapshot_spec.lua", "doctor" },
  { "^haptic diff %-%-from agent:", "spec/e2e/diff_spec.lua", "--from agent:" },
  { "^curl %-s localhost:19091/debug/fetched", "spec/e2e/fetch_spec.lua", "/debug/fetched" },
  { "^curl %-s 'localhost:19091/debug/route", "spec/e2e/debug_spec.lua", "/debug/route?host=" },
  { "^curl %-s localhost:19091/debug/state", "spec/support/e2e_haptic.lua", "/debug/state" },
  { "^curl %-s localhost:9090/readyz", "spec/e2e/readiness_spec.lua", "/readyz" },
  { "^haptic repl %-%-from", "spec/e2e/debug_spec.lua", "--from" },
  { "^haptic man ", "spec/lua/completion_spec.lua", "man pages" },
  { "^luajit %-l haptic", "spec/e2e/repl_spec.lua", "-l haptic" },
  { "^haptic repl examples/manifests$", "spec/e2e/repl_spec.lua", "docs/repl.md" },
  { "^haptic test %-c walk.yaml", "spec/e2e/repl_spec.lua", "test -c walk.yaml" },
  { "^haptic run %-%-source", "spec/e2e/tour_spec.lua", "tools/quickstart" },
  { "^haptic run %-%-haproxy fleet", "spec/e2e/readiness_spec.lua", "fleet" },
  { "^haptic agent ", "spec/support/e2e_fleet.lua", "--client-ca" },
  { "^HAPTIC_DIR=.*haproxy %-W", "spec/support/e2e_haproxy.lua", "HAPTIC_DIR" },
  { "^kubectl annotate ingress web", "spec/e2e/policy_spec.lua", "admission policies" },
  { "^kubectl port%-forward", "spec/cluster/guide_spec.lua", "port-forward" },
  { "^kubectl create ingress", "spec/cluster/manual_spec.lua", "kubectl create ingress" },
  { "^kubectl create deployment", "spec/cluster/manual_spec.lua", "kubectl create deployment" },
  { "^kubectl expose", "spec/cluster/manual_spec.lua", "kubectl expose" },
  { "^kubectl get service haptic%-haproxy", "spec/cluster/manual_spec.lua", "kubectl get service" },
  { "^curl %-H 'Host: hello%.example'", "spec/cluster/manual_spec.lua", "^curl" },
  { "^kubectl apply %-%-server%-side", "spec/cluster/manual_spec.lua", "kubectl apply" },
  { "^helm history", "spec/cluster/manual_spec.lua", "helm history" },
  { "^kubectl describe ", "spec/cluster/manual_spec.lua", "kubectl describe" },
  { "^kubectl get events", "spec/cluster/manual_spec.lua", "kubectl get events" },
  { "^kubectl get pods", "spec/cluster/manual_spec.lua", "kubectl get pods" },
  { "^kubectl auth can%-i", "spec/cluster/rights_spec.lua", "can-i" },
  { "^kubectl wait", "spec/e2e/config_spec.lua", 'wait_condition("Deployed")'  },
  { "^kubectl get htplcfg", "spec/e2e/config_spec.lua", "htplcfg" },
  { "^helm upgrade", "spec/cluster/upgrade_spec.lua", "upgrade" },
  { "^helm rollback", "spec/cluster/upgrade_spec.lua", "rollback" },
  { "^kubectl rollout status", "spec/cluster/guide_spec.lua", "rollout status" },
  { "^helm install", "spec/support/k8s.lua", "install" },
  { "^helm uninstall", "spec/cluster/forms_spec.lua", "uninstall" },
  { "^kubectl get lease %-n", "spec/cluster/guide_spec.lua", "kubectl get lease" },
  { "^kubectl logs ", "spec/cluster/manual_spec.lua", "kubectl logs" },
  { "^kubectl exec", "spec/cluster/guide_spec.lua", "wget" },
  { "^tools/release ", "tools/check/release", "tools/release" },
  { "^base64 %-d", "tools/check/release", "base64 -d" },
  { "^openssl ", "tools/check/release", "openssl" },
  { "^cosign verify%-blob", "tools/check/release", "openssl" },
  { "^tools/test", ".ci/run", "tools/test" },
}

--- Commands that nothing runs, and why.
local NOT_RUN = {
  { "^tools/bench", "takes minutes on a machine that does nothing else; spec/e2e/members_spec.lua runs its programs" },
  { "^curl http://shop%.localhost:8080/", "asks what tools/quickstart serves, whose own check asks the same" },
  { "^docker ", "needs a registry of the reader's; tools/check/image builds the same image" },
  { "^skopeo copy", "needs a registry of the reader's" },
  { "^cosign attach", "needs a registry of the reader's" },
  { "^kubectl delete ", "removes what the reader's installation has left" },
  { "^cd ", "a place on the reader's machine" },
}

local MY = [[
templateSnippets:
  own.lua:
    template: |
      each(resources.services, "own", function(service, out)
        out:map_entry("own.map", service.metadata.namespace .. "/" .. service.metadata.name, "%s")
      end)
validationTests:
  own:
    fixtures:
      services:
        - {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}
    assertions: [{type: contains, target: "map:own.map", pattern: shop/web %s}]
]]

describe("the manual's commands", function()
  local dir
  setup(function()
    dir = posix.make_temporary_directory("/tmp/haptic-manual.")
    os.execute(([[set -e; cd %s; mkdir -p bin build/release/core; ln -s %s bin/haptic; ln -s %s/examples examples
      for folder in old-manifests new-manifests snap manifests; do cp -r examples/manifests $folder; done
      sed -s '$a---' examples/manifests/*.yaml >all.yaml; ln -s %s build/release/core/haptic]]):format(dir, BIN, ROOT, BIN))
    for name, word in pairs({ my = "old", old = "old", new = "new", config = "old" }) do
      posix.write_file(dir .. "/" .. name .. ".yaml", MY:format(word, word))
    end
    posix.write_file(dir .. "/draft.yaml", [[
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: shop}
spec:
  ingressClassName: haptic
  rules: [{host: a.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
]])
    -- A cluster that has the example's objects, and takes everything.
    posix.write_file(dir .. "/bin/kubectl", "#!/bin/sh\ncase $1 in get) cat all.yaml ;; *) cat >/dev/null ;; esac\n")
    os.execute("chmod 755 " .. dir .. "/bin/kubectl")
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  local run, found, used = {}, 0, {}
  for _, page in ipairs(posix.lines_of("ls README.md docs/*.md docs/*/*.md")) do
    for _, command in ipairs(manual.commands(page)) do
      found = found + 1
      local known = false
      for _, list in ipairs({ ELSEWHERE, NOT_RUN }) do
        for _, row in ipairs(list) do
          if not known and command:find(row[1]) then known, used[row] = true, true end
        end
      end
      if not known then run[#run + 1] = { page = page, command = command } end
    end
  end

  it("are found, and each row of the tables is about one", function()
    assert.is_true(found > 100, found .. " commands")
    local idle = {}
    for _, list in ipairs({ ELSEWHERE, NOT_RUN }) do
      for _, row in ipairs(list) do
        if not used[row] then idle[#idle + 1] = row[1] end
      end
    end
    assert.same({}, idle)
  end)

  it("have specs that do run them", function()
    local wrong = {}
    for _, row in ipairs(ELSEWHERE) do
      local ok, text = pcall(posix.read_file, row[2])
      if not ok or not text:find(row[3], 1, true) then wrong[#wrong + 1] = row[1] .. ": " .. row[2] end
    end
    assert.same({}, wrong)
  end)

  it("run as they stand", function()
    local wrong = {}
    assert.is_true(#run > 25, #run .. " are run here")
    local older = posix.lines_of("tools/testenv haproxy 3.0")[1]
    for _, c in ipairs(run) do
      -- Numbers and places of the reader's machine.
      local command = c.command:gsub("%-%-objects 10000", "--objects 20"):gsub("haptic bench %-c old", "haptic bench --objects 20 -c old")
        :gsub("/opt/haproxy%-3%.0/haproxy", older)
      local output, code = posix.run({ "bash", "-c", ("cd %s && export PATH=%s/bin:$PATH && set -o pipefail && %s")
        :format(dir, dir, command) })
      -- "diff -r old new" has a difference to show.
      if code ~= (command:find("^diff %-r ") and 1 or 0) then
        wrong[#wrong + 1] = ("%s: %s\nends with %d: %s"):format(c.page, c.command, code, output:sub(1, 300))
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)
