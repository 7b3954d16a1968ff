--- Commands without a cluster: render, validate, repl, on the real renderer and HAProxy.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"
local dir

local function write(name, text)
  local path = dir .. "/" .. name
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  return path
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- Run haptic; what it printed, on standard error, and its exit status.
local function haptic(arguments, input)
  local stdin = input and write("stdin", input) or "/dev/null"
  local command = ("%s %s <%s >%s/out 2>%s/err"):format(BIN, arguments, stdin, dir, dir)
  local status = os.execute(command)
  if type(status) == "number" then status = math.floor(status / 256) end
  return read(dir .. "/out"), read(dir .. "/err"), status == true and 0 or status
end

local function haproxy(series)
  local pipe = assert(io.popen("tools/testenv haproxy " .. series .. " 2>/dev/null"))
  local path = pipe:read("*l")
  pipe:close()
  return assert(path, "there is no HAProxy " .. series)
end

local MANIFESTS = "examples/manifests"

describe("offline", function()
  before_each(function() dir = posix.make_temporary_directory("/tmp/haptic-offline.") end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  describe("render", function()
    it("prints the configuration, and the same each time", function()
      local first, _, status = haptic("render " .. MANIFESTS)
      assert.equal(0, status)
      assert.matches("\nbackend default_web_http from [%w-]+\n    server ", first)
      assert.equal(first, (haptic("render " .. MANIFESTS)))
    end)

    it("takes objects from standard input and from several files", function()
      local class, shop = read(MANIFESTS .. "/class.yaml"), read(MANIFESTS .. "/shop.yaml")
      local whole = haptic("render " .. MANIFESTS)
      assert.equal(whole, (haptic("render -", class .. "\n---\n" .. shop)))
      assert.equal(whole, (haptic(("render %s/class.yaml %s/shop.yaml"):format(MANIFESTS, MANIFESTS))))
    end)

    it("writes all files to a folder, and refuses one that is not its own", function()
      local _, err, status = haptic(("render -d %s/out.d %s"):format(dir, MANIFESTS))
      assert.equal(0, status)
      assert.matches(" %d+ files in ", err)
      assert.equal("shop.localhost/ default_web_http\nshop.localhost/cart/ default_cart_80\n",
        read(dir .. "/out.d/maps/path-prefix.map"))
      os.execute("mkdir " .. dir .. "/other")
      write("other/precious", "x")
      _, err, status = haptic(("render -d %s/other %s"):format(dir, MANIFESTS))
      assert.equal(2, status)
      assert.matches("is not empty and has no haproxy.cfg", err)
      assert.equal("x", read(dir .. "/other/precious"))
    end)

    it("has handles in the place of Secrets, the same in each run", function()
      local config = write("config.yaml", [[
watchedResources:
  secrets: {apiVersion: v1, resources: secrets}
templatingSettings: {libraries: []}
templateSnippets:
  own.lua:
    template: |
      fragment("users", function(out)
        out:section("userlist u", function(b)
          b:line("user", "ada", "insecure-password", resources.secrets:get("default", "users").data.password)
        end)
      end)
]])
      local secret = [[
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: default}
stringData: {password: very-secret-indeed}
]]
      local out, err, status = haptic("render -c " .. config .. " -", secret)
      assert.equal(0, status, err)
      assert.matches("insecure%-password HapticSecret%x+End", out)
      assert.is_nil((out .. err):find("very-secret", 1, true))
      assert.equal(out, (haptic("render -c " .. config .. " -", secret)))
    end)

    it("prints JSON with files and findings", function()
      local out, _, status = haptic("render -o json -t maps " .. MANIFESTS)
      local document = cjson.decode(out)
      assert.equal(0, status)
      assert.equal(0, document.report.errors)
      assert.truthy(document.files["maps/path-exact.map"])
      assert.is_nil(document.files["haproxy.cfg"])
    end)

    it("renders for a version without such a program", function()
      local old = haptic("render --haproxy-version 2.6 " .. MANIFESTS)
      local new = haptic("render --haproxy-version 3.4 " .. MANIFESTS)
      assert.not_equal(old, new)
    end)
  end)

  describe("validate", function()
    local function finding(config, more)
      local out, err, status = haptic(("validate -o json -c %s %s %s"):format(write("c.yaml", config), more or "",
        MANIFESTS))
      local document = cjson.decode(out)
      assert.equal(1, status, err)
      return document.findings[1], document
    end

    it("says in one line that all is well", function()
      local out, _, status = haptic("validate " .. MANIFESTS)
      assert.equal(0, status)
      assert.matches("^valid: %d+ objects, %d+ fragments, HAProxy [%d.]+[^\n]*, 0 warnings\n$", out)
    end)

    it("names the line and the object of a template that fails", function()
      local f = finding([[
templateSnippets:
  backend-500-x:
    template: |
      http-request set-header X-A ok
      http-request set-header X-B {{ nobody.name }}
]])
      assert.equal("HT0202", f.code)
      assert.equal("backend-500-x", f.file)
      assert.equal(2, f.line)
      assert.equal("ingresses default/shop", f.object)
      assert.matches("undeclared global 'nobody'", f.message)
    end)

    it("names the line of a loop that does not end", function()
      local script = finding([[
templatingSettings: {renderTimeout: 1s}
templateSnippets:
  own.lua:
    template: |
      extend("backend", 100, function(b, it)
        local n = 0
        while n >= 0 do n = n + 1 end
      end)
]])
      assert.same({ "HT0203", "own.lua", 3 }, { script.code, script.file, script.line })
      assert.equal("ingresses default/shop", script.object)
      local text = finding([[
templatingSettings: {renderTimeout: 1s}
templateSnippets:
  backend-500-x:
    template: |
      http-request set-header X-A ok
      {% while true do end %}
]])
      assert.same({ "HT0203", "backend-500-x", 2 }, { text.code, text.file, text.line })
    end)

    it("names the line and the object of what HAProxy refuses", function()
      local f = finding([[
templateSnippets:
  own.lua:
    template: |
      extend("backend", 100, function(b, it)
        b:line("no-such", "directive")
      end)
]])
      assert.same({ "HT0301", "own.lua", 2 }, { f.code, f.file, f.line })
      assert.equal("ingresses default/shop", f.object)
      assert.matches("unknown keyword 'no%-such'", f.message)
      assert.matches("^HAProxy ", f.with)
    end)

    it("tells of each HAProxy that is asked", function()
      local _, document = finding([[
templateSnippets:
  own.lua:
    template: |
      section("frontend http", { order = 450 }, function(b)
        b:line("no-such", "directive")
      end)
]], ("--haproxy-binary %s --haproxy-binary %s"):format(haproxy("2.6"), haproxy("3.4")))
      local with = {}
      for _, f in ipairs(document.findings) do
        assert.equal("HT0302", f.code)
        with[#with + 1] = f.with:match("HAProxy (%d+%.%d+)")
      end
      table.sort(with)
      assert.same({ "2.6", "3.4" }, with)
    end)

    it("tells of templates that do not load, with the line", function()
      local f = finding("templateSnippets:\n  own.lua:\n    template: |\n      local x = 1\n      local = 2\n")
      assert.same({ "HT0201", "own.lua", 2 }, { f.code, f.file, f.line })
    end)

    it("tells of a wrong configuration, with the nearest field", function()
      local f = finding("templateSnipets: {}\n")
      assert.equal("HT0103", f.code)
      assert.equal(1, f.line)
      assert.matches('did you mean "templateSnippets"', f.message)
    end)

    it("tells of a manifest that is none", function()
      local out, _, status = haptic("validate -o json -", "kind: [\n")
      local f = cjson.decode(out).findings[1]
      assert.same({ 1, "HT0101", "stdin" }, { status, f.code, f.file })
    end)

    it("ends with 2 when nothing can be read", function()
      local _, err, status = haptic("validate " .. dir .. "/none")
      assert.equal(2, status)
      assert.matches("No such file or directory", err)
      _, err, status = haptic("validate --colour")
      assert.equal(2, status)
      assert.matches("unknown option %-%-colour", err)
    end)

    it("has the forms that CI servers read", function()
      local config = write("c.yaml", "templateSnippets:\n  own.lua:\n    template: |\n      local = 2 -- <&\"\n")
      local sarif = cjson.decode((haptic(("validate -o sarif -c %s %s"):format(config, MANIFESTS))))
      assert.equal("HT0201", sarif.runs[1].results[1].ruleId)
      assert.equal(1, sarif.runs[1].results[1].locations[1].physicalLocation.region.startLine)
      local github = haptic(("validate -o github -c %s %s"):format(config, MANIFESTS))
      assert.matches("^::error title=HT0201,file=own.lua,line=1,col=7::", github)
      haptic(("validate -o junit -c %s %s"):format(config, MANIFESTS))
      assert.equal(0, os.execute("python3 -c 'import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); "
        .. "assert r.get(\"failures\") == \"1\", r.attrib' " .. dir .. "/out") == 0 and 0 or 1)
    end)

    it("writes no colour into a pipe", function()
      local out = haptic("validate -c " .. write("c.yaml", "x: 1\n") .. " " .. MANIFESTS)
      assert.is_nil(out:find("\27", 1, true))
    end)
  end)

  describe("test", function()
    local OBJECTS = [[
    fixtures: &objects
      ingressclasses:
        - apiVersion: networking.k8s.io/v1
          kind: IngressClass
          metadata: {name: haptic}
          spec: {controller: haproxy-haptic.org/controller}
      ingresses:
        - apiVersion: networking.k8s.io/v1
          kind: Ingress
          metadata: {name: shop, namespace: default}
          spec:
            ingressClassName: haptic
            rules:
              - host: shop.test
                http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
      services:
        - apiVersion: v1
          kind: Service
          metadata: {name: web, namespace: default}
          spec: {ports: [{port: 80}]}
      endpoints:
        - apiVersion: discovery.k8s.io/v1
          kind: EndpointSlice
          metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
          addressType: IPv4
          ports: [{port: 8080, name: ""}]
          endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
]]

    --- Run tests; JSON by name, the whole document, the exit status. head: more of the configuration.
    local function run(tests, more, head)
      local path = write("t.yaml", (head or "") .. "validationTests:\n" .. tests)
      local out, err, status = haptic(("test -o json -c %s %s"):format(path, more or ""))
      local ok, document = pcall(cjson.decode, out)
      assert.is_true(ok, out .. err)
      local by_name = {}
      for _, t in ipairs(document.tests or {}) do by_name[t.name] = t end
      return by_name, document, status
    end

    --- Assertions on the objects above: each must hold, or must fail with a message that has a match of the pattern.
    local function judge(assertions)
      local tests = {}
      for i, a in ipairs(assertions) do
        tests[i] = ("  t%d:\n    fixtures: *objects\n    assertions:\n      - %s\n"):format(i, a[1])
      end
      local results = run("  _global:\n" .. OBJECTS:gsub("&objects", "&objects") .. table.concat(tests))
      for i, a in ipairs(assertions) do
        local r = results["t" .. i]
        if a[2] == nil then
          assert.equal("passed", r.verdict, a[1] .. ": " .. cjson.encode(r.failures))
        else
          assert.equal("failed", r.verdict, a[1])
          assert.matches(a[2], r.failures[1].message)
        end
      end
    end

    it("judges each type of assertion, right and wrong", function()
      judge({
        { "{type: haproxy_valid}" }, { "{type: deterministic}" },
        { "{type: contains, pattern: 'server \\S+ 10\\.0\\.0\\.1:8080'}" },
        { "{type: contains, pattern: nobody}", "expected haproxy.cfg to contain /nobody/" },
        { "{type: not_contains, pattern: nobody}" },
        { "{type: not_contains, pattern: '10\\.0\\.0\\.1:8080'}", "> +%d+ | +server .*from: backend default_web_80" },
        { "{type: match_count, pattern: 'backend default_web_80', expected: '1'}" },
        { "{type: match_count, pattern: 'backend default_web_80', expected: '2'}", "expected 2 matches .* found 1" },
        { "{type: match_order, patterns: [frontend http, backend default_]}" },
        { "{type: match_order, patterns: [backend default_, frontend http]}", "stands before" },
        { '{type: equals, target: "map:path-prefix.map", expected: "shop.test/ default_web_80\\n"}' },
        { '{type: equals, target: "map:path-prefix.map", expected: "shop.test/ other\\n"}', "first in line 1" },
        { "{type: jsonpath, jsonpath: '{.capabilities.dynamic_servers}', expected: 'true'}" },
        { "{type: jsonpath, jsonpath: '{.extraContext.nothing}', expected: x}", "it is absent" },
        { "{type: contains, target: 'map:nothing.map', pattern: x}", "there is no target .*map:path%-prefix.map" },
        { "{type: contains, pattern: '('}", "the pattern \"%(\" is wrong" },
      })
    end)

    it("looks at objects that are wanted, at status, and at servers that keep their names", function()
      local head = [[
watchedResources:
  configmaps: {apiVersion: v1, resources: configmaps, owned: true}
  ingresses: {apiVersion: networking.k8s.io/v1, resources: ingresses, statusPatch: true}
templateSnippets:
  own.lua:
    template: |
      each(resources.services, "note", function(s, out)
        local name = "of-" .. s.metadata.name
        out:object({ apiVersion = "v1", kind = "ConfigMap", metadata = { namespace = "default", name = name }, data = { port = "80" } })
      end)
      each(resources.ingresses, "state", function(ing, out) out:status({ conditions = {} }) end)
]]
      local rows = {
        { "assertions: [{type: contains, target: 'k8s:', pattern: of-web}]" },
        { "assertions: [{type: match_count, target: 'k8s:own.lua', pattern: of-web, expected: '1'}]" },
        { "assertions: [{type: not_contains, target: 'k8s:base.lua', pattern: of-web}]" },
        { 'assertions: [{type: contains, target: "k8s:configmaps/default/of-web", pattern: \'"port":"80"\'}]' },
        { "assertions: [{type: contains, target: 'k8s:configmaps/default/of-wb', pattern: x}]",
          'there is no target "k8s:configmaps/default/of%-wb"; did you mean "k8s:configmaps/default/of%-web"' },
        { "assertions: [{type: contains, target: 'status:ingresses/default/shop', pattern: conditions}]" },
        { "assertions: [{type: contains, target: 'status:default/shop:deployed', pattern: conditions}]" },
        { "assertions: [{type: not_contains, target: 'status:services/default/web', pattern: conditions}]" },
        { "assertions: [{type: contains, target: 'status:ingresses/default/shp', pattern: x}]",
          'did you mean "status:ingresses/default/shop"' },
        { "assertions: [{type: contains, target: 'status:default/shop:deployFailed', pattern: x}]", "Write target: rendering_error, or events" },
        { "currentServers: {default_web_80: {10.0.0.1_8080: {address: 10.0.0.1, port: 8080}, gone: {address: 10.0.0.2, port: 8080}}}" },
        { "currentServers: {default_web_80: {SRV_1: {address: 10.0.0.1, port: 8080}}}",
          'runs as "SRV_1" and would be "10.0.0.1_8080".*> +%d+ | +server 10.*from: backend default_web_80' },
        { "currentServers: {default_web_8: {SRV_1: {address: 10.0.0.1, port: 8080}}}", 'did you mean "default_web_80"' },
        { 'currentConfig: "backend default_web_80\\n  server other 10.0.0.1:8080 check\\n"', 'runs as "other"' },
      }
      local tests = {}
      for i, row in ipairs(rows) do tests[i] = ("  t%d:\n    fixtures: *objects\n    %s\n"):format(i, row[1]) end
      local results, document = run("  _global:\n" .. OBJECTS .. table.concat(tests), nil, head)
      for i, row in ipairs(rows) do
        local r = results["t" .. i]
        assert.is_truthy(r, cjson.encode(document))
        assert.equal(row[2] and "failed" or "passed", r.verdict, row[1] .. ": " .. cjson.encode(r.failures))
        if row[2] then assert.matches(row[2], r.failures[1].message) end
      end
      local _, refused = run("  t: {currentFiles: {a: b}, assertions: [{type: haproxy_valid}]}\n")
      assert.matches("give what the template needs as extraContext", refused.findings[1].message)
    end)

    it("skips what cannot be run here, and says why", function()
      local results, document, status = run([[
  new: {minHAProxyVersion: "99.0", assertions: [{type: haproxy_valid}]}
  other: {requires: [nothing], assertions: [{type: haproxy_valid}]}
  good: {requires: [base, ingresses], assertions: [{type: haproxy_valid}]}
]])
      assert.equal(0, status)
      assert.same({ 1, 0, 2 }, { document.passed, document.failed, document.skipped })
      assert.matches("it needs HAProxy 99.0", results.new.skipped)
      assert.matches('it requires "nothing"', results.other.skipped)
    end)

    it("merges the context of everybody, of the test and of the configuration", function()
      local head = "templatingSettings: {extraContext: {a: {one: 1, two: 2}}}\n"
      local _, document, status = run([[
  _global: {extraContext: {a: {two: 3}}}
  t:
    extraContext: {a: {four: 4}}
    assertions:
      - {type: jsonpath, jsonpath: "{.extraContext.a.one}", expected: "1"}
      - {type: jsonpath, jsonpath: "{.extraContext.a.two}", expected: "3"}
      - {type: jsonpath, jsonpath: "{.extraContext.a.four}", expected: "4"}
]], nil, head)
      assert.equal(0, status, cjson.encode(document))
    end)

    it("fails when a template fails, unless the test is about that", function()
      local head = "templateSnippets:\n  own.lua:\n    template: |\n      fragment(\"f\", function() fail(\"on purpose\") end)\n"
      local results, _, status = run([[
  silent: {assertions: [{type: contains, pattern: frontend}]}
  asked: {assertions: [{type: contains, target: rendering_error, pattern: on purpose}]}
]], nil, head)
      assert.equal(1, status)
      assert.matches("on purpose", results.silent.failures[1].message)
      assert.equal("passed", results.asked.verdict)
    end)

    it("finds a template that depends on the order in which objects come", function()
      local head = [[
templateSnippets:
  own.lua:
    template: |
      local seen = {}
      each(resources.services, "count", function(service, out)
        seen[#seen + 1] = service.metadata.name
        out:file(service.metadata.name .. ".txt", tostring(#seen))
      end)
]]
      local results = run([[
  t:
    fixtures:
      services:
        - {apiVersion: v1, kind: Service, metadata: {name: a, namespace: n}, spec: {ports: [{port: 80}]}}
        - {apiVersion: v1, kind: Service, metadata: {name: b, namespace: n}, spec: {ports: [{port: 80}]}}
        - {apiVersion: v1, kind: Service, metadata: {name: c, namespace: n}, spec: {ports: [{port: 80}]}}
    assertions: [{type: contains, pattern: frontend}]
]], "--seed 3", head)
      assert.equal("failed", results.t.verdict)
      assert.matches("differs when the objects come one by one", results.t.failures[1].message)
    end)

    it("refuses tests that cannot fail, unknown fields and types, and a run without a test", function()
      local function refused(tests, more)
        local _, document, status = run(tests, more)
        assert.equal(1, status)
        return document.findings[1].message
      end
      assert.matches("a test that asserts nothing cannot fail", refused("  t: {description: x}\n"))
      assert.matches('did you mean "target"', refused("  t: {assertions: [{type: contains, targt: x, pattern: z}]}\n"))
      assert.matches('"contain" is none of haproxy_valid', refused("  t: {assertions: [{type: contain, pattern: z}]}\n"))
      assert.matches("needs pattern", refused("  t: {assertions: [{type: contains}]}\n"))
      assert.matches("no test has a name", refused("  t: {assertions: [{type: haproxy_valid}]}\n", "--run nobody"))
      local results = run("  t: {fixtures: {servces: [{}]}, assertions: [{type: haproxy_valid}]}\n")
      assert.matches("no entry of watchedResources", results.t.failures[1].message)
    end)

    it("runs the tests that are chosen, and repeats an order", function()
      local tests = "  a: {assertions: [{type: haproxy_valid}]}\n  b: {assertions: [{type: haproxy_valid}]}\n"
        .. "  ab: {assertions: [{type: haproxy_valid}]}\n"
      local _, document = run(tests, "--run '^a'")
      assert.equal(2, document.passed)
      local function order(seed)
        local _, d = run(tests, "--seed " .. seed)
        local names = {}
        for i, t in ipairs(d.tests) do names[i] = t.name end
        return table.concat(names, " ")
      end
      assert.equal(order(7), order(7))
    end)

    it("speaks TAP and JUnit", function()
      local config = write("t.yaml", "validationTests:\n  good: {assertions: [{type: haproxy_valid}]}\n"
        .. "  bad: {assertions: [{type: contains, pattern: '<nobody>'}]}\n")
      local tap = haptic("test -o tap --seed 1 -c " .. config)
      assert.matches("^TAP version 13\n1%.%.2\n", tap)
      assert.matches("\nok %d %- good\n", tap)
      assert.matches("\nnot ok %d %- bad\n# expected", tap)
      haptic("test -o junit -c " .. config)
      assert.equal(0, os.execute("python3 -c 'import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); "
        .. "assert (r.get(\"tests\"), r.get(\"failures\")) == (\"2\", \"1\"), r.attrib' " .. dir .. "/out"))
    end)
  end)

  describe("repl", function()
    local function repl(input, more) return haptic(("repl %s %s"):format(more or "", MANIFESTS), input) end

    it("shows values, and keeps results and globals", function()
      local out, _, status = repl("1 + 1\nx = _ * 10\nx\n_2\n= 'a' .. 'b'\n")
      assert.equal(0, status)
      assert.equal('2\n20\n2\n"ab"\n', out)
    end)

    it("recognises a chunk that is not finished", function()
      local out = repl("for i = 1, 2 do\nprint(i)\nend\nlocal s = [[ a\nb]] print(s)\n--[[ c\n]] print('d')\n")
      assert.equal("1\n2\n a\nb\nd\n", out)
      local _, _, status = repl("for i = 1, 2 do\n")
      assert.equal(1, status)
    end)

    it("knows objects, and shows no byte of a Secret", function()
      local out = repl("{resources.ingresses:get('default', 'shop')}\n")
      assert.equal("{\n  <Ingress default/shop>\n}\n", out)
    end)

    it("has the jail's limits", function()
      local out, _, status = repl("os\n")
      assert.matches("undeclared global 'os'", out)
      assert.equal(1, status)
    end)

    it("ends a chunk that does not end, and keeps the session", function()
      local config = write("c.yaml", "templatingSettings: {renderTimeout: 1s}\n")
      local out, _, status = repl("x = 5\nwhile true do end\nx\n", "-c " .. config)
      assert.matches("^error: the chunk was ended: [^\n]+\n5\n$", out)
      assert.equal(1, status) -- after an error, whatever comes behind it
    end)

    it("shows what a changed object changes", function()
      local out = repl("edit(resources.endpoints:get('default', 'web-1') or resources.endpoints:list()[2], "
        .. "function(o) o.endpoints[1].addresses[1] = '127.0.0.9' end)\n")
      assert.matches("\n    %- server 127%.0%.0%.1_%d+ 127%.0%.0%.1:%d+\n", out)
      assert.matches("\n    %+ server 127%.0%.0%.9_%d+ 127%.0%.0%.9:%d+\n", out)
      assert.matches("\n%d+ of %d+ fragments ran, ", out)
    end)

    it("says which fragments there are and what they read", function()
      local out = repl("#fragments('ingress.lua:') > 0\nreads('nobody')\n")
      assert.matches("^true\nerror: reads: there is no fragment of that name", out)
    end)

    it("evaluates files and single chunks", function()
      local file = write("chunk.lua", "y = 7\nprint('loaded')\n")
      assert.equal("loaded\n7\n", (repl(":load " .. file .. "\ny\n")))
      local out, _, status = haptic(("repl -e 'print(1)' -e 'error(\"x\", 0)' %s"):format(MANIFESTS))
      assert.equal("1\nerror: x\n", out)
      assert.equal(1, status)
    end)

    it("completes names, gives up a line and ends a chunk on a terminal", function()
      local steps = cjson.encode({
        { "", "haptic> " },
        { "resources.ing\t", "ress" }, { "\t", "ingressclasses" }, { "es:l\t", "ist" },
        { "()[1].kind\n", "\"Ingress\"\r\n" }, { "", "haptic> " },
        { "while true do end\n", "evaluating" }, { "\3", "the chunk was ended" }, { "", "haptic> " },
        { "will not be run\3", "haptic> " },
        { "20 + 22\n", "42\r\n" }, { "", "haptic> " }, { "\4", "" },
      })
      local command = ("HOME=%s LSAN_OPTIONS=detect_leaks=0 spec/support/terminal %s repl %s <%s >%s/out"):format(dir, BIN,
        MANIFESTS, write("steps", steps), dir)
      local status = os.execute(command)
      assert.equal(0, status, read(dir .. "/out"))
      assert.truthy(read(dir .. "/.haptic_history"):find("20 + 22", 1, true) or
        read(dir .. "/.haptic_history"):find("20\\040+\\04022", 1, true))
    end)

    it("loads templates again", function()
      local config = write("c.yaml", "templateSnippets:\n  a.lua:\n    template: |\n      provide('v', 1)\n")
      local other = write("d.yaml", "templateSnippets:\n  a.lua:\n    template: |\n      provide('v', 2)\n")
      local out = repl(("use('v')\n:load %s\nuse('v')\n"):format(other), "-c " .. config)
      assert.matches("^1\n", out) -- a file that is no chunk changes nothing
      assert.matches("\n1\n$", out)
    end)
  end)

  describe("explain", function()
    it("says where a request goes, as a real HAProxy does it", function()
      local out, err, status = haptic("explain -s " .. MANIFESTS .. " shop.localhost/cart/x")
      assert.equal(0, status, err)
      assert.matches("^http://shop.localhost/cart/x\n  listener: haproxy.cfg:%d+: bind :8080\n", out)
      assert.matches("\n  map entry: maps/path%-prefix.map: shop.localhost/cart/ %-> default_cart_80\n"
        .. "    object: ingresses default/shop, template: ingress.lua:%d+\n", out)
      assert.matches("\n  server: haproxy.cfg:%d+: server 127.0.0.1_8082 127.0.0.1:8082\n    object: services default/cart", out)
      assert.matches("\n  answer: from server 127.0.0.1_8082 ", out)
      out = haptic("explain -s " .. MANIFESTS .. " nobody.test/")
      assert.matches("\n  map entry: none fits\n  backend: haptic_notfound\n.*\n  answer: 404 from HAProxy itself\n$", out)
      local config = write("c.yaml", "templateSnippets:\n  frontend-http-450-x: {template: 'http-request deny if { path /no }'}\n")
      out = haptic(("explain -c %s -s %s shop.localhost/no"):format(config, MANIFESTS))
      assert.matches("\n  answer: 403 from HAProxy itself, before it chose a backend\n"
        .. "  rule: haproxy.cfg:%d+: http%-request deny if { path /no }\n    object: none, template: frontend%-http%-450%-x:1\n$", out)
    end)

    it("says what an object lost, and what HAProxy refuses of it", function()
      local twin = read(MANIFESTS .. "/shop.yaml") .. "\n---\n" .. read(MANIFESTS .. "/class.yaml") .. [[

---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: twin, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  ingressClassName: haptic
  rules: [{host: shop.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}]}}]
]]
      local out = haptic("explain -s - ingress default/twin", twin)
      assert.matches("%(lost to ingresses default/shop, which is older%)", out)
      local config = write("c.yaml", "templateSnippets:\n  own.lua: {template: 'each(resources.services, \"own\", function(s, out) "
        .. "out:backend(\"x_\" .. s.metadata.name, function(b) b:line(\"no-such\", \"directive\") end) end)'}\n")
      out = haptic(("explain -c %s -s %s service default/web"):format(config, MANIFESTS))
      assert.matches("\n  quarantined: [^\n]*unknown keyword 'no%-such'", out)
    end)

    it("says what a code means and what to do", function()
      local out, _, status = haptic("explain ht0301")
      assert.equal(0, status)
      assert.matches("^HT0301: HAProxy refuses the output of one object\n", out)
      local _, err, wrong = haptic("explain HT9999")
      assert.equal(2, wrong)
      assert.matches("no finding has the code HT9999", err)
    end)

    it("says where each line of the configuration comes from", function()
      local line = 0
      for text in haptic("render " .. MANIFESTS):gmatch("([^\n]*)\n") do
        line = line + 1
        local out, err, status = haptic(("explain -s %s haproxy.cfg:%d"):format(MANIFESTS, line))
        assert.equal(0, status, err)
        assert.truthy(out:find(text, 1, true))
        if text:find("server 127.0.0.1_8081", 1, true) then
          assert.matches("\n  section:  backend default_web_http, piece body\n", out)
          assert.matches("\n  template: [%w_]+%.lua:%d+\n", out)
          break
        end
      end
      local _, err, status = haptic("explain -s " .. MANIFESTS .. " haproxy.cfg:100000")
      assert.equal(2, status)
      assert.matches("haproxy.cfg has %d+ lines", err)
    end)

    it("says what an object gives to the output, and what is wrong with it", function()
      local out = haptic("explain -s " .. MANIFESTS .. " Ingress default/shop")
      assert.equal(out, (haptic("explain -s " .. MANIFESTS .. " ingresses default/shop")))
      assert.matches("^ingresses default/shop\n", out)
      assert.matches("path%-prefix.map shop.localhost/cart/\n +default_cart_80\n", out)
      local without = read(MANIFESTS .. "/class.yaml") .. "\n---\n" .. read(MANIFESTS .. "/shop.yaml"):match("^.-kind: Ingress.-\n%-%-%-\n")
      out = haptic("explain -s - ingress default/shop", without)
      assert.matches("\nHT0401: ServiceNotFound: ", out)
      local _, err, status = haptic("explain -s " .. MANIFESTS .. " ingress default/nobody")
      assert.equal(2, status)
      assert.matches("there is no ingress default/nobody", err)
    end)

    it("says all of it as JSON, too", function()
      local codes = cjson.decode((haptic("explain -o json HT0301 ht0402")))
      assert.same({ "HT0301", "error", "HT0402", "warning" }, { codes[1].code, codes[1].level, codes[2].code, codes[2].level })
      assert.is_true(#cjson.decode((haptic("explain -o json"))) >= 13)
      local route = cjson.decode((haptic("explain -o json -s " .. MANIFESTS .. " shop.localhost/cart")))[1]
      assert.equal("http://shop.localhost/cart", route.value)
      local found = {}
      for _, part in ipairs(route.parts) do found[part.name] = part end
      assert.equal("default_cart_80", found.backend.value)
      assert.matches("^services default/cart, template: ingress.lua:%d+$", found.server.parts[1].value)
      local _, err, status = haptic("explain -o tap HT0301")
      assert.matches('there is no format "tap": text or json', err)
      assert.equal(2, status)
      assert.matches("^%d+%.%d+%.%d+", cjson.decode((haptic("version -o json"))).version)
    end)

    it("is where docs/errors.md comes from", function()
      assert.equal(read("docs/errors.md"), (haptic("explain --markdown")))
    end)
  end)

  it("has help for each name of the prompt", function()
    local out = haptic(("repl -e 'help()' %s"):format(MANIFESTS))
    local names = haptic(("repl -e '' %s"):format(MANIFESTS))
    assert.equal("", names)
    for name in read("lua/haptic/repl.lua"):gmatch("\n  function A%.([%w_]+)") do
      assert.matches("\n  " .. name .. " ", out)
    end
    for name in read("lua/haptic/program.lua"):gmatch("\n  function A%.([%w_]+)") do
      if name ~= "pcall" then assert.matches("\n  " .. name .. " ", out) end
    end
  end)
end)
