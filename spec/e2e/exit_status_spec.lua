--- Exit statuses and JSON of every command: 0 clean, 1 findings, 2 wrong usage or unreadable input. The list of commands
--- is that of haptic --help, so a new command has to say here what it does.

local json = require("cjson")
local posix = require("support.posix")

local ROOT = posix.real_path(".")
local BIN = posix.real_path(os.getenv("HAPTIC_BIN") or "build/release/core/haptic")
local SOURCE = ROOT .. "/examples/manifests"

local FILES = {
  ["good.yaml"] = "templateSnippets:\n  own.lua:\n    template: local x = 1\n",
  ["wrong.yaml"] = "templateSnippets:\n  own.lua:\n    templat: local x = 1\n",
  ["broken.yaml"] = "templateSnippets:\n  own.lua:\n    template: local x = = 1\n",
  ["other.yaml"] = "templateSnippets:\n  own.lua:\n    template: |\n"
    .. '      section("frontend http", { order = 450 }, function(b) b:line("http-request", "deny", "if", "{", "path", "/no", "}") end)\n',
  ["pass.yaml"] = "validationTests:\n  one: {assertions: [{type: haproxy_valid}]}\n",
  ["fail.yaml"] = "validationTests:\n  one: {assertions: [{type: contains, pattern: nobody}]}\n",
}

--- Why a case cannot be here.
local CLUSTER = { why = "asks an API server: spec/e2e/snapshot_spec.lua" }
local NO_FINDINGS = { why = "reads nothing that could be wrong" }
local NO_INPUT = { why = "reads no file" }

--- Of each command: words behind it that end it with 0, 1 and 2. json: also with -o json, which must be one document.
local COMMANDS = {
  render = { json = true, clean = "-c good.yaml SOURCE", findings = "-c broken.yaml SOURCE", unreadable = "nowhere" },
  validate = { json = true, clean = "-c good.yaml SOURCE", findings = "-c broken.yaml SOURCE", unreadable = "-c nowhere.yaml SOURCE" },
  test = { json = true, clean = "-c pass.yaml", findings = "-c fail.yaml", unreadable = "-c nowhere.yaml" },
  bench = { json = true, clean = "--objects 4 SOURCE", findings = "--objects 4 -c broken.yaml SOURCE", unreadable = "nowhere" },
  repl = { clean = "-e 1 SOURCE", findings = "-e nobody() SOURCE", unreadable = "-e 1 nowhere" },
  config = { json = true, clean = "view -c good.yaml", findings = "view -c wrong.yaml", unreadable = "view -c nowhere.yaml", usage = "show" },
  crds = { json = true, clean = "", findings = NO_FINDINGS, unreadable = "apply --kubeconfig nowhere", usage = "aply" },
  rbac = { json = true, clean = "-c good.yaml", findings = "-c wrong.yaml", unreadable = "-c nowhere.yaml" },
  diff = { json = true, clean = "SOURCE SOURCE", findings = "-c good.yaml -C other.yaml --fail-on reload SOURCE", unreadable = "SOURCE nowhere", usage = "" },
  explain = { json = true, clean = "HT0301", findings = "-c broken.yaml -s SOURCE haproxy.cfg:1", unreadable = "-s nowhere haproxy.cfg:1", usage = "HT9999" },
  annotations = { json = true, clean = "", findings = "-c broken.yaml", unreadable = "-c nowhere.yaml" },
  policy = { json = true, clean = "", findings = "-c broken.yaml", unreadable = "-c nowhere.yaml" },
  snapshot = { json = true, clean = CLUSTER, findings = "-c wrong.yaml", unreadable = "-c nowhere.yaml", usage = "-c good.yaml --config-resource a/b" },
  doctor = { json = true, clean = CLUSTER, findings = "-c wrong.yaml", unreadable = "--kubeconfig nowhere", usage = "--no-cluster" },
  version = { json = true, clean = "", findings = NO_FINDINGS, unreadable = NO_INPUT, usage = "word" },
  completion = { clean = "bash", findings = NO_FINDINGS, unreadable = NO_INPUT, usage = "tcsh" },
  man = { clean = "render", findings = NO_FINDINGS, unreadable = NO_INPUT, usage = "nothing" },
}

--- Commands that serve until they are ended, and parts of others.
local NOT_OFFLINE = { run = true, agent = true, trial = true, renderer = true }

describe("the exit status of", function()
  local directory

  setup(function()
    directory = posix.make_temporary_directory("/tmp/haptic-exit.")
    for name, text in pairs(FILES) do posix.write_file(directory .. "/" .. name, text) end
  end)
  teardown(function() posix.run({ "rm", "-rf", directory }) end)

  --- Standard output, what went to standard error, the status.
  local function run(command, words)
    local line = ("cd %s && env -u CONFIG -u KUBECONFIG HOME=%s %s %s %s </dev/null 2>%s/stderr"):format(directory, directory, BIN, command,
      (words:gsub("SOURCE", SOURCE):gsub("nobody%(%)", "'nobody()'")), directory)
    local output, status = posix.run({ "bash", "-c", line })
    return output, posix.read_file(directory .. "/stderr"), status
  end

  local function check(command, words, expected)
    local output, complaint, status = run(command, words)
    assert.equal(expected, status, "haptic " .. command .. " " .. words .. "\n" .. output .. complaint)
    if expected == 2 then
      assert.matches("haptic " .. command .. ": ", complaint, 1, true)
      assert.equal("", output)
    end
    return output
  end

  it("every command is in the table", function()
    local listed = {}
    for name in posix.run({ BIN, "--help" }):gmatch("\n  (%a+) ") do
      listed[name] = true
      assert.truthy(COMMANDS[name] or NOT_OFFLINE[name], name .. " is a command, and nothing here says how it ends")
    end
    for name in pairs(COMMANDS) do assert.truthy(listed[name], name) end
  end)

  for command, cases in pairs(COMMANDS) do
    it("haptic " .. command, function()
      local help = run(command, "--help")
      assert.equal(cases.json or false, help:find("--output ", 1, true) ~= nil and command ~= "completion" and command ~= "man")
      for status, case in pairs({ [0] = "clean", [1] = "findings" }) do
        local words = assert(cases[case], case)
        if type(words) == "string" then
          check(command, words, status)
          if cases.json then
            local output = check(command, words .. " -o json", status)
            local ok, why = pcall(json.decode, output)
            assert.truthy(ok, tostring(why) .. "\n" .. output)
          end
        end
      end
      if cases.usage then check(command, cases.usage, 2) end
      if cases.json then check(command, "-o nothing", 2) end
      if command ~= "man" and command ~= "completion" then check(command, "--no-such-option", 2) end
      if type(cases.unreadable) == "string" then check(command, cases.unreadable, 2) end
    end)
  end

  it("haptic diff --detailed-exitcode: 0 no change, 1 an error, 2 changes", function()
    for words, expected in pairs({ ["SOURCE SOURCE"] = 0, ["-c good.yaml -C broken.yaml SOURCE"] = 1, ["SOURCE nowhere"] = 1, [""] = 1,
      ["--no-such-option"] = 1, ["-c good.yaml -C other.yaml --fail-on reload SOURCE"] = 1, ["-c good.yaml -C other.yaml SOURCE"] = 2 }) do
      local output, complaint, status = run("diff", "--detailed-exitcode " .. words)
      assert.equal(expected, status, words .. "\n" .. output .. complaint)
    end
  end)
end)
