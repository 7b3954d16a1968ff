--- What HAProxy's command line does that nobody would expect, on each version. The agent is written by these facts: where
--- a new version does otherwise, this says which of them has changed.

local e2e = require("support.e2e")
local posix = require("support.posix")

local CONFIG = [[
global
    stats socket ${HAPTIC_DIR}/runtime.sock mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
defaults profile
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
defaults compressing from profile
    compression algo gzip
frontend waiting from profile
    bind ${HAPTIC_DIR}/waiting.sock
    bind ${HAPTIC_DIR}/tls.sock ssl crt-list list
    http-request return status 503 if { path,map(map) -m found }
    use_backend %[req.hdr(x-backend)]
    default_backend named
frontend without_default from profile
    bind ${HAPTIC_DIR}/plain.sock
    use_backend %[req.hdr(x-backend)]
frontend with_default from profile
    bind ${HAPTIC_DIR}/default.sock
    use_backend %[req.hdr(x-backend)]
    default_backend usual
backend named from profile
    balance roundrobin
    server s1 127.0.0.1:1
backend held from profile
    balance roundrobin
    server s1 ${HAPTIC_DIR}/held.sock
backend usual from profile
    server s1 127.0.0.1:1
backend moved from profile
    balance roundrobin
    server s1 127.0.0.1:1
backend hashing from profile
    balance source
    server s1 127.0.0.1:1
backend table from profile
    stick-table type ip size 10
    server s1 127.0.0.1:1
]]
local LINE = 16384 -- of the buffer

--- What a directive is tried in.
local CHECKED = [[
global
    log stderr local0
    %s
defaults profile
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend waiting from profile
    bind %s
    default_backend named
backend named from profile
    server s1 127.0.0.1:1 %s
%s
]]

describe("HAProxy's command line", function()
  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    describe("of " .. series, function()
      local adds_backends, is_old = series == "3.4", series == "2.6" or series == "3.0"
      local scope, haproxy, pems

      setup(function()
        scope = e2e.scope("command_line")
        local directory = scope:path("haproxy")
        posix.run({ "mkdir", "-m", "0700", directory })
        pems = {}
        for i = 1, 2 do
          local c = scope:certificate({ names = { "a.example" } })
          pems[i] = c.cert .. c.key
        end
        posix.write_file(directory .. "/haproxy.cfg", CONFIG)
        posix.write_file(directory .. "/map", "")
        posix.write_file(directory .. "/a.pem", pems[1])
        posix.write_file(directory .. "/list", "a.pem a.example\n")
        haproxy = scope:haproxy({ directory = directory, series = series })
      end)
      teardown(function() scope:close() end)

      --- Answers to commands on one connection each.
      local function ask(...)
        local answers = {}
        for i, command in ipairs({ ... }) do answers[i] = haproxy:ask(command) or "" end
        return unpack(answers)
      end

      --- Values of the map in order, by key: "a=1 b=2".
      local function map()
        local entries = {}
        for key, value in ask("show map map"):gmatch("0x%x+ (%S+) ([^\n]*)") do entries[#entries + 1] = key .. "=" .. value end
        return table.concat(entries, " ")
      end

      before_each(function() ask("clear map map") end)

      it("relays the first command only, on the master's socket", function()
        local answer
        scope:wait_for("the worker behind the master", 10, function()
          answer = haproxy:ask_master("@1 show info; show proc")
          return answer and answer:find("Nbthread", 1, true), answer
        end)
        assert.truthy(answer:find("master", 1, true), answer) -- which only the master knows
      end)

      it("does not know @@ on the master's socket", function()
        local answer = haproxy:ask_master("@@1 show info") or ""
        assert.falsy(answer:find("Nbthread", 1, true), answer)
      end)

      it("refuses a line that is longer than its buffer", function()
        ask("add map map before 1; add map map k " .. ("v"):rep(LINE))
        assert.equal(is_old and "before=1" or "", map()) -- 2.6 and 3.0 have run what stands before
        ask("clear map map")
        ask("add map map k " .. ("v"):rep(12000))
        assert.equal(12000 + 2, #map())
      end)

      it("takes payloads of 11 500 bytes", function()
        ask("add map map <<\nk " .. ("v"):rep(11500) .. "\n")
        assert.equal(11500 + 2, #map())
      end)

      it("ends a map's value at the first blank, but not in a payload", function()
        ask("add map map k one two")
        assert.equal("k=one", map())
        ask("set map map k three four")
        assert.equal("k=three", map())
        ask("add map map <<\np one two\n")
        assert.equal("k=three p=one two", map())
      end)

      it("deletes one of several equal keys, or all, by its version", function()
        ask("add map map d 1", "add map map d 2", "del map map d")
        assert.equal(series == "3.4" and "d=2" or "", map())
      end)

      it("has no way to give up another version of a map", function()
        ask("add map map d 1")
        local version = ask("prepare map map"):match("New version created: (%d+)")
        ask(("add map @%s map e 1"):format(version), ("clear map @%s map"):format(version))
        local count = tonumber(ask("show map"):match("entry_cnt=(%d+)"))
        assert.equal(series == "3.4" and 2 or 1, count) -- 3.4 leaks it
        assert.equal("d=1", map())
      end)

      it("keeps a transaction of a certificate open until somebody aborts it", function()
        assert.truthy(ask("set ssl cert a.pem <<\n" .. pems[2] .. "\n"):find("Transaction created", 1, true))
        assert.truthy(ask("show ssl cert"):find("*a.pem", 1, true))
        assert.truthy(ask("set ssl cert a.pem <<\n" .. pems[1] .. "\n"):find("Transaction updated", 1, true))
        assert.truthy(ask("abort ssl cert a.pem"):find("aborted", 1, true))
        assert.falsy(ask("show ssl cert"):find("*a.pem", 1, true))
      end)

      it("tells failures by numbers up to 3, and some successes by text only", function()
        local function severity(command) return haproxy:ask("set severity-output number;" .. command):match("%[(%d)%]") end
        assert.equal("3", severity("set server named/none state ready"))
        assert.equal("3", severity("set server named/s1 weight 999"))
        assert.equal("4", severity("set server named/s1 addr 127.0.0.1 port 1")) -- nothing changed
        assert.is_nil(severity("set server named/s1 state ready"))
        local answer = ask("add server named/told 127.0.0.1:2", "disable server named/told")
        assert.truthy(answer:find("New server registered", 1, true), answer)
      end)

      it("tells since when a worker runs, in parts of a second", function()
        assert.truthy(ask("show info float"):match("\nUptime_sec: %d+%.%d+\n"))
      end)

      it("deletes a server only in maintenance", function()
        assert.truthy(ask("del server moved/s1") ~= "")
        ask("add server moved/new 127.0.0.1:2", "enable server moved/new")
        local answer = ask("del server moved/new")
        assert.truthy(answer:lower():find("maintenance", 1, true), answer)
        ask("disable server moved/new")
        assert.truthy(ask("del server moved/new"):find("Server deleted", 1, true))
      end)

      it("adds servers to a dynamic balance only, in maintenance and unchecked", function()
        local refused = ask("add server hashing/new 127.0.0.1:2")
        assert.truthy(refused:find("dynamic", 1, true), refused)
        ask("add server named/checked 127.0.0.1:2 check")
        local server = assert(haproxy:servers("named").checked)
        assert.equal(1, server.admin) -- maintenance
        ask("disable server named/checked", "del server named/checked")
      end)

      it("lists what a dynamic server may have, from 3.2 on", function()
        local listed = ask("add server help"):find("keywords supported", 1, true) ~= nil
        assert.equal(not is_old, listed)
      end)

      it("adds backends by the name of defaults, on 3.4", function()
        local answer = ask("add backend new from profile")
        assert.equal(adds_backends, answer:find("New backend registered", 1, true) ~= nil, answer)
        if not adds_backends then return end
        assert.truthy(ask("add backend other mode http"):find("Usage", 1, true))
        assert.truthy(ask("add backend other from nothing"):find("Cannot find default proxy", 1, true))
        ask("unpublish backend new")
        assert.truthy(ask("wait 2s be-removable new"):find("Done", 1, true))
        assert.truthy(ask("del backend new"):find("deleted", 1, true))
      end)

      it("keeps backends that something names, or that have a table, on 3.4", function()
        if not adds_backends then
          assert.truthy(ask("del backend table"):find("Unknown command", 1, true))
          return
        end
        ask("unpublish backend named", "unpublish backend table")
        assert.truthy(ask("del backend named"):find("pointing to it", 1, true))
        assert.truthy(ask("del backend table"):find("stick-table", 1, true))
      end)

      it("adds a backend by defaults that compress, on 3.4", function()
        if not adds_backends then return end
        local answer = ask("add backend packed from compressing")
        assert.truthy(answer:find("New backend registered", 1, true), answer)
        ask("unpublish backend packed", "wait 2s be-removable packed", "del backend packed")
      end)

      it("takes an entry of a map whose backend does not exist", function()
        ask("add map map /x nothing")
        assert.equal("/x=nothing", map())
      end)

      --- A field of a proxy's or a server's statistics.
      local function statistic(proxy, server, field)
        local text, place = ask("show stat"), 0
        for name in text:match("# ([^\n]*)"):gmatch("([^,]*),") do
          place = place + 1
          if name == field then break end
        end
        for value in text:match("\n(" .. proxy .. "," .. server .. ",[^\n]*)"):gmatch("([^,]*),") do
          place = place - 1
          if place == 0 then return value end
        end
      end

      --- The status of a request to a frontend that goes where a header says.
      local function status(socket, backend)
        local s = assert(posix.connect(haproxy.directory .. "/" .. socket, nil, posix.now() + 5))
        s:send("GET /x HTTP/1.1\r\nHost: a.example\r\nX-Backend: " .. backend .. "\r\nConnection: close\r\n\r\n",
          posix.now() + 5)
        local answer = s:receive_all(posix.now() + 5) or ""
        s:close()
        return answer:match("^HTTP/1.1 (%d+)")
      end

      it("leads to the default backend, or to 503, where a backend does not exist", function()
        assert.equal("503", status("plain.sock", "nothing"))
        assert.equal("0", statistic("usual", "BACKEND", "stot"))
        status("default.sock", "nothing")
        assert.equal("1", statistic("usual", "BACKEND", "stot"))
      end)

      it("waits in the command while a server has a connection, which gets no other", function()
        local listener = scope:spawn({ name = "held", argv = { "socat", "UNIX-LISTEN:" .. haproxy.directory
          .. "/held.sock,fork", "EXEC:sleep 60" } })
        scope:wait_for("the server", 5, function()
          return select(2, posix.run({ "test", "-S", haproxy.directory .. "/held.sock" })) == 0
        end)
        local client = assert(posix.connect(haproxy.directory .. "/plain.sock", nil, posix.now() + 5))
        client:send("GET / HTTP/1.1\r\nHost: a.example\r\nX-Backend: held\r\n\r\n", posix.now() + 5)
        scope:wait_for("a connection to the server", 5, function()
          return statistic("held", "s1", "scur") == "1"
        end)
        ask("disable server held/s1")
        assert.equal("503", status("plain.sock", "held"))
        if series == "2.6" then
          assert.truthy(ask("wait 1s srv-removable held/s1"):find("Unknown command", 1, true))
        else
          assert.truthy(ask("wait 1s srv-removable held/s1"):find("Wait delay expired", 1, true))
        end
        local refused = ask("del server held/s1")
        assert.truthy(refused:find("connections attached", 1, true), refused)
        client:close()
        listener:stop()
        local answer
        scope:wait_for("the server to go", 20, function()
          answer = ask("del server held/s1")
          return answer:find("Server deleted", 1, true) or answer:find("No such server", 1, true), answer
        end)
        if series ~= "2.6" then
          assert.truthy(ask("wait 1s srv-removable held/s1"):find("Failed", 1, true)) -- what is not there is told at once
        end
      end)

      it("stops requests to a backend at once, and tells that it has gone, on 3.4", function()
        if not adds_backends then return end
        local names, commands = {}, {}
        for i = 1, 40 do
          names[i] = ("shop_%s_%d"):format(("x"):rep(40), i)
          commands[i] = ("add backend %s from profile;publish backend %s"):format(names[i], names[i])
        end
        ask(table.concat(commands, ";"))
        assert.truthy(ask("show backend"):find(names[40], 1, true))
        for i, name in ipairs(names) do commands[i] = "unpublish backend " .. name end
        ask(table.concat(commands, ";"))
        assert.equal("503", status("plain.sock", names[1]))
        for i, name in ipairs(names) do commands[i] = ("wait 2s be-removable %s;del backend %s"):format(name, name) end
        ask(table.concat(commands, ";"))
        -- An answer to a deletion may be missing. The absence is proven in another way.
        for _, name in ipairs(names) do
          assert.truthy(ask("wait 1s be-removable " .. name):find("No such backend", 1, true))
        end
        assert.falsy(ask("show backend"):find("shop_", 1, true))
      end)

      it("forgets with a worker what came at runtime", function()
        ask("add server moved/short 127.0.0.1:2")
        assert.truthy(haproxy:servers("moved").short)
        local before = haproxy:processes()
        haproxy:ask_master("reload")
        scope:wait_for("another worker", 10, function()
          local ok, now = pcall(haproxy.processes, haproxy)
          return ok and now.worker ~= before.worker and now.reloads > before.reloads or series == "2.6" and ok
            and now.worker ~= before.worker
        end)
        assert.is_nil(haproxy:servers("moved").short)
        assert.truthy(ask("del server moved/short"):find("No such server", 1, true))
      end)

      --- Exit code and messages of a check.
      local function check(global, server, rest)
        local path = haproxy.directory .. "/checked.cfg"
        posix.write_file(path, CHECKED:format(global or "", haproxy.directory .. "/checked.sock", server or "", rest or ""))
        local output, code = posix.run({ "sh", "-c", 'exec "$1" -W -c -f "$2" 2>&1', "sh", e2e.haproxy_binary(series), path })
        return code, output
      end

      it("refuses the same bytes each time", function()
        local code, message = check("no-such-keyword")
        assert.not_equal(0, code)
        local again, repeated = check("no-such-keyword")
        assert.equal(code, again)
        assert.equal((message:gsub("%(%d+%)", "")), (repeated:gsub("%(%d+%)", "")))
        assert.equal(0, (check()))
      end)

      it("has no programs on 3.4, and on 3.2 only where deprecated directives are allowed", function()
        local code, message = check(nil, nil, "program other\n    command /bin/true")
        assert.equal(series == "3.2" or series == "3.4", code ~= 0, message)
        assert.equal(series == "3.2", message:find("expose-deprecated-directives", 1, true) ~= nil, message)
      end)

      it("takes guid and the limit of HTTP/2's glitches from 3.0 on", function()
        assert.equal(series == "2.6", check(nil, "guid one") ~= 0)
        assert.equal(series == "2.6", check("tune.h2.fe.glitches-threshold 100") ~= 0)
      end)

      it("warns of slow passwords and of master-worker on 3.4", function()
        local slow = "userlist u\n    user a password $6$rounds=900000$salt$" .. ("a"):rep(86)
        for _, case in ipairs({ { { nil, nil, slow }, "milliseconds to verify" }, { { "master-worker" }, "deprecated" } }) do
          local code, message = check(unpack(case[1], 1, 3))
          assert.equal(0, code, message)
          assert.equal(series == "3.4", message:find(case[2], 1, true) ~= nil, message)
        end
      end)

      it("distributes by another algorithm from 3.3 on, where nothing is said", function()
        local algorithm = statistic("usual", "BACKEND", "algo")
        assert.equal(series ~= "3.4", algorithm == "roundrobin", algorithm)
      end)

      it("forgets named defaults only where it is told to, which is known from 3.4 on", function()
        for _, word in ipairs({ "tune.defaults.purge", "tune.defaults.purge none" }) do
          assert.equal(series ~= "3.4", check(word) ~= 0)
        end
        if not adds_backends then return end
        local purged = scope:path("purged")
        posix.run({ "mkdir", "-m", "0700", purged })
        posix.write_file(purged .. "/haproxy.cfg", (CHECKED:format("tune.defaults.purge\n    stats socket " .. purged
          .. "/runtime.sock mode 600 level admin", purged .. "/waiting.sock", "", "")))
        local other = scope:haproxy({ directory = purged, series = series })
        local answer = other:ask("add backend new from profile")
        assert.truthy(answer:find("Cannot find default proxy", 1, true), answer)
      end)
    end)
  end
end)
