--- Who wrote what: the debug pages of a running controller, and the same questions asked of files.

local e2e = require("support.e2e")
local http = require("support.http")
local json = require("cjson")
local kube = require("support.kube")
local posix = require("support.posix")

local SEED = tonumber(os.getenv("DEBUG_SEED")) or math.floor(posix.now() * 1000) % 2147483647
local REQUESTS = 150
local SECRET = "planted-for-the-dump-0001"

describe("the debug pages", function()
  local scope, source, haptic

  setup(function()
    e2e.backends()
    scope = e2e.scope("debug")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
  end)
  teardown(function() scope:close() end)

  --- A page of the controller: its body, its status.
  local function page(path)
    local answer = assert(haptic:get(path))
    return answer.body, answer.status
  end

  local function explain(words)
    return (posix.run({ "sh", "-c", ("%s explain -s %s --haproxy-version 3.2 %s"):format(e2e.program(), source.path, words) }))
  end

  --- The same numbers on every machine.
  local function dice_of(seed)
    local state = seed % 2147483646 + 1
    return function(list)
      state = state * 16807 % 2147483647
      return list[state % #list + 1]
    end
  end

  it("know the way of a request as HAProxy goes it", function()
    print("DEBUG_SEED=" .. SEED)
    local pick = dice_of(SEED)
    local hosts = { "a.test", "b.a.test", "*.a.test", "*.test", "c.test" }
    local paths = { "/", "/x", "/x/", "/x/y", "/X", "/x%2Fy", "/y" }
    local used = {}
    for i = 1, 12 do
      local name, host, path, type = "r" .. i, pick(hosts), pick(paths), pick({ "Prefix", "Exact" })
      if not used[host .. path .. type] then
        used[host .. path .. type] = true
        source:write(name .. ".yaml", kube.service(name), kube.slice(name, { "127.7.0." .. i }),
          kube.ingress({ name = name, host = host, paths = { { path = path, service = name, type = type } } }))
      end
    end
    -- One that is served whatever the dice say: a path with "%2F" is refused, as the API server does it.
    source:write("steady.yaml", kube.service("steady"), kube.slice("steady", { "127.7.1.1" }),
      kube.ingress({ name = "steady", host = "steady.example", service = "steady" }))
    local everybody = kube.ingress({ name = "zz", service = "r1" })
    everybody.spec.rules = nil
    everybody.spec.defaultBackend = { service = { name = "r1", port = { number = 80 } } }
    source:write("zz.yaml", everybody)
    source:write("secret.yaml", { kind = "Secret", apiVersion = "v1", metadata = { name = "s", namespace = "default" },
      stringData = { password = SECRET } })
    haptic = scope:haptic({ source = source.path,
      config = e2e.config({ watchedResources = { secrets = { apiVersion = "v1", resources = "secrets" } } }) })
    haptic:wait_ready()
    local asked = { "a.test", "A.test:80", "b.a.test", "x.a.test", "z.y.test", "c.test.", "d.test" }
    local wanted = { "/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/X", "/x%2fy", "/x%2Fy", "/y?x=/x", "/q" }
    for i = 1, REQUESTS do
      local host, path = pick(asked), pick(wanted)
      local answer = assert(http.request({ port = haptic.http_port, host = host, path = path }))
      local query = ("/debug/route?host=%s&path=%s"):format(host, (path:gsub("%%", "%%25"):gsub("?", "%%3F")))
      local body, status = page(query)
      assert.equal(200, status)
      local route = json.decode(body)
      local server = route.backend ~= json.null and route.backend.servers[1]
      assert.equal(answer.status == 200 and answer.body or "no such route",
        server and ("%s:%d\n"):format(server.address, server.port) or "no such route",
        ("DEBUG_SEED=%d, request %d: %s%s"):format(SEED, i, host, path))
    end
    local route = json.decode((page("/debug/route?host=nobody&path=/q")))
    assert.equal("ingresses default/zz", route.entry.object)
    assert.equal("default-backend.map", route.entry.map)
    assert.equal("default_r1_80", route.backend.name)
    assert.equal("services default/r1", route.backend.writers[1].object)
    assert.equal("ingress.lua", route.backend.writers[1].template)
    assert.equal(400, select(2, page("/debug/route")))
  end)

  it("say who wrote each line and each entry", function()
    local config = page("/debug/config")
    local document = json.decode((page("/debug/config?origin=1")))
    local lines = {}
    for i, line in ipairs(document.lines) do
      assert.equal(i, line.line)
      lines[i] = line.text
    end
    assert.equal(config, table.concat(lines, "\n") .. "\n")
    local found
    for _, line in ipairs(document.lines) do
      if line.section == "backend default_r1_80" and line.text:find("    server ", 1, true) then found = line end
    end
    assert.equal("services default/r1", found.object)
    assert.equal("body", found.piece)
    assert.matches("^ingress.lua:backend/services/default/r1", found.fragment)
    assert.matches("default%-backend.map\n", (page("/debug/maps")))
    assert.equal("* default_r1_80\n", (page("/debug/maps/default-backend.map")):match("%*[^\n]*\n"))
    local map = json.decode((page("/debug/maps/default-backend.map?origin=1")))
    assert.equal("ingresses default/zz", map.entries[1].object)
    for _, path in ipairs({ "/debug/maps/", "/debug/maps/nobody.map", "/debug/maps/..%2fx", "/debug/mapsx", "/debug/config/x" }) do
      assert.equal(404, select(2, page(path)), path)
    end
    assert.matches("/debug/route +%?host=&path=: ", (page("/debug/nothing")))
  end)

  it("lend everything to a prompt elsewhere, which changes nothing", function()
    local state = haptic:state()
    local function repl(...)
      return posix.run({ e2e.program(), "repl", "--from", "http://127.0.0.1:" .. haptic.debug_port, ... })
    end
    local output, code = repl("-e", 'trace("ingress.lua:routes/ingresses/default/steady")', "-e", 'explain("a.test/x")',
      "-e", 'resources.secrets:get("default", "s").data.password',
      "-e", 'edit(resources.ingresses:get("default", "steady"), function(o) o.spec.rules[1].host = "changed.test" end)')
    assert.equal(0, code, output)
    assert.matches("\nmap entry path%-%w+.map [^\n]*\n    default_steady_80    %-%- ingress.lua:%d+\n", "\n" .. output)
    assert.matches("\nhttp://a.test/x\n", output)
    assert.matches("\n<handle of a Secret's value>\n", output)
    assert.matches("\n~ ingress.lua:routes/ingresses/default/steady\n", output)
    assert.equal(state.generation, haptic:state().generation)
    assert.equal(state.hash, haptic:state().hash)
    assert.is_nil((page("/debug/config")):find("changed.test", 1, true))
    local dump = page("/debug/dump")
    assert.is_truthy(dump:find("HapticSecret", 1, true))
    assert.is_nil(dump:find(SECRET, 1, true))
    -- The same bytes come out of what was taken over.
    output, code = repl("--dump")
    assert.equal(0, code, output)
    assert.equal(dump, output)
    for _, wrong in ipairs({ { "-e", ":diff" }, { "examples/manifests" } }) do
      assert.are_not.equal(0, select(2, repl(unpack(wrong))))
    end
    output, code = posix.run({ e2e.program(), "repl", "--from", "http://127.0.0.1:" .. haptic.metrics_port })
    assert.equal(2, code, output)
  end)

  it("are a side of haptic diff: what another configuration would do to what runs", function()
    local file, state = scope:path("next.json"), haptic:state()
    local function diff(changes, ...)
      changes.watchedResources = { secrets = { apiVersion = "v1", resources = "secrets" } }
      posix.write_file(file, json.encode(e2e.config(changes)))
      local words = { e2e.program(), "diff", "--from", "http://127.0.0.1:" .. haptic.debug_port, "-C", file, ... }
      return posix.run({ "sh", "-c", '"$@" 2>&1', "sh", unpack(words) })
    end
    local output, code = diff({}, "--detailed-exitcode")
    assert.equal(0, code, output)
    assert.matches("^HAProxy %S+: nothing to do\n%(Secrets are concealed: [^\n]*%)\n$", output)
    output, code = diff({ templateSnippets = { ["own.lua"] = { template = 'section("frontend http", { name = "own", order = 450 }, function(b)\n'
      .. '  b:line("http-response", "set-header", "X-Own", "yes")\nend)\n' } } }, "--detailed-exitcode", "--fail-on", "reload")
    assert.equal(1, code, output)
    assert.matches("^HAProxy %S+: a reload: frontend http[^\n]* %(own.lua:2%)\n", output)
    assert.matches("\n%+ own.lua", output)
    assert.is_nil(output:find(SECRET, 1, true))
    assert.equal(state.generation, haptic:state().generation)
    output, code = posix.run({ "sh", "-c", e2e.program() .. " diff --from http://127.0.0.1:" .. haptic.debug_port .. " 2>&1" })
    assert.equal(2, code, output)
    assert.matches("compared with what%?", output)
  end)

  it("answer offline, too, with the lines of the templates", function()
    local text = explain("nobody.example/q")
    assert.matches("\n  map entry: maps/default%-backend.map: %* %-> default_r1_80\n    object: ingresses default/zz, template: ingress.lua:%d+\n", text)
    assert.matches("\n  backend: default_r1_80\n    object: services default/r1, template: ingress.lua:%d+\n", text)
    assert.matches("\n  server: haproxy.cfg:%d+: server 127%.7%.0%.1_8001 127%.7%.0%.1:8001\n    object: services default/r1", text)
  end)
end)
