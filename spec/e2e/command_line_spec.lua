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
backend named from profile
    balance roundrobin
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
    end)
  end
end)
