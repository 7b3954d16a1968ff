--- haptic validate --watch: whatever was there before, its verdict on the files is that of a new `haptic validate`.

local posix = require("support.posix")

local BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")

local CONFIG = [[
watchedResources:
  configmaps: {apiVersion: v1, resources: configmaps}
templateSnippets:
  own.lua: {file: own.lua}
]]

--- A ConfigMap's directive is written into a backend, so HAProxy may refuse it; "fail" is refused by the template, and
--- "warn" is warned of.
local OWN = [[
each(resources.configmaps, "own", function(map, out)
  local word = map.data and map.data.word
  if not word then return end
  if word == "fail" then fail("no such word") end
  if word == "warn" then
    out:warn("Doubtful", "this word is doubtful")
    word = "first"
  end
  out:map_entry("own.map", map.metadata.name, word)
  out:backend("own_" .. map.metadata.name, function(b) b:line("balance", word) end)
end)
]]

local function map(name, word)
  return ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {word: %s}\n"):format(name, word)
end

describe("haptic validate --watch", function()
  local dir, watcher

  before_each(function()
    dir = posix.make_temporary_directory("/tmp/haptic-validate.")
    assert(os.execute("mkdir " .. dir .. "/objects"))
  end)
  after_each(function()
    if watcher then watcher:stop(10) end
    watcher = nil
    os.execute("rm -rf " .. dir)
  end)

  --- As editors do: another file takes the place of the former one.
  local function save(name, text)
    posix.write_file(dir .. "/saved.new", text)
    assert(os.rename(dir .. "/saved.new", dir .. "/" .. name))
  end

  local function watch(arguments)
    watcher = posix.spawn({ name = "haptic", argv = { "sh", "-c",
      ("cd %s && exec %s validate --watch %s >verdicts 2>says"):format(dir, BIN, arguments) }, output = dir .. "/nothing" })
  end

  local function count(file, text)
    return posix.is_file(dir .. "/" .. file) and select(2, posix.read_file(dir .. "/" .. file):gsub(text, "")) or 0
  end

  --- The output since `from`, when the command waits for a change again. It may have seen half of a change first, so
  --- the expected text is awaited, too.
  local function verdict(waits, from, expected)
    local deadline = posix.now() + 60
    local text, is_there
    repeat
      posix.sleep(0.01)
      text = posix.is_file(dir .. "/verdicts") and posix.read_file(dir .. "/verdicts"):sub(from + 1) or ""
      is_there = count("says", "waiting for a change") > waits and text:sub(-#expected) == expected
    until is_there or posix.now() > deadline
    return is_there and expected or text
  end

  --- Makes a change, and compares.
  local function check(arguments, change, pattern)
    local waits = count("says", "waiting for a change")
    local from = posix.is_file(dir .. "/verdicts") and #posix.read_file(dir .. "/verdicts") or 0
    change()
    local expected = posix.run({ "sh", "-c", ("cd %s && %s validate %s 2>&1"):format(dir, BIN, arguments) })
    assert.matches(pattern, expected)
    assert.equal(expected, verdict(waits, from, expected))
  end

  it("says what a new command says, after right and wrong changes of objects, templates and configuration", function()
    local arguments = "-c config.yaml objects"
    save("config.yaml", CONFIG)
    save("own.lua", OWN)
    save("objects/a.yaml", map("a", "source"))
    save("objects/b.yaml", map("b", "first"))
    local function step(name, text, pattern)
      check(arguments, function() if text then save(name, text) else os.remove(dir .. "/" .. name) end end, pattern)
    end
    check(arguments, function() watch(arguments) end, "^valid: 2 objects")
    step("objects/a.yaml", map("a", "leastconn"), "^valid: 2 objects")
    step("objects/c.yaml", map("c", "source"), "^valid: 3 objects")
    step("objects/b.yaml", map("b", "bogus"), "error HT0301")
    step("objects/b.yaml", map("b", "fail"), "error HT0202")
    step("objects/c.yaml", map("c", "bogus"), "error HT0")
    step("objects/c.yaml", map("c", "first"), "error HT0202")
    step("objects/b.yaml", map("b", "warn"), "warning HT")
    step("objects/c.yaml", map("c", "source"), "warning HT")
    step("objects/b.yaml", "metadata: {name", "error HT01")
    step("objects/b.yaml", nil, "^valid: 2 objects")
    step("own.lua", OWN:gsub("balance", "bogus"), "error HT030")
    step("own.lua", "local = 1\n", "error HT0201")
    step("objects/c.yaml", map("c", "roundrobin"), "error HT0201")
    step("own.lua", OWN, "^valid: 2 objects")
    step("config.yaml", CONFIG .. "unheard: 1\n", "HT01")
    step("config.yaml", CONFIG, "^valid: 2 objects")
  end)

  --- How many watches the kernel keeps for it on a folder: for its objects, and for its configuration.
  local function watches(folder)
    local inode = ("%x"):format(tonumber((posix.run({ "stat", "-c", "%i", folder }))))
    return select(2, posix.run({ "sh", "-c", ("cat /proc/%d/fdinfo/*"):format(watcher.pid) })
      :gsub("inotify wd:%x+ ino:" .. inode .. " ", ""))
  end

  it("follows files that are named, too", function()
    local arguments = "-c config.yaml a.yaml objects/b.yaml"
    save("config.yaml", CONFIG)
    save("own.lua", OWN)
    save("a.yaml", map("a", "source"))
    save("objects/b.yaml", map("b", "source"))
    check(arguments, function() watch(arguments) end, "^valid: 2 objects")
    assert.same({ 2, 1 }, { watches(dir), watches(dir .. "/objects") })
    check(arguments, function() save("a.yaml", map("a", "bogus")) end, "error HT0301")
    check(arguments, function() save("a.yaml", map("a", "first")) end, "^valid: 2 objects")
    check(arguments, function() save("objects/b.yaml", map("b", "first") .. "---\n" .. map("c", "first")) end,
      "^valid: 3 objects")
  end)

  it("cannot read standard input twice", function()
    local output, code = posix.run({ "sh", "-c", BIN .. " validate --watch - </dev/null 2>&1" })
    assert.equal(2, code)
    assert.matches("standard input cannot be read twice", output, 1, true)
  end)
end)
