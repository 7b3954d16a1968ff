--- Each code of a finding: an input that gives it, and the whole text that people see, compared with
--- spec/e2e/findings/CODE.txt. FINDINGS_UPDATE=1 writes those files anew.

local cjson = require("cjson")
local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"
local UPDATE = os.getenv("FINDINGS_UPDATE") ~= nil
local MANIFESTS = "examples/manifests"

--- What gives the code: files (name → text), the arguments of haptic.
local CASES = {
  HT0101 = { files = { ["m/a.yaml"] = "apiVersion: networking.k8s.io/v1\nkind: Ingress\n"
    .. "metadata: {name: a, namespace: shop}\nspec:\n  rules: 5\n" },
    run = "validate m" },
  HT0102 = { files = { ["c.yaml"] = "logging: {level: INFO}\ndataplane:\n  port: 5555\n" }, run = "validate --strict -c c.yaml " .. MANIFESTS },
  HT0103 = { files = { ["c.yaml"] = "templateSnippets:\n  own.lua:\n    templat: x\n" }, run = "validate -c c.yaml " .. MANIFESTS },
  -- Its line is not shown: it could have a value of a Secret.
  HT0104 = { files = { ["m/a.yaml"] = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec:\n"
    .. "  prots: [{port: 80}]\n" },
    run = "validate --strict m" },
  HT0201 = { files = { ["c.yaml"] = "templateSnippets:\n  own.lua:\n    template: |\n"
    .. "      local x = 1\n      fragmant('x', print)\n" },
    run = "validate -c c.yaml " .. MANIFESTS },
  HT0202 = { files = { ["c.yaml"] = "templateSnippets:\n  backend-500-x:\n    template: |\n"
    .. "      # a comment\n      http-request set-header X-B {{ nobody }}\n" },
    run = "validate -c c.yaml " .. MANIFESTS .. "/class.yaml " .. MANIFESTS .. "/shop.yaml" },
  HT0203 = { files = { ["c.yaml"] = "templatingSettings: {renderTimeout: 200ms}\ntemplateSnippets:\n  own.lua:\n    template: |\n"
    .. "      fragment('endless', function()\n        local n = 0\n        while n >= 0 do n = n + 1 end\n      end)\n" },
    run = "validate -c c.yaml " .. MANIFESTS },
  HT0301 = { files = { ["c.yaml"] = "templateSnippets:\n  own.lua:\n    template: |\n      each(resources.services, 'own', function(service, out)\n"
    .. "        if service.metadata.name ~= 'web' then return end\n"
    .. "        out:backend('own', function(b)\n          b:line('no-such', 'directive')\n        end)\n      end)\n" },
    run = "validate -c c.yaml " .. MANIFESTS },
  HT0302 = { files = { ["c.yaml"] = "templateSnippets:\n  frontend-http-450-own:\n    template: |\n      # a comment\n      no-such directive\n" },
    run = "validate -c c.yaml " .. MANIFESTS },
  HT0303 = { files = { ["haproxy"] = "#!/bin/sh\ncase \"$1\" in -v*) exec haproxy \"$@\";; esac\nkill -9 $$\n" },
    run = "validate --haproxy-binary DIR/haproxy " .. MANIFESTS },
  HT0401 = { files = { ["m/a.yaml"] = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, namespace: shop}\nspec:\n"
    .. "  ingressClassName: haptic\n"
    .. "  rules: [{host: a.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}]}}]\n" },
    run = "validate --strict m" },
  HT0402 = { files = { ["c.yaml"] = "templateSnippets:\n  own.lua:\n    template: |\n      each(resources.services, 'own', function(service, out)\n"
    .. "        out:map_entry('own.map', 'key', service.metadata.name)\n      end)\n" }, run = "validate --strict -c c.yaml " .. MANIFESTS },
  HT0403 = { files = { ["c.yaml"] = "templatingSettings: {httpFetch: {allow: [{url: 'https://lists.test/'}]}}\ntemplateSnippets:\n"
    .. "  own.lua:\n    template: |\n      fragment('own', function(out) http:fetch('https://lists.test/blocked?key=hidden') end)\n" },
    run = "validate --strict -c c.yaml " .. MANIFESTS },
  HT0404 = { files = { ["c.yaml"] = "templatingSettings: {httpFetch: {allow: [{url: 'https://lists.test/'}]}}\ntemplateSnippets:\n"
    .. "  own.lua:\n    template: |\n      fragment('own', function(out) http:fetch('https://other.test/blocked') end)\n" },
    run = "validate -c c.yaml " .. MANIFESTS },
  HT0501 = { files = { ["c.yaml"] = "validationTests:\n  a:\n    assertions:\n      - {type: contains, pattern: nobody}\n" },
    run = "test -o github -c c.yaml" },
  HT0502 = { files = { ["c.yaml"] = "validationTests:\n  a:\n    assertions:\n      - {type: contain, pattern: nobody}\n" }, run = "test -c c.yaml" },
}

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local s = f:read("*a")
  f:close()
  return s
end

--- What is not the same everywhere.
local function plain(text, dir)
  text = text:gsub(dir:gsub("%p", "%%%0") .. "/", ""):gsub("HAProxy [%d.]+[%w.+~-]*", "HAProxy VERSION")
  text = text:gsub("ingress.lua:%d+", "ingress.lua:N"):gsub("(ingress.lua:N:[^\n]*\n) +%d+ |", "%1     N |")
  return (text:gsub("haproxy.cfg has %d+ lines", "haproxy.cfg has N lines"):gsub("it has %d+ lines", "it has N lines"))
end

describe("finding", function()
  local dir
  before_each(function() dir = posix.make_temporary_directory("/tmp/haptic-findings.") end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  for code, case in pairs(CASES) do
    it(code .. " is told as its file says", function()
      os.execute("mkdir " .. dir .. "/m")
      for name, text in pairs(case.files) do posix.write_file(dir .. "/" .. name, text) end
      os.execute("chmod 755 " .. dir .. "/haproxy 2>/dev/null")
      local run = case.run:gsub(" c.yaml", " " .. dir .. "/c.yaml"):gsub(" m$", " " .. dir .. "/m"):gsub("DIR", dir)
      local status = os.execute(("%s %s >%s/out 2>&1 </dev/null"):format(BIN, run, dir))
      assert.is_true(status == 256 or status == 1, code .. ": exit status " .. tostring(status) .. "\n" .. read(dir .. "/out"))
      local text, golden = plain(read(dir .. "/out"), dir), "spec/e2e/findings/" .. code .. ".txt"
      if UPDATE then posix.write_file(golden, text) end
      assert.equal(read(golden), text)
      assert.truthy(text:find(code, 1, true))
    end)
  end

  -- What doctor finds is found in clusters: its judgement of facts has a test of its own.
  local function is_named_elsewhere(code)
    local status = os.execute("grep -q " .. code .. " spec/core/offline_doctor_test.c")
    return code:find("^HT06") ~= nil and (status == 0 or status == true)
  end

  it("has a case for each code that the program knows, a heading in docs/errors.md, and its page", function()
    local pipe = assert(io.popen(BIN .. " explain --markdown"))
    local page, count = pipe:read("*a"), 0
    pipe:close()
    local without = {}
    for code in page:gmatch("\n## (HT%d+)\n") do
      count = count + 1
      if not CASES[code] and not is_named_elsewhere(code) then without[#without + 1] = code end
      local explained = assert(io.popen(BIN .. " explain " .. code))
      assert.matches("^" .. code .. ": ", explained:read("*a"))
      explained:close()
    end
    assert.is_true(count >= 13)
    assert.equal("", table.concat(without, " "), "codes without a case")
  end)

  it("has an example that its case, or the test of doctor, gives", function()
    local pipe = assert(io.popen(BIN .. " explain -o json"))
    local doctor = read("spec/core/offline_doctor_test.c")
    for _, row in ipairs(cjson.decode(pipe:read("*a"))) do
      local golden = CASES[row.code] and read("spec/e2e/findings/" .. row.code .. ".txt")
      local example = plain(row.example, "/nowhere")
      if golden then
        assert.equal(example, golden:sub(1, #example))
      else
        assert.truthy(doctor:find(('"%s", "%s'):format(row.code, row.example), 1, true), row.code .. ": " .. row.example)
      end
    end
    pipe:close()
  end)

  it("is in the table of docs/troubleshooting.md with its remedy and a link, in order and nothing else", function()
    local pipe = assert(io.popen(BIN .. " explain -o json"))
    local wanted, found = {}, {}
    for _, row in ipairs(cjson.decode(pipe:read("*a"))) do
      wanted[#wanted + 1] = ("| [%s](errors.md#%s) | %s | %s |"):format(row.code, row.code:lower(), row.title, row.remedy)
    end
    pipe:close()
    for line in read("docs/troubleshooting.md"):gmatch("[^\n]+") do
      if line:find("^| %[HT") then found[#found + 1] = line end
    end
    assert.is_true(#wanted >= 27)
    assert.same(wanted, found)
  end)
end)
