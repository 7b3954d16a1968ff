--- A random author: snippets that are right, wrong and repaired, changing objects, controllers and HAProxies that are
--- killed, in random order. Whatever comes, a route that worked and whose objects are unchanged is answered by its own
--- backend, and the directory on disk loads after each step.
--
-- The seed is printed; AUTHOR_SEED=N runs the same steps again, and chooses the HAProxy unless AUTHOR_HAPROXY does.
-- Without AUTHOR_SECONDS (600: ten minutes) it is short.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local ROUTES = 6
local STEPS = 25
local SECONDS = tonumber(os.getenv("AUTHOR_SECONDS"))
local SEED = tonumber(os.getenv("AUTHOR_SEED")) or math.floor(posix.now() * 1000) % 2147483647
local SERIES = os.getenv("AUTHOR_HAPROXY") or ({ "2.6", "3.0", "3.2", "3.4" })[SEED % 4 + 1]

-- Entries of a map that nobody declares but who looks it up; a file; annotations that reach the configuration.
local BASE = [[
each(resources.ingresses, "marks", function(ing, out)
  local mark = dig(ing, "metadata", "annotations", "spec/mark")
  if mark then out:map_entry("marks.map", ing.spec.rules[1].host, mark) end
end)
extend("backend", 500, function(b, it)
  local notes = dig(it.ingress, "metadata", "annotations") or {}
  if notes["spec/raw"] then b:raw(notes["spec/raw"]) end
  if notes["spec/fail"] then fail("this object asks for it") end
end)]]
local function look_up(map)
  return "http-request set-header X-Mark %[req.hdr(host),map(" .. map .. ",none)]"
end

-- What an author may have among his snippets: name, text, and what it is.
local SNIPPETS = {
  { "backend-600-right", "http-request set-header X-A right" },
  { "backend-610-args", "http-request set-header X-B {{ args.namespace }}" },
  { "frontend-http-450-mark", look_up("maps/marks.map") },
  { "frontend-http-460-path", look_up('{{ path:map("other.map") }}') },
  { "frontend-http-470-list", 'http-request set-header X-L yes if { path_beg -f {{ path:file("list.lst") }} }' },
  { "list.lua", [[
each(resources.services, "list", function(service, out)
  if service.metadata.name == "r1" then out:file("list.lst", "/listed\n") end
end)]] },
  { "backend-500-x", "http-request set-header X-A {{ nobody.name }}", wrong = true },
  { "backend-510-nil", "http-request set-header X-A {{ args.ingress.no.such }}", wrong = true },
  { "backend-520-refused", "no-such-directive on", wrong = true },
  { "global-500-refused", "no-such-directive on", wrong = true },
  { "frontend-http-480-refused", "http-request set-header X-A %[no_such_fetch]", wrong = true },
  { "frontend-http-490-file", "http-request return status 200 content-type text/plain file nowhere/at.all if { path /nowhere }",
    wrong = true },
  { "some.lua", 'each(resources.ingresses, "some", function(ing, out) if ing.metadata.name == "r2" then fail("not r2") end end)',
    wrong = true },
  { "broken.lua", "this is no Lua", wrong = true },
  { "broken-1-x", "{% if %}", wrong = true },
  { "loop.lua", 'each(resources.ingresses, "loop", function(ing) if ing.metadata.name == "r3" then while true do end end end)',
    wrong = true, slow = true },
}

local NOTES = {
  {}, {}, { ["spec/mark"] = "yes" }, { ["spec/raw"] = "http-request set-header X-N yes" },
  { ["spec/raw"] = "no-such-directive" }, { ["spec/fail"] = "yes" },
}

describe("a random author", function()
  local scope, source, haptic, dice, steps

  setup(function()
    e2e.backends()
  end)

  before_each(function()
    scope = e2e.scope("author")
    source = scope:manifests()
    steps = {}
  end)

  after_each(function()
    scope:close()
  end)

  --- A generator of our own: the same numbers on every machine.
  local function dice_of(seed)
    local state = seed % 2147483646 + 1
    return function(n)
      state = state * 16807 % 2147483647
      return state % n + 1
    end
  end

  --- name → {address, notes, worked (the address that was seen since the objects changed last), former (addresses that
  --- may still be seen)}; nil: it was deleted.
  local routes = {}
  local snippets = {}

  local function write_route(name)
    local r = routes[name]
    local service, slice = kube.route(name, name .. ".example", { r.address })
    source:write(name .. ".yaml", service, slice,
      kube.ingress({ name = name, host = name .. ".example", service = name, annotations = r.notes }))
  end

  local function configuration()
    local set = { ["base-of-spec.lua"] = { template = BASE } }
    for i in pairs(snippets) do
      set[SNIPPETS[i][1]] = { template = SNIPPETS[i][2] }
    end
    return e2e.config({
      logging = { level = "INFO" }, templateSnippets = set,
      templatingSettings = { renderTimeout = "1s", renderMemoryBytes = 256 * 1024 * 1024 },
    })
  end

  local function fail_with(message)
    error(("%s\nAUTHOR_SEED=%d, steps:\n%s\nend of the log:\n%s"):format(message, SEED,
      table.concat(steps, "\n", math.max(1, #steps - 25)), e2e.tail(haptic:log(), 40)), 0)
  end

  local function has_slow()
    for i in pairs(snippets) do
      if SNIPPETS[i].slow then return true end
    end
    return false
  end

  --- The directory as it is at this moment.
  local function check_directory()
    if not posix.is_file(haptic.directory .. "/haproxy.cfg") then return end
    haptic:signal("STOP")
    local output, code = haptic.haproxy:check(SERIES)
    haptic:signal("CONT")
    if code ~= 0 then fail_with("the directory does not load:\n" .. output) end
  end

  --- A connection that an old worker had when it was told to end may be closed without an answer (connection_spec's
  --- matter): then another one is answered.
  local function ask(name)
    local status, body = e2e.ask(haptic.http_port, name .. ".example")
    if status == nil then status, body = e2e.ask(haptic.http_port, name .. ".example") end
    return status, body
  end

  --- A new server is added before the old one goes, and both answer in turn until then: is it the only one?
  local function is_alone(name, address)
    for _ = 1, 4 do
      local status, body = ask(name)
      if status ~= 200 or body ~= address .. ":8001" then return false end
    end
    return true
  end

  --- Every route that worked is answered by its own backend, at once or, after a restart, within so many seconds.
  local function check_routes(seconds)
    local deadline = posix.now() + (seconds or 0)
    for name, r in pairs(routes) do
      local status, body
      repeat
        status, body = ask(name)
        local address = status == 200 and body:match("^(.-):8001$")
        if address == r.address then
          r.worked = r.address
          if next(r.former) and is_alone(name, r.address) then r.former = {} end
          break
        end
        -- Its objects have changed since, or it never had any output.
        if (address and r.former[address]) or (not r.worked and next(r.former) == nil) then break end
        posix.sleep(0.05)
      until posix.now() > deadline
      local address = status == 200 and body:match("^(.-):8001$")
      if not (address == r.address or r.former[address or ""] or (not r.worked and next(r.former) == nil)) then
        fail_with(("%s is answered %s %s, not by %s"):format(name, tostring(status), tostring(body):sub(1, 80), r.address))
      end
    end
  end

  local function change(name, fn)
    local r = routes[name]
    if r.worked then r.former[r.worked] = true end
    r.worked = nil
    fn(r)
    write_route(name)
  end

  local function start(former)
    haptic = scope:haptic({
      name = "author" .. #steps, source = source.path, series = SERIES, config = configuration(), directory = former and former.directory,
      http_port = former and former.http_port, status_port = former and former.status_port,
    })
    scope:wait_for("the process to serve", 20, function() return haptic:get("/healthz") end)
  end

  local ACTIONS = {
    { "snippets", 6, function()
      for _ = 1, dice(3) do
        local i = dice(#SNIPPETS)
        snippets[i] = not snippets[i] and true or nil
      end
      posix.write_file(haptic.config_file, http.encode(configuration()))
      local names = {}
      for i in pairs(snippets) do names[#names + 1] = SNIPPETS[i][1] end
      table.sort(names)
      return table.concat(names, " ")
    end },
    { "repair", 2, function()
      for i in pairs(snippets) do
        if SNIPPETS[i].wrong then snippets[i] = nil end
      end
      posix.write_file(haptic.config_file, http.encode(configuration()))
    end },
    { "endpoints", 3, function()
      local name = "r" .. dice(ROUTES)
      if not routes[name] then return "none" end
      change(name, function(r) r.address = "198.18." .. dice(200) .. "." .. dice(200) end)
      return name .. " " .. routes[name].address
    end },
    { "notes", 4, function()
      local name = "r" .. dice(ROUTES)
      if not routes[name] then return "none" end
      local notes = NOTES[dice(#NOTES)]
      change(name, function(r) r.notes = notes end)
      return name .. " " .. http.encode(notes)
    end },
    { "delete or make", 2, function()
      local name = "r" .. dice(ROUTES)
      if routes[name] then
        routes[name] = nil
        os.remove(source.path .. "/" .. name .. ".yaml")
        return name .. " deleted"
      end
      routes[name] = { address = "198.18." .. dice(200) .. "." .. dice(200), notes = {}, former = {} }
      write_route(name)
      return name .. " " .. routes[name].address
    end },
    { "wait", 3, function() posix.sleep(dice(10) / 10) end },
    { "SIGKILL", 3, function()
      local former = haptic
      former:kill()
      start(former)
      return nil, 20
    end },
    { "SIGTERM", 2, function()
      local former = haptic
      former:stop()
      start(former)
      return nil, 20
    end },
    { "HAProxy dies", 2, function()
      local ok, processes = pcall(haptic.haproxy.processes, haptic.haproxy)
      if not ok then return "it is not there" end
      posix.kill(processes.master, "KILL")
      posix.kill(processes.worker, "KILL")
      return nil, 20
    end },
  }

  local function choose()
    local sum = 0
    for _, a in ipairs(ACTIONS) do sum = sum + a[2] end
    local n = dice(sum)
    for _, a in ipairs(ACTIONS) do
      n = n - a[2]
      if n <= 0 then return a end
    end
  end

  it("takes nothing away that worked", function()
    print(("    AUTHOR_SEED=%d, HAProxy %s%s"):format(SEED, SERIES, SECONDS and (", AUTHOR_SECONDS=%d"):format(SECONDS) or ""))
    dice = dice_of(SEED)
    source:write("class.yaml", kube.ingress_class())
    for i = 1, ROUTES do
      routes["r" .. i] = { address = "198.18.0." .. i, notes = {}, former = {} }
      write_route("r" .. i)
    end
    start()
    haptic:wait_ready()
    for i = 1, ROUTES do
      scope:wait_answer(haptic.http_port, ("r%d.example"):format(i), ("198.18.0.%d:8001"):format(i))
    end
    check_routes()
    local begun, count = posix.now(), 0
    while SECONDS and posix.now() - begun < SECONDS or not SECONDS and count < STEPS do
      count = count + 1
      local action = choose()
      steps[count] = ("%4d %s"):format(count, action[1])
      local what, seconds = action[3]()
      steps[count] = steps[count] .. " " .. (what or "")
      check_directory()
      check_routes(seconds)
      if dice(3) == 1 then posix.sleep(0.3) end
      check_directory()
      check_routes()
    end
    -- Repaired, everything is as it is written.
    snippets = {}
    posix.write_file(haptic.config_file, http.encode(configuration()))
    for name, r in pairs(routes) do
      change(name, function(it) it.notes = {} end)
      scope:wait_answer(haptic.http_port, name .. ".example", r.address .. ":8001", has_slow() and 60 or 30)
    end
    check_directory()
    print(("    %d steps in %.0f s"):format(count, posix.now() - begun))
  end)
end)
