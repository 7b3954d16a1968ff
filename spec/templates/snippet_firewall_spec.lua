--- Lines of configuration from objects: what the firewall lets through is what HAProxy gets, and what it refuses leaves
--- nothing behind.
local haproxy = require("spec.support.haproxy")
local program = require("spec.support.program")

local KINDS = { { name = "secrets", parts = 2 }, { name = "configmaps", parts = 2 }, unpack(program.KINDS) }

--- An engine with an Ingress for each text; and, as NAME-f, -g, -s, nothing: those of the ConfigMap are put by put_map.
local function engine(version, kinds)
  local major, minor = version:match("^(%d+)%.(%d+)")
  local e = program.engine({ kinds = KINDS, checked = false, context = { configmap = "default/haproxy", https = false,
    config_snippets = kinds or { "Ingress", "Service", "ConfigMap" } },
    capabilities = { version = version, major = tonumber(major), minor = tonumber(minor) } })
  e:put("services", program.service("web"))
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  return e
end

local function put(e, name, text)
  e:put("ingresses", program.ingress(name, { annotations = { ["haproxy.org/backend-config-snippet"] = text },
    rules = { { host = name .. ".example", paths = { { "/" } } } } }))
end

local function put_map(e, data)
  e:put("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = "haproxy" },
    data = data })
end

--- Text → the lines that it becomes, one behind the other.
local GOOD = {
  { [[http-request set-header X-A 'it is $HOME %[src]' # a comment]], [[http-request set-header X-A 'it is $HOME %[src]']] },
  { 'http-request set-header X-B "a b"x', "http-request set-header X-B 'a bx'" },
  { "http-request replace-path '/a(.*)' '/b\\1' if METH_GET !{ path /x } or { src 10.0.0.0/8 }",
    "http-request replace-path /a(.*) '/b\\1' if METH_GET !{ path /x } or { src 10.0.0.0/8 }" },
  { "acl is_api path_beg -i /api\nhttp-request deny deny_status 429 unless is_api",
    "acl snippet_is_api path_beg -i /api\n    http-request deny deny_status 429 unless snippet_is_api" },
  { "http-request set-var(txn.backend) req.hdr(x),lower\nhttp-response set-header X-C %[var(txn.backend)]",
    "http-request set-var(txn.snippet_backend) req.hdr(x),lower\n    http-response set-header X-C %[var(txn.snippet_backend)]" },
  { "timeout server 5s", "timeout server 5s" },
  { "http-request set-header X-D a\\ b\\ # comment", "http-request set-header X-D 'a b '" },
  { "http-send-name-header X-Pod", "http-send-name-header X-Pod" },
  { "no option redispatch", "no option redispatch" },
  { "retry-on conn-failure 503\r\nretries 2", "retry-on conn-failure 503\n    retries 2" },
  { "compression algo gzip\ncompression type text/html", "compression algo gzip\n    compression type text/html" },
  { "http-request return status 200 content-type text/plain string 'hello # there' hdr X-Y z if { path /hello }",
    "http-request return status 200 content-type text/plain string 'hello # there' hdr X-Y z if { path /hello }" },
  { "http-request redirect location https://%[hdr(host)]%[pathq] code 301 if { hdr_beg(host) -i www. }",
    "http-request redirect location https://%[hdr(host)]%[pathq] code 301 if { hdr_beg(host) -i www. }" },
}

--- What leaves a section, leads elsewhere, reads, runs, or changes what is not its own.
local BAD = {
  "server evil 127.0.0.1:1", "use-server evil if TRUE", "dispatch 127.0.0.1:1", "source 10.0.0.1", "default_backend other_web_80",
  "use_backend other_web_80 if TRUE", "mode tcp", "bind :1234", "backend other_web_80", "frontend http", "global", "userlist x",
  "defaults x", ".if 1", ".notice x", ".endif", "lua-load /tmp/x.lua", "external-check command /bin/sh", "option external-check",
  "filter spoe engine x config /etc/passwd", "filter trace", "errorfile 503 /etc/passwd", "errorfiles x", "log stdout local0",
  "email-alert mailers x", "stick-table type ip size 100m", "stick on src", "cookie x insert", "balance roundrobin", "hash-type map-based",
  "description x\nserver evil 127.0.0.1:1", "http-request lua.run", "http-request use-service lua.x", "http-request use-service prometheus-exporter",
  "http-request set-map(maps/path-prefix.map) x y", "http-request del-map(maps/path-prefix.map) x", "http-request add-acl(x) y",
  "http-request del-acl(x) y", "http-request track-sc0 src table haptic_limits", "http-request sc-set-gpt0(0) 1", "http-request cache-use x",
  "http-request set-dst str(127.0.0.1)", "http-request set-dst-port int(22)", "http-request set-src req.hdr(x)", "http-request set-uri //x/y",
  "http-request do-resolve(txn.x,default) str(x)", "http-request capture req.hdr(x) len 100", "http-request set-priority-class int(1)",
  "http-request return status 200 file /etc/passwd", "http-request return status 200 lf-file /etc/passwd", "http-request return errorfile /etc/passwd",
  "http-request set-header X-A %[env(HOME)]", "http-request set-header X-A %[lua.x]", "http-request set-header X-A %[req.hdr(a),lua.x]",
  "http-request set-header X-A %[str(a),map(maps/path-prefix.map)]", "http-request set-header X-A %[src,table_gpc0(haptic_limits)]",
  "http-request set-header X-A %[sc_get_gpt(0,2,haptic_limits)]", "http-request set-header X-A %[http_auth_pass]",
  "http-request set-header X-A %[var(proc.x)]", "http-request set-header X-A %[var(txn.record),set-var(txn.record)]",
  "http-request set-header X-A %[status]", "http-response set-header X-A %[req.hdr(a)]", "http-after-response set-header X-A %[path]",
  "http-request set-var(txn.a) res.hdr(b)", "http-request set-header X-A %[be_conn(other_web_80)]", "http-request set-header X-A %[nbsrv(other_web_80)]",
  "http-request set-header X-A %[str(a),regsub(a,b)]", "http-request set-header X-A %[str(a)", "http-request set-header X-A %",
  "http-request set-header X-A %[req.hdr(a),concat(,txn.record)]", "http-request set-header X-A %[req.hdr(a),add(txn.record)]",
  "http-request set-header Transfer-Encoding chunked", "http-request set-header Content-Length 0", "http-request set-header 'X A' b",
  "http-request set-header X-A:B c", "http-request del-header Connection", "http-request set-var(proc.x) str(a)",
  "http-request set-var(sess.x) str(a)", "http-request set-var(txn.x.y) str(a)", "http-request deny if { path -f /etc/passwd }",
  "http-request deny if { src -f maps/addresses.map }", "http-request deny if { http_auth(users_other_team) }", "http-request deny if { path -M -f x }",
  "http-request deny if { path -m reg (a+)+ }", "http-request deny if { path_reg (a+)+ }", "http-request deny if sends_proxy",
  "http-request deny if { path /x", "http-request deny if", "http-request deny sometimes { path /x }", "http-request deny deny_status 999",
  "http-request replace-path (a+)+ /b", "http-request replace-path ^a*a*a*x /b",
  ("http-request replace-path ^/(.*)a\\d(.*)b /b\n"):rep(4), "http-request set-log-level nothing", "http-request set-timeout client 5s", "http-request redirect location",
  "http-request redirect location x set-cookie a=b", "http-request redirect location x code 200", "http-request auth realm x", "http-request tarpit",
  "acl x src -f /etc/passwd", "acl x env(HOME) -m found", "acl 'a b' path /x", "acl x", "acl x nbsrv(other_web_80) ge 1",
  "timeout client 5s", "timeout server forever", "timeout server 5s 6s", "option forwardfor except 127.0.0.1", "option tcp-check", "retries 999",
  "retry-on everything", "fullconn x", "http-reuse sometimes", "no server x", "no timeout server", "compression algo lzma", "compression offload now",
  -- How lines are written.
  'http-request set-header X-A "$HOME"', 'http-request set-header X-A "${HOME}"', "http-request set-header X-A a\\", "http-request set-header X-A a\\nb",
  "http-request set-header X-A a\\\\ b", "\\ server evil 127.0.0.1:1", "server\\ evil 127.0.0.1:1",
  "http-request set-header X-A 'open", 'http-request set-header X-A "open', "http-request set-header X-A b \\\nserver evil 127.0.0.1:1",
  "http-request set-header X-A b\rserver evil 127.0.0.1:1", "http-request set-header X-A b\0", "http-request set-header X-A \226\128\168x",
  "http-request set-header X-\208\176 b", "ser\208\178er evil 127.0.0.1:1", "http-request\194\160deny", "'server' evil 127.0.0.1:1",
  's"erv"er evil 127.0.0.1:1', "http-request 'lua.run'", "\"backend\" x", "#\rserver evil 127.0.0.1:1", "http-request deny # \nserver evil 1.2.3.4:1",
  "http-request set-header X-A b\n" .. ("timeout server 5s\n"):rep(101), ("http-request deny " .. ("x "):rep(70)), ("#"):rep(9000),
}

describe("The firewall of lines from objects", function()
  for _, version in ipairs({ "2.6", "3.4" }) do
    it("writes what may stand there as it was checked, and HAProxy takes it, with HAProxy " .. version, function()
      local e = engine(version)
      for i, case in ipairs(GOOD) do put(e, "good" .. i, case[1]) end
      put_map(e, { ["global-config-snippet"] = "tune.bufsize 32768\nmaxconnrate 100", ["stats-config-snippet"] = "stats show-legends",
        ["frontend-config-snippet"] = "acl from_trusted_proxy src 0.0.0.0/0\nhttp-request deny if from_trusted_proxy { path /no }\n"
          .. "unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid_%[var(txn.a)]\nunique-id-header X-Unique-ID" })
      e:render()
      assert.same({}, e.host.failures)
      local o = e:output()
      assert.same({}, o.warnings)
      for i, case in ipairs(GOOD) do
        assert.matches("backend default_web_80_good" .. i .. " ", o.config, 1, true)
        assert.matches("\n    " .. case[2], o.config, 1, true, case[1])
      end
      assert.matches("unique-id-format '%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid_%[var(txn.snippet_a)]'", o.config, 1, true)
      -- Names that the libraries have are not touched.
      assert.matches("acl snippet_from_trusted_proxy src 0.0.0.0/0", o.config, 1, true)
      local checked = haproxy.check_series(version, o)
      if checked == 0 then pending("there is no HAProxy " .. version .. " to check the output with") end
    end)
  end

  it("knows no expression that HAProxy refuses where it may stand", function()
    local source = program.read("templates/base/expressions.lua")
    local function list(name)
      local words, set = {}, {}
      for w in source:match("local " .. name .. " = set(%b())"):gsub("[%[%]()\"]", " "):gmatch("%S+") do
        words[#words + 1], set[w] = w, true
      end
      return words, set
    end
    local plain, named = list("PLAIN"), list("NAMED")
    local _, of_request = list("REQUEST")
    local _, of_answer = list("RESPONSE")
    local all = { "str(a)", "int(1)", "bool(true)", "rand(5)", "rand", "var(txn.a)" }
    for _, w in ipairs(plain) do all[#all + 1] = w end
    for _, w in ipairs(named) do all[#all + 1] = w .. "(a)" end
    assert.truthy(#all > 50)
    local lines = { "defaults", " mode http", " timeout client 5s", " timeout server 5s", " timeout connect 5s" }
    local function add(...) lines[#lines + 1] = " " .. table.concat({ ... }, " ") end
    for i, header in ipairs({ "frontend f", "backend b" }) do
      lines[#lines + 1] = header
      if i == 1 then
        add("bind 127.0.0.1:1")
        add("log-format %" .. table.concat((list("ALIASES")), "%"))
      end
      for _, e in ipairs(all) do
        local name = e:match("^[^(]+")
        for phase, absent in pairs({ ["http-request"] = of_answer, ["http-response"] = of_request }) do
          if not absent[name] then
            add(phase, "set-header X-A %[" .. e .. "]")
            add(phase, "set-var(txn.x)", e)
            add(phase, "deny if {", e, "-m found }")
          end
        end
        if not of_request[name] then add("http-after-response set-header X-A %[" .. e .. "]") end
        if i == 1 and not of_request[name] and not of_answer[name] then add("log-format %[" .. e .. "]") end
      end
    end
    lines[#lines + 1] = "frontend t"
    add("mode tcp")
    add("bind 127.0.0.1:2")
    add("log-format %" .. table.concat((list("TCP_ALIASES")), "%"))
    local checked = 0
    for _, binary in ipairs(haproxy.binaries()) do
      local folder = haproxy.folder()
      haproxy.write(folder, { config = table.concat(lines, "\n") .. "\n", maps = {}, files = {} })
      local ok, words = haproxy.check(binary, folder)
      haproxy.remove(folder)
      assert.truthy(ok, words)
      checked = checked + 1
    end
    if checked == 0 then pending("there is no HAProxy to check expressions with") end
  end)

  it("lets through no number and no text that HAProxy refuses", function()
    local e = engine("3.4")
    local function is_let_through(key, line)
      put_map(e, { [key] = line })
      e:render()
      return (e:output().warnings["default/haproxy"] or {}).InvalidAnnotation == nil
    end
    local source, least, most = program.read("templates/base/snippet_firewall.lua"), {}, {}
    local names = {}
    for name in source:match("local GLOBAL = .-\nend\n"):gmatch("%f[%w]([%l%d][%l%d.-]+)%f[^%w.-]") do
      if name:find("^tune%.") or name:find("^max") or name == "spread-checks" then names[name] = true end
    end
    local count = 0
    for name in pairs(names) do
      local first, last
      for _, n in ipairs({ 0, 1, 32, 64, 80, 512, 4096, 8192, 32767, 65535, 65536, 1048576, 100000000, 2147483647 }) do
        if is_let_through("global-config-snippet", name .. " " .. n) then
          first, last = first or n, n
        end
      end
      assert.truthy(last, name)
      count = count + 1
      least[count], most[count] = name .. " " .. first, name .. " " .. last
    end
    assert.truthy(count > 20)
    for _, line in ipairs({ "log-tag a b", "log-tag" }) do assert.is_false(is_let_through("global-config-snippet", line), line) end
    for _, line in ipairs({ "stats realm a b", "stats realm", "stats refresh" }) do
      assert.is_false(is_let_through("stats-config-snippet", line), line)
    end
    for _, lines in ipairs({ least, most }) do
      put_map(e, { ["global-config-snippet"] = table.concat(lines, "\n") .. "\nlog-tag a",
        ["stats-config-snippet"] = "stats realm 'a b'\nstats show-desc a b c" })
      e:render()
      local o, checked = e:output(), 0
      assert.same({}, o.warnings)
      for _, binary in ipairs(haproxy.binaries()) do
        if haproxy.sh(binary .. " -v"):find("version 3.4", 1, true) then
          local folder = haproxy.folder()
          haproxy.write(folder, o)
          haproxy.sh("sed -i 's|default-path config|default-path origin " .. folder .. "|' " .. folder .. "/haproxy.cfg")
          local ok, words = haproxy.check(binary, folder)
          haproxy.remove(folder)
          assert.truthy(ok, words)
          checked = checked + 1
        end
      end
      if checked == 0 then pending("there is no HAProxy 3.4 to check the output with") end
    end
  end)

  it("refuses all else: nothing of it is written, its owner is told, and its backend has no servers", function()
    local without, e = engine("3.4"), engine("3.4")
    for i, text in ipairs(BAD) do
      put(e, "bad" .. i, text)
      put(without, "bad" .. i, "server x")
    end
    e:render()
    without:render()
    assert.same({}, e.host.failures)
    local o = e:output()
    for i, text in ipairs(BAD) do
      local told = o.warnings["default/bad" .. i]
      assert.matches("backend-config-snippet must be", told and told.InvalidAnnotation or "", 1, true, text)
      assert.matches("answered with 503", told.InvalidAnnotation, 1, true)
    end
    -- Whatever was written: the configuration is the same.
    assert.equal(without:output().config, o.config)
    assert.is_nil(o.config:find("\n    server ", 1, true))
  end)

  it("refuses the same of the ConfigMap, in each section", function()
    local e, closings = engine("3.4"), {}
    e:render()
    local before = e:output().config
    for _, key in ipairs({ "global-config-snippet", "frontend-config-snippet", "stats-config-snippet", "backend-config-snippet" }) do
      for _, text in ipairs(BAD) do
        local is_fine = key ~= "backend-config-snippet" and text:find("^timeout client 5s")
        if not is_fine then
          put_map(e, { [key] = text })
          e:render()
          assert.matches(key .. " must be", (e:output().warnings["default/haproxy"] or {}).InvalidAnnotation or "", 1, true, text)
          -- What seems to keep somebody out closes its section.
          local left, count = e:output().config:gsub("    http%-request return status 503 [^\n]*the configuration is refused[^\n]*\n", "")
          assert.equal(before, left, text)
          closings[key] = (closings[key] or 0) + count
        end
      end
    end
    assert.equal(0, closings["global-config-snippet"] + closings["backend-config-snippet"])
    assert.is_true(closings["frontend-config-snippet"] > 0)
    assert.equal(closings["frontend-config-snippet"], closings["stats-config-snippet"])
    for _, text in ipairs({ "chroot /", "daemon", "stats socket /tmp/x", "lua-load x", "setenv A b", "user root", "insecure-fork-wanted",
      "set-var proc.x str(a)", "module-load x", "nbthread 1", "tune.bufsize 1", "tune.bufsize 99999999999", "maxconn 1", "crt-base /" }) do
      put_map(e, { ["global-config-snippet"] = text })
      e:render()
      assert.equal(before, e:output().config, text)
    end
  end)

  it("is not asked where nobody has allowed such lines: they have no effect, and close what they may protect", function()
    for _, kinds in ipairs({ {}, { "ConfigMap" }, { "Service" } }) do
      local e = engine("3.4", kinds)
      put(e, "harmless", "timeout server 5s")
      put(e, "denies", "http-request deny if { src 192.0.2.0/24 }")
      e:render()
      local o = e:output()
      assert.is_nil(o.config:find("192.0.2.0/24", 1, true))
      assert.matches("harmless.example/ default_web_80\n", o.maps["path-prefix.map"], 1, true)
      assert.matches("denies.example/ haptic_unavailable", o.maps["path-prefix.map"], 1, true)
      assert.matches("the setting config_snippets", o.warnings["default/harmless"].AnnotationIgnored, 1, true)
      assert.matches("the setting config_snippets", o.warnings["default/denies"].ProtectionNotSupported, 1, true)
    end
  end)
end)
