--- Which change goes live without a reload, by version of HAProxy. docs/reloads.md is written by this spec: it fails when
--- the page says something else, and UPDATE=1 writes the page anew.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")
local World = require("support.reload_world")

local SERIES = { "2.6", "3.0", "3.2", "3.4" }
local PAGE = "docs/reloads.md"

local function address(i, k) return ("198.18.%d.%d"):format(i, k) end

--- Each change has a namespace of its own, since reloads of one namespace keep a growing distance. `i` numbers it.
--- before: what is there at the start; make: the change; live: how a client sees it.
local CHANGES = {}

local function change(group, text, fns)
  fns.group, fns.text, fns.number = group, text, #CHANGES + 1
  fns.namespace = "change-" .. fns.number
  CHANGES[fns.number] = fns
end

-- endpoints -------------------------------------------------------------------------------------------------

change("Endpoints", "an endpoint is added", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:slice(c, "web", { address(c.number, 1), address(c.number, 2) }) end,
  live = function(w, c) w:answers(c, { address(c.number, 1), address(c.number, 2) }) end,
})
change("Endpoints", "an endpoint is removed", {
  before = function(w, c) w:route(c, { address(c.number, 1), address(c.number, 2) }) end,
  make = function(w, c) w:slice(c, "web", { address(c.number, 2) }) end,
  live = function(w, c) w:answers(c, { address(c.number, 2) }) end,
})
change("Endpoints", "an endpoint is replaced by another one", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:slice(c, "web", { address(c.number, 2) }) end,
  live = function(w, c) w:answers(c, { address(c.number, 2) }) end,
})
change("Endpoints", "an endpoint terminates and drains", {
  before = function(w, c) w:route(c, { address(c.number, 1), address(c.number, 2) }) end,
  make = function(w, c)
    w:slice(c, "web", { { address(c.number, 1), false, true, true }, address(c.number, 2) })
  end,
  live = function(w, c) w:answers(c, { address(c.number, 2) }) end,
})
change("Endpoints", "the last endpoint goes", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:slice(c, "web", {}) end,
  live = function(w, c) w:status(c, 503) end,
})
change("Endpoints", "the first endpoint of a Service comes", {
  before = function(w, c) w:route(c, {}) end,
  make = function(w, c) w:slice(c, "web", { address(c.number, 1) }) end,
  live = function(w, c) w:answers(c, { address(c.number, 1) }) end,
})
change("Endpoints", "the endpoints get another port", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:slice(c, "web", { address(c.number, 1) }, 8002) end,
  live = function(w, c) w:answers(c, { address(c.number, 1) }, nil, 8002) end,
})
change("Endpoints", "a template gives a server another weight", {
  before = function(w, c)
    w:route(c)
    w:service(c, "weighted", nil, { weight = "10" })
  end,
  make = function(w, c) w:service(c, "weighted", nil, { weight = "20" }) end,
  live = function(w, c)
    w.scope:wait_for("the weight", 20, function()
      local server = w.haptic.haproxy:servers(c.namespace .. "_weighted").s1
      return server and server.weight == 20, tostring(server and server.weight)
    end)
  end,
})
change("Endpoints", "a Service gets hundred endpoints", {
  before = function(w, c) w:route(c) end,
  make = function(w, c)
    local list = {}
    for k = 1, 100 do list[k] = address(c.number, k) end
    w:slice(c, "web", list)
  end,
  live = function(w, c)
    w.scope:wait_for("hundred servers", 20, function()
      local count = 0
      for _ in pairs(w.haptic.haproxy:servers(c.namespace .. "_web_80")) do count = count + 1 end
      return count == 100, count
    end)
  end,
})

-- routes ----------------------------------------------------------------------------------------------------

change("Routes", "a path to a Service that has a route already", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:ingress(c, { name = "more", host = "more." .. c.namespace .. ".example" }) end,
  live = function(w, c) w:answers(c, { address(c.number, 1) }, nil, nil, "more." .. c.namespace .. ".example") end,
})
change("Routes", "a path to a Service without a route: a new backend", {
  make = function(w, c) w:route(c) end,
  live = function(w, c) w:answers(c, { address(c.number, 1) }) end,
})
change("Routes", "a path is led to another Service that has a backend", {
  before = function(w, c)
    w:route(c)
    w:service(c, "other")
    w:slice(c, "other", { address(c.number, 9) })
    w:ingress(c, { name = "other", host = "other." .. c.namespace .. ".example", service = "other" })
  end,
  make = function(w, c) w:ingress(c, { service = "other" }) end,
  live = function(w, c) w:answers(c, { address(c.number, 9) }) end,
})
change("Routes", "another host, another path or another pathType", {
  before = function(w, c) w:route(c) end,
  make = function(w, c)
    w:ingress(c, { host = "new." .. c.namespace .. ".example",
      paths = { { path = "/only", type = "Exact", service = "web" } } })
  end,
  live = function(w, c)
    w:answers(c, { address(c.number, 1) }, "/only", nil, "new." .. c.namespace .. ".example")
    w:status(c, 404)
  end,
})
change("Routes", "an Ingress is deleted", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:remove(c, "ingress-web") end,
  live = function(w, c) w:status(c, 404) end,
})
change("Routes", "a Service is deleted", {
  before = function(w, c) w:route(c) end,
  make = function(w, c)
    w:remove(c, "service-web")
    w:remove(c, "slice-web")
  end,
  live = function(w, c) w:status(c, 503) end,
})
change("Routes", "a Service gets another `externalName`", {
  before = function(w, c)
    w:service(c, "web", { type = "ExternalName", externalName = "one.external.example" })
    w:ingress(c, {})
  end,
  make = function(w, c) w:service(c, "web", { type = "ExternalName", externalName = "two.external.example" }) end,
  live = function(w)
    w.scope:wait_for("the name", 20, function()
      return assert(w.haptic.haproxy:ask("show servers state")):find("two.external.example", 1, true) ~= nil
    end)
  end,
})
change("Routes", "a `defaultBackend`", {
  before = function(w, c) w:route(c) end,
  make = function(w, c) w:ingress(c, { default = true }) end,
  live = function(w, c) w:answers(c, { address(c.number, 1) }, nil, nil, "nobody-else.example") end,
})

-- TLS -------------------------------------------------------------------------------------------------------

local function tls(c) return { { hosts = { c.namespace .. ".example" }, secretName = "web" } } end

local function with_tls(w, c, options)
  c.certificate = w.scope:certificate({ names = { c.namespace .. ".example", "more." .. c.namespace .. ".example" } })
  w:route(c)
  w:secret(c, "web", c.certificate)
  options = options or {}
  options.tls = options.tls or tls(c)
  w:ingress(c, options)
end

change("TLS", "a certificate and its host names", {
  before = function(w, c) w:route(c) end,
  make = with_tls,
  live = function(w, c) w.scope:wait_peer(w.haptic.https_port, c.namespace .. ".example", c.certificate) end,
})
change("TLS", "a certificate is renewed", {
  before = with_tls,
  make = function(w, c)
    c.certificate = w.scope:certificate({ names = { c.namespace .. ".example" } })
    w:secret(c, "web", c.certificate)
  end,
  live = function(w, c) w.scope:wait_peer(w.haptic.https_port, c.namespace .. ".example", c.certificate) end,
})
change("TLS", "one more name for a certificate", {
  before = with_tls,
  make = function(w, c)
    local list = tls(c)
    list[1].hosts[2] = "more." .. c.namespace .. ".example"
    w:ingress(c, { tls = list })
  end,
  live = function(w, c) w.scope:wait_peer(w.haptic.https_port, "more." .. c.namespace .. ".example", c.certificate) end,
})
change("TLS", "a certificate and its host names go", {
  before = with_tls,
  make = function(w, c)
    w:ingress(c, {})
    w:remove(c, "secret-web")
  end,
  live = function(w, c)
    w.scope:wait_for(c.text, 20, function()
      local seen = e2e.peer(w.haptic.https_port, c.namespace .. ".example")
      return seen and seen ~= c.certificate.fingerprint
    end)
  end,
})
local function wait_client(w, c, status)
  w.scope:wait_for(c.text, 20, function()
    local answer, reason = e2e.https({ port = w.haptic.https_port, host = c.namespace .. ".example", args = { "--cert",
      c.client.directory .. "/cert.pem", "--key", c.client.directory .. "/key.pem" } })
    return answer and answer.status == status, answer and answer.status or reason
  end)
end

change("TLS", "an Ingress asks its clients for certificates", {
  before = function(w, c)
    c.ca = w.scope:certificate({ names = { "authority" }, key = "authority" })
    w:authority(c, "ca", c.ca)
    with_tls(w, c)
  end,
  make = function(w, c) w:ingress(c, { tls = tls(c), annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } }) end,
  live = function(w, c)
    w.scope:wait_for(c.text, 20, function()
      local answer = e2e.https({ port = w.haptic.https_port, host = c.namespace .. ".example" })
      return answer and answer.status == 496
    end)
  end,
})
change("TLS", "the authorities of its clients are renewed", {
  before = function(w, c)
    c.ca = w.scope:certificate({ names = { "authority" }, key = "authority" })
    w:authority(c, "ca", c.ca)
    with_tls(w, c, { annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } })
  end,
  make = function(w, c)
    c.ca = w.scope:certificate({ names = { "another authority" }, key = "authority" })
    c.client = w.scope:certificate({ names = { "client" }, issuer = c.ca })
    w:authority(c, "ca", c.ca)
  end,
  live = function(w, c) wait_client(w, c, 200) end,
})

change("TLS", "the authorities of its clients get a list of revoked certificates", {
  before = function(w, c)
    c.ca = w.scope:certificate({ names = { "authority" }, key = "authority" })
    c.client = w.scope:certificate({ names = { "client" }, issuer = c.ca })
    w:authority(c, "ca", c.ca)
    with_tls(w, c, { annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } })
  end,
  make = function(w, c) w:authority(c, "ca", c.ca, w.scope:revocations(c.ca, { c.client })) end,
  live = function(w, c) wait_client(w, c, 495) end,
})
change("TLS", "a list of revoked certificates is renewed", {
  before = function(w, c)
    c.ca = w.scope:certificate({ names = { "authority" }, key = "authority" })
    c.client = w.scope:certificate({ names = { "client" }, issuer = c.ca })
    w:authority(c, "ca", c.ca, w.scope:revocations(c.ca, {}))
    with_tls(w, c, { annotations = { ["haproxy-haptic.org/client-ca"] = "ca" } })
  end,
  make = function(w, c) w:authority(c, "ca", c.ca, w.scope:revocations(c.ca, { c.client })) end,
  live = function(w, c) wait_client(w, c, 495) end,
})

--- A Service whose server has a certificate of an authority; with: annotations beside server-ca.
local function with_tls_server(w, c, authority, with)
  c.ca = w.scope:certificate({ names = { "authority" }, key = "authority" })
  c.port = e2e.port()
  w.scope:tls_server({ port = c.port, certificate = w.scope:certificate({ names = { "server" }, issuer = c.ca }) })
  w:authority(c, "ca", authority or c.ca)
  w:service(c, "web")
  w:slice(c, "web", { address(c.number, 1) }, c.port)
  c.annotations = { ["haproxy.org/server-ca"] = "ca" }
  for k, v in pairs(with or {}) do c.annotations[k] = v end
end
local function a_stranger(w) return w.scope:certificate({ names = { "a stranger" }, key = "authority" }) end

change("TLS", "a new backend verifies its servers", {
  before = function(w, c) with_tls_server(w, c) end,
  make = function(w, c) w:ingress(c, { annotations = c.annotations }) end,
  live = function(w, c) w:status(c, 200) end,
})
change("TLS", "the authorities that verify servers are renewed", {
  before = function(w, c)
    with_tls_server(w, c, a_stranger(w))
    w:ingress(c, { annotations = c.annotations })
  end,
  make = function(w, c) w:authority(c, "ca", c.ca) end,
  live = function(w, c) w:status(c, 200) end,
})
change("TLS", "the same for servers that are shown a certificate", {
  before = function(w, c)
    with_tls_server(w, c, a_stranger(w), { ["haproxy.org/server-crt"] = "own" })
    w:secret(c, "own", w.scope:certificate({ names = { "client" } }))
    w:ingress(c, { annotations = c.annotations })
  end,
  make = function(w, c) w:authority(c, "ca", c.ca) end,
  live = function(w, c) w:status(c, 200) end,
})

-- the administrator's own -----------------------------------------------------------------------------------

local MAP = [[
each(resources.services, "own-entries", function(service, out)
  local value = dig(service, "metadata", "labels", "own")
  if value then out:map_entry("own.map", service.metadata.namespace, value) end
end)
fragment("own-map", function(out) out:map("own.map") end)
each(resources.services, "own-weights", function(service, out)
  local weight = dig(service, "metadata", "labels", "weight")
  if weight then
    out:backend(service.metadata.namespace .. "_weighted", function(b)
      b:line("balance", "roundrobin")
      b:server({ name = "s1", address = "198.18.0.1", port = 8001, weight = tonumber(weight) })
    end)
  end
end)
section("frontend http", { name = "own-rule", order = 500 }, function(b)
  b:line("http-response", "set-header", "X-Own", "%[str(change-OWN),map_str(" .. path:map("own.map") .. ",none)]")
end)
]]

change("Templates and settings", "an entry of a template's own map", {
  before = function(w, c) w:route(c) end,
  make = function(w, c)
    local service = kube.service("web", c.namespace)
    service.metadata.labels = { own = "yes" }
    w:put(c, "service-web", service)
  end,
  live = function(w)
    w.scope:wait_for("the entry", 20, function()
      return http.request({ port = w.haptic.http_port, host = "change-1.example", path = "/" }).headers["x-own"] == "yes"
    end)
  end,
})
change("Templates and settings", "a template that adds a rule to a frontend", {
  make = function(w)
    w:configure(function(config)
      config.templateSnippets["frontend-http-500-rule"] = { template = "http-response set-header X-Rule yes" }
    end)
  end,
  live = function(w)
    w.scope:wait_for("the rule", 20, function()
      return http.request({ port = w.haptic.http_port, host = "change-1.example", path = "/" }).headers["x-rule"] == "yes"
    end)
  end,
})
change("Templates and settings", "a setting of all backends, such as `timeout_server`", {
  make = function(w)
    w:configure(function(config) config.templatingSettings.extraContext.timeout_server = "77s" end)
  end,
  live = function(w)
    w.scope:wait_for("the setting", 20, function()
      return (posix.read_file(w.haptic.directory .. "/haproxy.cfg") or ""):find("timeout server 77s", 1, true) ~= nil
    end)
  end,
})

-- ---- the runs ----

local function reasons(haptic)
  local list = {}
  for reason in haptic:log():gmatch('msg="Deployed with a reload" reason="([^"]*)"') do list[#list + 1] = reason end
  return list
end

--- Is everything live, and each reload that HAProxy has begun in the log?
local function is_quiet(w)
  local asked, processes = pcall(w.haptic.haproxy.processes, w.haptic.haproxy)
  if not asked then return false end
  local state, begun = w.haptic:state(), processes.reloads
  w.untold = w.untold or begun - state.haproxy.reloads
  return state.live and state.pending == 0 and state.problem == "" and state.haproxy.reloads == #reasons(w.haptic)
    and begun == w.untold + state.haproxy.reloads and w.haptic:metric("haptic_reload_wait_seconds") == 0
end

--- Waits until it is quiet and stays so: what a check in the background asks for comes a little later.
local function wait_quiet(w, what)
  local since
  w.scope:wait_for(what .. ": the end of it", 30, function()
    if not is_quiet(w) then since = nil return false, w.haptic:get("/debug/state").body:sub(1, 400) end
    since = since or posix.now()
    return posix.now() - since > 0.25
  end)
end

--- A reason as the page has it: without the names of this spec.
local function plain(reason)
  return (reason:gsub("change%-%d+", "…"):gsub("%d+%.%d+%.%d+%.%d+", "…"))
end

local function page(results)
  local out = {
    "# What goes live without a reload", "",
    "A reload starts a new HAProxy process and lets the old one finish its connections. It costs memory and a check of the",
    "whole configuration, and it forgets counters. Most changes need none.", "",
    "`spec/e2e/reloads_spec.lua` makes each of these changes in a running HAProxy of each version, waits until clients see",
    "it, counts the reloads, and writes this table. – means: no reload. All settings have their defaults.", "",
    "One change at a time: when thousands of backends are new at once (5 000 beside 10 000, 500 beside 100 000), HAProxy",
    "starts anew faster than it takes them one by one, and there is a reload.", "",
  }
  local group
  local notes, numbers = {}, {}
  local function note(reason)
    if not numbers[reason] then
      notes[#notes + 1] = reason
      numbers[reason] = #notes
    end
    return numbers[reason]
  end
  for _, c in ipairs(CHANGES) do
    if c.group ~= group then
      group = c.group
      out[#out + 1] = "| " .. group .. " | " .. table.concat(SERIES, " | ") .. " |"
      out[#out + 1] = "| --- |" .. (" --- |"):rep(#SERIES)
    end
    local cells = {}
    for k, series in ipairs(SERIES) do
      local r = results[series][c.number]
      local seen, list = {}, {}
      for _, reason in ipairs(r) do
        local n = note(reason)
        if not seen[n] then
          seen[n] = true
          list[#list + 1] = n
        end
      end
      table.sort(list)
      cells[k] = #r == 0 and "–" or "reload (" .. table.concat(list, ", ") .. ")"
    end
    out[#out + 1] = "| " .. c.text .. " | " .. table.concat(cells, " | ") .. " |"
    local next_one = CHANGES[c.number + 1]
    if not next_one or next_one.group ~= group then out[#out + 1] = "" end
  end
  out[#out + 1] = "The reasons, in the words of the log (`Deployed with a reload`):"
  out[#out + 1] = ""
  for i, reason in ipairs(notes) do out[#out + 1] = i .. ". " .. reason end
  return table.concat(out, "\n") .. "\n"
end

describe("a change", function()
  local results, scope = {}, nil

  setup(function() e2e.backends() end)
  before_each(function() scope = e2e.scope("reloads") end)
  after_each(function() scope:close() end)

  local function start(series)
    local w = setmetatable({ scope = scope, source = scope:manifests() }, World)
    local own
    for _, c in ipairs(CHANGES) do
      if c.before then c.before(w, c) end
      if c.text:find("own map", 1, true) then own = c.number end
    end
    w.source:write("class.json", kube.ingress_class())
    w.config = e2e.config({
      watchedResources = {
        secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
      },
      templatingSettings = { extraContext = { ssl_redirect = false } },
      templateSnippets = { ["own.lua"] = { template = (MAP:gsub("OWN", tostring(own))) } },
    })
    w.haptic = scope:haptic({ source = w.source.path, series = series, https = true, config = w.config })
    w.haptic:wait_ready()
    wait_quiet(w, "the start")
    return w
  end

  --- What stands in one list only.
  local function difference(running, fresh, what)
    local count, only = {}, {}
    for _, line in ipairs(running) do count[line] = (count[line] or 0) + 1 end
    for _, line in ipairs(fresh) do count[line] = (count[line] or 0) - 1 end
    for line, n in pairs(count) do
      if n ~= 0 then only[#only + 1] = ("%s, %s: %s"):format(what, n > 0 and "running only" or "fresh only", line) end
    end
    table.sort(only)
    return table.concat(only, "\n")
  end

  --- After any history, HAProxy holds what an HAProxy holds that starts from the directory.
  local function assert_as_fresh(w, series)
    local running
    scope:wait_for("the running HAProxy to hold what a fresh one does", 90, function()
      local fresh = scope:fresh_state(w.haptic.directory, series)
      running = e2e.runtime_state(w.haptic.haproxy)
      local only = {}
      for _, what in ipairs({ "servers", "map_entries", "certificates", "crt_lists" }) do
        only[#only + 1] = difference(running[what], fresh[what], what)
      end
      local text = table.concat(only, "\n"):gsub("\n+", "\n"):gsub("^\n", "")
      if text:find("%S") then posix.sleep(2) end
      return not text:find("%S"), text
    end)
    assert.is_true(#running.servers > 0 and #running.map_entries > 5 and #running.certificates > 0 and #running.crt_lists > 0)
  end

  for _, series in ipairs(SERIES) do
    it("is live with or without a reload, as the page says, on " .. series, function()
      local w = start(series)
      local list = {}
      for _, c in ipairs(CHANGES) do
        local before = #reasons(w.haptic)
        c.make(w, c)
        c.live(w, c)
        wait_quiet(w, c.text)
        local all, found = reasons(w.haptic), {}
        for i = before + 1, #all do found[#found + 1] = plain(all[i]) end
        list[c.number] = found
      end
      results[series] = list
      assert_as_fresh(w, series)
      assert.equal(0, w.haptic:count_log("level=ERROR"))
    end)
  end

  --- One random change: endpoints, an Ingress, or a certificate of one of the namespaces.
  local function make_random_change(w, random, certificates)
    local c = CHANGES[random(#CHANGES)]
    local kind = random(8)
    if kind <= 4 then
      local list = {}
      for k = 1, 9 do
        if random(3) == 1 then
          local ready = random(4) > 1
          list[#list + 1] = { address(c.number, k), ready, true, not ready and random(2) == 1 }
        end
      end
      w:service(c, "web")
      w:slice(c, "web", list)
      return c.namespace .. ": " .. #list .. " endpoints"
    elseif kind == 5 then
      w:remove(c, "ingress-web")
      return c.namespace .. ": no Ingress"
    elseif kind == 6 then
      w:secret(c, "web", certificates[random(#certificates)])
      return c.namespace .. ": a certificate"
    end
    local paths = {}
    for k = 1, random(3) do
      paths[k] = { path = "/" .. random(5), type = random(2) == 1 and "Exact" or "Prefix", service = "web" }
    end
    w:ingress(c, { tls = random(2) == 1 and tls(c) or nil, paths = paths, default = random(6) == 1 })
    return c.namespace .. ": an Ingress with " .. #paths .. " paths"
  end

  for _, series in ipairs(SERIES) do
    it("after many others leaves what a fresh start gives, on " .. series, function()
      local seed = tonumber(os.getenv("SEED")) or os.time()
      local state, done = seed % 2147483647, {}
      local function random(n) -- the same everywhere
        state = (state * 48271 + 11) % 2147483647
        return state % n + 1
      end
      local w = start(series)
      local certificates = {}
      for i = 1, 3 do
        local names = {}
        for k, c in ipairs(CHANGES) do names[k] = c.namespace .. ".example" end
        certificates[i] = scope:certificate({ names = names })
      end
      for _ = 1, e2e.is_full and 20 or 2 do
        for i = 1, 25 do
          done[#done + 1] = make_random_change(w, random, certificates)
          posix.sleep(random(3) == 1 and 0.1 or i % 2 * 0.01)
        end
        local ok, reason = pcall(function()
          wait_quiet(w, "random changes")
          assert_as_fresh(w, series)
        end)
        if not ok then
          error(("SEED=%d, after:\n%s\n%s"):format(seed, table.concat(done, "\n"), type(reason) == "table"
            and http.encode(reason) or tostring(reason)), 0)
        end
      end
      assert.equal(0, w.haptic:count_log("level=ERROR"))
    end)
  end

  it("is on the page " .. PAGE, function()
    for _, series in ipairs(SERIES) do assert.truthy(results[series], series .. " did not come to its end") end
    local text = page(results)
    if os.getenv("UPDATE") == "1" then
      posix.write_file(PAGE, text)
      return
    end
    assert.equal(text, posix.read_file(PAGE))
  end)
end)
