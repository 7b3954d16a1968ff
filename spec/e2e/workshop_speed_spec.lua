--- What offline commands take with ten thousand Ingresses, by E2E_FULL=1 on a machine that does nothing else: the figures are
--- printed, and are in docs/operations/performance.md. No time is asserted.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")
local IS_FULL = os.getenv("E2E_FULL") == "1"
local COUNT = IS_FULL and 10000 or 200

if not IS_FULL then
  io.stderr:write("workshop_speed_spec: 200 Ingresses, whose times say nothing; E2E_FULL=1 takes 10000\n")
end

--- Each Ingress with a host, a Service and a slice of three Pods.
local function objects(number)
  local list = { { apiVersion = "networking.k8s.io/v1", kind = "IngressClass", metadata = { name = "haptic" },
    spec = { controller = "haproxy-haptic.org/controller" } } }
  for i = 1, number do
    local name = ("many-%05d"):format(i)
    local endpoints = {}
    for k = 1, 3 do endpoints[k] = { addresses = { ("198.18.%d.%d"):format(i / 250 % 250, (i * 3 + k) % 250 + 1) } } end
    list[#list + 1] = { apiVersion = "v1", kind = "Service", metadata = { name = name, namespace = "default" },
      spec = { ports = { { name = "http", port = 80, targetPort = 8080 } } } }
    list[#list + 1] = { apiVersion = "discovery.k8s.io/v1", kind = "EndpointSlice", addressType = "IPv4",
      metadata = { name = name, namespace = "default", labels = { ["kubernetes.io/service-name"] = name } },
      ports = { { name = "http", port = 8080 } }, endpoints = endpoints }
    list[#list + 1] = { apiVersion = "networking.k8s.io/v1", kind = "Ingress", metadata = { name = name, namespace = "default" },
      spec = { ingressClassName = "haptic", rules = { { host = name .. ".example", http = { paths = { { path = "/", pathType = "Prefix",
        backend = { service = { name = name, port = { name = "http" } } } } } } } } } }
  end
  return list
end

--- A test that has them all, and looks for a word that own.lua writes.
local function tested(number)
  local keys = { IngressClass = "ingressclasses", Service = "services", EndpointSlice = "endpoints", Ingress = "ingresses" }
  local fixtures = {}
  for _, object in ipairs(objects(number)) do
    local key = keys[object.kind]
    fixtures[key] = fixtures[key] or {}
    table.insert(fixtures[key], object)
  end
  return cjson.encode({ templateSnippets = { ["own.lua"] = { file = "own.lua" } }, validationTests = { many = { fixtures = fixtures,
    assertions = { { type = "contains", target = "map:own.map", pattern = "many-00042 good" }, { type = "haproxy_valid" } } } } })
end

describe("ten thousand Ingresses offline", function()
  local dir
  setup(function()
    dir = posix.make_temporary_directory("/tmp/haptic-speed.")
    posix.write_file(dir .. "/all.json", cjson.encode({ apiVersion = "v1", kind = "List", items = objects(COUNT) }))
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  --- Seconds, the best of three; what was printed last.
  local function timed(command)
    local best, output = math.huge, nil
    for _ = 1, IS_FULL and 3 or 1 do
      local began = posix.now()
      local code
      output, code = posix.run({ "sh", "-c", ("cd %s && %s"):format(dir, command) })
      assert.equal(0, code, output)
      best = math.min(best, posix.now() - began)
    end
    return best, output
  end

  it("are rendered, checked, loaded at a prompt and changed there", function()
    local render = timed(BIN .. " render -d out all.json")
    local check = timed("cd out && HAPTIC_DIR=$PWD haproxy -c -f haproxy.cfg")
    local validate, output = timed(BIN .. " validate all.json")
    assert.matches("^valid: ", output)
    local prompt = timed(BIN .. " repl -e 1 all.json")
    local edit = [[edit(resources.ingresses:get("default", "many-00042"), function(o) o.spec.rules[1].host = "%s.example" end)]]
    local changed
    changed, output = timed(("printf '%%s\\n' '%s' '%s' | %s repl all.json"):format(edit:format("a"), edit:format("b"), BIN))
    local verdicts = 0
    for _ in output:gmatch("\nHAProxy %S+: 2 runtime commands, no reload\n") do verdicts = verdicts + 1 end
    assert.equal(2, verdicts, output)
    assert.matches("\n1 of %d+ fragments ran", output)
    print(("%d Ingresses: render %.2f s; haproxy -c %.2f s; validate %.2f s, %.1f times haproxy -c; prompt %.2f s; two edits with "
      .. "verdicts %.2f s more"):format(COUNT, render, check, validate, validate / check, prompt, changed - prompt))
  end)

  --- Starts a command that watches; the function that waits for its verdicts (their number), and gives what it printed.
  local function watching(command)
    os.remove(dir .. "/watched")
    local watcher = posix.spawn({ name = "haptic", argv = { "sh", "-c", ("cd %s && exec %s"):format(dir, command) },
      output = dir .. "/watched" })
    return watcher, function(runs)
      local deadline = posix.now() + 120
      local text
      repeat
        posix.sleep(0.005)
        text = posix.read_file(dir .. "/watched")
      until select(2, text:gsub("waiting for a change", "")) == runs or posix.now() > deadline
      return text
    end
  end

  --- Puts another file in the place of one; what was printed with the verdict about it, and the seconds until then.
  local function saved(name, text, await, runs)
    posix.write_file(dir .. "/saved.new", text)
    local began = posix.now()
    assert(os.rename(dir .. "/saved.new", dir .. "/" .. name))
    return await(runs), posix.now() - began
  end

  it("are validated again after each change of an object or a template", function()
    local list = objects(COUNT)
    local function part(number, word)
      local items = {}
      for i = (number - 1) * 300 + 1, math.min(number * 300, #list) do items[#items + 1] = list[i] end
      items[#items + 1] = { apiVersion = "v1", kind = "Service", metadata = { name = "part-" .. number, namespace = word },
        spec = { ports = { { port = 80 } } } }
      return cjson.encode({ apiVersion = "v1", kind = "List", items = items })
    end
    assert(os.execute("mkdir " .. dir .. "/parts"))
    for number = 1, math.ceil(#list / 300) do posix.write_file(("%s/parts/%d.json"):format(dir, number), part(number, "a")) end
    local template = 'section("global", {}, function(b) b:comment("%s") end)\n'
    posix.write_file(dir .. "/added.lua", template:format("a"))
    posix.write_file(dir .. "/added.json", '{"templateSnippets": {"added.lua": {"file": "added.lua"}}}')
    local watcher, await = watching(BIN .. " validate --watch -c added.json parts")
    finally(function() watcher:stop(10) end)
    assert.matches("valid: %d+ objects", await(1))
    local object, whole, runs = math.huge, math.huge, 1
    for _, word in ipairs({ "b", "c", "d" }) do
      runs = runs + 1
      local text, seconds = saved("parts/1.json", part(1, word), await, runs)
      assert.equal(runs, select(2, text:gsub("valid: ", "")))
      object = math.min(object, seconds)
    end
    for _, word in ipairs({ "b", "c", "d" }) do
      runs = runs + 1
      local text, seconds = saved("added.lua", template:format(word), await, runs)
      assert.equal(runs, select(2, text:gsub("valid: ", "")))
      whole = math.min(whole, seconds)
    end
    print(("%d Ingresses watched: from a saved object to the verdict %.2f s, from a saved template %.2f s"):format(COUNT,
      object, whole))
  end)

  it("are a tenth of that in a test, which runs again for each file that is saved", function()
    local number = COUNT / 10 < 100 and 100 or COUNT / 10
    local function save(word)
      posix.write_file(dir .. "/own.lua.new", ('each(resources.services, "own", function(service, out)\n'
        .. '  out:map_entry("own.map", service.metadata.name, "%s")\nend)\n'):format(word))
      assert(os.rename(dir .. "/own.lua.new", dir .. "/own.lua"))
    end
    save("good")
    posix.write_file(dir .. "/tests.json", tested(number))
    local watcher, wait = watching(BIN .. " test --watch -c tests.json")
    finally(function() watcher:stop(10) end)
    local function await(runs, verdict)
      assert.matches("Tests: " .. verdict .. "[^\n]*\n[^\n]*waiting for a change[^\n]*\n?$", wait(runs))
    end
    await(1, "1 passed, 0 failed")
    local best = math.huge
    for run = 2, 5 do
      local began = posix.now()
      save(run % 2 == 0 and "bad" or "good")
      await(run, run % 2 == 0 and "0 passed, 1 failed" or "1 passed, 0 failed")
      best = math.min(best, posix.now() - began)
    end
    print(("%d Ingresses in a test: from a saved file to the verdict %.2f s"):format(number, best))
  end)
end)
