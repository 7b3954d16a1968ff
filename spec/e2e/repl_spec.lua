--- The prompt: docs/repl.md typed into a terminal, what Tab completes, and the rest of what docs/offline.md says of it.

local cjson = require("cjson")
local e2e = require("support.e2e")
local posix = require("support.posix")

local BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")
local ROOT = posix.real_path(".")

describe("the prompt", function()
  local dir

  before_each(function()
    dir = posix.make_temporary_directory("/tmp/haptic-repl.")
    posix.run({ "ln", "-s", ROOT .. "/examples", dir .. "/examples" })
  end)
  after_each(function() posix.run({ "rm", "-rf", dir }) end)

  --- On a pseudo-terminal: list of {typed, awaited}. Returns what was printed, without the terminal's own commands.
  local function terminal(steps, ...)
    posix.write_file(dir .. "/steps", cjson.encode(steps))
    local output, code = posix.run({ "sh", "-c", ("cd %s && HOME=%s LSAN_OPTIONS=detect_leaks=0 %s/spec/support/terminal %s repl %s <steps")
      :format(dir, dir, ROOT, BIN, table.concat({ ... }, " ")) })
    return output:gsub("\27%[[%d;?]*[%a]", ""):gsub("\r", ""), code
  end

  local function pipe(input, ...)
    posix.write_file(dir .. "/input", input)
    return posix.run({ "sh", "-c", ("cd %s && %s repl %s <input"):format(dir, BIN, table.concat({ ... }, " ")) })
  end

  it("measures what takes less than a tick of the kernel's clock", function()
    local output = pipe('time(function() return hash("x") end, 1000)\ncounters()\n', "examples/manifests")
    assert.is_true(tonumber(output:match("1000 runs, ([%d.]+) ms")) > 0, output)
    local counters = cjson.decode(output:match("\n(%[.*%])"))
    assert.is_true(#counters > 20)
    for _, c in ipairs(counters) do
      assert.is_true(c.runs == 0 or c.seconds > 0, c.name)
    end
  end)

  it("does what docs/repl.md shows", function()
    local steps, wanted, echo, documented = { { "", "haptic> " } }, {}, {}, posix.read_file("docs/repl.md")
    local open
    for block in documented:gmatch("\n```repl\n(.-)\n```") do
      for line in (block .. "\n"):gmatch("([^\n]*)\n") do
        local typed = line:match("^haptic> (.*)$") or line:match("^     >> (.*)$")
        if typed then
          if open then open[2] = line:sub(1, 8) end
          open = { typed .. "\n", "haptic> " }
          steps[#steps + 1], echo[typed] = open, true
          wanted[#wanted + 1] = line:match("^haptic") and typed ~= ":quit" and line or "…"
        else
          wanted[#wanted + 1] = line
        end
      end
    end
    assert.equal(":quit\n", open[1])
    open[2] = ""
    local output, code = terminal(steps, "examples/manifests")
    assert.equal(0, code, output)
    -- What is typed before the prompt has come is echoed by the terminal as well.
    output = output:gsub("[^\n]+\n", function(line) return echo[line:sub(1, -2)] and "" or nil end)
    -- Each line follows the one before; a line of "…" stands for any lines.
    local at, skips = 1, true
    for _, line in ipairs(wanted) do
      if line == "…" then
        skips = true
      else
        local pattern = line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", "[^\n]*")
        local from, to = output:find("\n" .. pattern .. "\n", at)
        if not from or not skips and from ~= at then
          error("docs/repl.md: " .. line .. "\nis not next in\n" .. output:sub(at, at + 2000))
        end
        at, skips = to, false
      end
    end
    output, code = posix.run({ "sh", "-c", "cd " .. dir .. " && " .. BIN .. " test -c walk.yaml" })
    assert.equal(0, code, output)
  end)

  it("lends its names to luajit -l haptic", function()
    local output, code = posix.run({ "cmake", "--install", BIN:match("^(.*)/core/haptic$"), "--prefix", dir .. "/installed" })
    assert.equal(0, code, output)
    posix.write_file(dir .. "/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: planted}\n")
    posix.write_file(dir .. "/c.yaml", "watchedResources: {secrets: {apiVersion: v1, resources: secrets}}\n")
    posix.write_file(dir .. "/chunk.lua", [[
      haptic.load("-c", "c.yaml", "examples/manifests", "secret.yaml")
      print(resources.ingresses:get("default", "shop").spec.rules[1].host)
      print(#fragments("ingress.lua:routes/"), next(failures))
      print(trace("ingress.lua:routes/ingresses/default/shop").text)
      print(resources.secrets:get("default", "s").data.password)
      print(pcall(haptic.load, "no-such-file"))
    ]])
    output, code = posix.run({ "sh", "-c", ("cd %s && HAPTIC_BIN=%s LUA_PATH='%s/installed/share/lua/5.1/?.lua;;' luajit -l haptic chunk.lua 2>&1")
      :format(dir, BIN, dir) })
    assert.equal(0, code, output)
    assert.matches("^shop.localhost\n1\tnil\nmap entry path%-prefix.map shop.localhost/\n    default_web_http    %-%- ingress.lua:%d+\n", output)
    assert.matches("\nHapticSecret%x+End\n", output)
    assert.is_nil(output:find("planted", 1, true))
    assert.matches("\nfalse\t", output)
  end)

  it("completes names of every kind", function()
    posix.write_file(dir .. "/chunk.lua", "print('from a file')\n")
    local output, code = terminal({
      { "", "haptic> " },
      { 'resources.ingresses:get("def\t', "ault" }, { '", "sh\t', "op" }, { '").kind\n', '"Ingress"' },
      { "ing = _G\n", "haptic> " },
      { 'ing = resources.ingresses:list()[1]\n', "haptic> " }, { "ing.spec.ru\t", "les" }, { "[1].host\n", "shop.localhost" },
      { 'trace("ingress.lua:routes/ing\t', "resses/default/shop" }, { '")\n', "default_cart_80" },
      { 'request{host = "shop.lo\t', "calhost" }, { '", path = "/ca\t', "rt/" }, { '", expect = {status = 200}}\n', "as expected" },
      { 'explain("shop.localhost/ca\t', "rt/" }, { '")\n', "default_cart_80" },
      { 'help("apr\t', "opos" }, { '")\n', "whose help has this word" },
      { ":lo\t", "ad" }, { " chu\t", "nk.lua" }, { "\n", "from a file" },
      { "\4", "" },
    }, "examples/manifests")
    assert.equal(0, code, output)
  end)

  it("shows what has no order, no name and no mark", function()
    local output, code = pipe("resources\nresources.ingresses\nhelp\n{}\nx = {} x.x = x\nx\n", "examples/manifests")
    assert.equal(0, code, output)
    assert.matches("^resources%.endpoints    2 objects\n", output)
    assert.is_nil(output:find("error", 1, true), output)
    assert.matches("<the same table as above>", output)
  end)

  it("renders by the new templates as soon as their file has changed", function()
    local function config(value)
      return ("templateSnippets: {backend-600-x: {template: 'http-response set-header X-V %s'}}\n"):format(value)
    end
    posix.write_file(dir .. "/one.yaml", config("one"))
    posix.write_file(dir .. "/two.yaml", config("two"))
    local output, code = posix.run({ "sh", "-c", ([[cd %s && cp one.yaml c.yaml && : >out && { echo 'output("ingress.lua:routes/ingresses/default/shop")'
      until grep -q 'X-V one' out; do sleep 0.05; done; cp two.yaml c.yaml
      echo 'output("ingress.lua:routes/ingresses/default/shop")'; } | (%s repl -c c.yaml --haproxy-version 3.2 examples/manifests >out)
      code=$?; cat out; exit $code]]):format(dir, BIN) })
    assert.equal(0, code, output)
    assert.matches("X%-V one.*c%.yaml: templates loaded again\n.*X%-V two", output)
  end)

  it("times, traces and explains", function()
    local output, code = pipe('time(function() return 6 * 7 end, 10)\nexplain("HT0301")\nexplain("haproxy.cfg:1")\n'
      .. 'explain(resources.ingresses:list()[1])\n', "examples/manifests", "--haproxy-version", "3.2")
    assert.equal(0, code, output)
    assert.matches("^42: 10 runs, [%d.]+ ms, [%d.]+ us each\n", output)
    assert.matches("\nHT0301: ", output)
    assert.matches("\nhaproxy.cfg:1: ", output)
    assert.matches("\ningresses default/shop\n", output)
    for _, wrong in ipairs({ 'explain("nothing")', "explain(1)", 'explain("haproxy.cfg:99999")', 'trace("no")', "time(1)" }) do
      output, code = pipe(wrong .. "\n", "examples/manifests", "--haproxy-version", "3.2")
      assert.equal(1, code, wrong)
      assert.matches("^error: ", output, 1)
    end
  end)

  -- A library that finds its own function's name in the program calls the program's.
  it("has no name that one of its libraries has, too", function()
    local output, code = posix.run({ "sh", "-c", ([[set -e; cd %s
      nm %s | awk '$2 ~ /^[TDB]$/ { print $3 }' | sort -u >own; grep -qx main own
      for l in $(ldd %s | awk '/=> \// && !/lib[at]san|libubsan/ { print $3 }'); do nm -D --defined-only $l; done |
        awk '{ sub("@.*", "", $3); print $3 }' | sort -u >theirs
      comm -12 own theirs]]):format(dir, BIN, BIN) })
    assert.equal(0, code, output)
    assert.equal("", output)
  end)

  it("says of each change what HAProxy would do, and goes on from there", function()
    local function shop(change) return 'edit(resources.ingresses:get("default", "shop"), function(o) ' .. change .. " end)\n" end
    local output, code = pipe(shop('o.spec.rules[1].host = "x.test"') .. shop('o.spec.rules[1].host = "shop.localhost"')
      .. shop("") .. 'remove(resources.ingresses:get("default", "shop"))\n:diff\n', "examples/manifests")
    assert.equal(0, code, output)
    local verdicts = {}
    for verdict in output:gmatch("HAProxy %S+: ([^\n]*)\n") do verdicts[#verdicts + 1] = verdict end
    assert.equal(4, #verdicts, output)
    assert.same({ "4 runtime commands, no reload", "4 runtime commands, no reload" }, { verdicts[1], verdicts[2] })
    -- Removing the only Ingress: the files were at its beginning, so that :diff says the same.
    assert.matches("^%d+ runtime commands, no reload$", verdicts[3])
    assert.equal(verdicts[3], verdicts[4])
    assert.matches("; nothing changed\n", output)
  end)

  it("compares the session with the files", function()
    local change = 'edit(resources.endpoints:list()[1], function(o) o.endpoints[2] = {addresses = {"127.0.0.9"}} end)\n'
    local output, code = pipe(":diff\n" .. change .. ":diff\n", "examples/manifests")
    assert.equal(0, code, output)
    assert.matches("^HAProxy %S+: nothing to do\n", output)
    assert.matches("\nHAProxy %S+: %d+ runtime commands?, no reload\nHAProxy %S+: %d+ runtime commands?, no reload\n~ ingress.lua:backend/", output)
    output, code = posix.run({ "sh", "-c", ("cd %s && cat examples/manifests/*.yaml >all.yaml; %s repl -e ':diff' - <all.yaml"):format(dir, BIN) })
    assert.equal(1, code, output)
    assert.matches("standard input cannot be read twice", output)
  end)

  it("has one verdict for several versions", function()
    local binaries = ""
    for _, series in ipairs({ "3.0", "3.2", "3.4" }) do binaries = binaries .. " --haproxy-binary " .. e2e.haproxy_binary(series) end
    local function edit(change) return 'edit(resources.ingresses:get("default", "shop"), function(o) ' .. change .. " end)\n" end
    local output, code = posix.run({ "sh", "-c", ("printf '%%s' '%s' | %s repl%s examples/manifests 2>&1"):format(
      edit('o.spec.rules[1].host = "x.test"')
      .. edit('o.spec.rules[1].http.paths[3] = {path = "/new", pathType = "Prefix", backend = {service = {name = "web", port = {number = 80}}}}')
      .. ":diff\n", BIN, binaries) })
    assert.equal(0, code, output)
    local verdicts = {}
    for verdict in output:gmatch("\n(HAProxy [^\n]*)") do verdicts[#verdicts + 1] = verdict end
    assert.equal(3, #verdicts, output)
    assert.matches("^HAProxy 3%.0%S*, 3%.2%S*, 3%.4%S*: 4 runtime commands, no reload$", verdicts[1])
    for i = 2, 3 do
      assert.matches("^HAProxy 3%.0%S*, 3%.2%S*: a reload: [^;]+; HAProxy 3%.4%S*: %d+ runtime commands, no reload$", verdicts[i])
    end
  end)
end)
