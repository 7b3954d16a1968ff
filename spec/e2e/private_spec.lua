--- What others on the machine see of the controller and its children, and what they can put in their way.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("the machine's other users", function()
  local scope, source

  before_each(function()
    scope = e2e.scope("private")
    source = scope:manifests()
    source:write("class.json", kube.ingress_class())
  end)

  after_each(function()
    scope:close()
  end)

  local function descriptors(pid)
    return (posix.run({ "ls", "-l", "/proc/" .. pid .. "/fd" }))
  end

  it("have no part in children's descriptors, environment and files", function()
    local planted = scope:path("planted")
    posix.write_file(planted, "the parent's")
    local haptic = scope:haptic({ source = source.path, env = { SOME_TOKEN = "s3cret" },
      through = { "bash", "-c", 'exec 199<"$0"; exec "$@"', planted } })
    haptic:wait_ready()
    local renderer, of_haproxy = haptic:renderer_pid(), haptic.haproxy:processes()
    assert.matches("^total 0\n[^\n]* 3 %-> socket:%S+%s*$", descriptors(renderer))
    for _, pid in ipairs({ renderer, of_haproxy.master, of_haproxy.worker }) do
      assert.not_matches("planted", descriptors(pid))
      assert.not_matches("s3cret", posix.read_file("/proc/" .. pid .. "/environ"))
    end
    assert.equal("", (posix.run({ "find", haptic.directory, "-mindepth", "1", "-perm", "/077", "!", "-type", "l" })))
  end)

  it("cannot prepare the folder", function()
    -- In a user namespace with one user there is nobody else.
    if select(2, posix.run({ "chown", "65534", source.path })) ~= 0 then
      return pending("needs to be root")
    end
    local cases = {
      { "mkdir DIR && chown 65534 DIR", "belongs to another user %(65534%)" },
      { "mkdir DIR.real && ln -s DIR.real DIR && chown -h 65534 DIR", "belongs to another user %(65534%)" },
    }
    for i, case in ipairs(cases) do
      local dir = scope:path("dir" .. i)
      local output, code = posix.run({ "sh", "-c", (case[1]:gsub("DIR", dir)) })
      assert.equal(0, code, output)
      local haptic = scope:haptic({ name = "refused" .. i, source = source.path, directory = dir })
      haptic.ended = true
      assert.equal("exit 1", haptic.process:wait(10), haptic:log())
      assert.matches(case[2], haptic:log())
      assert.is_nil(posix.read_file(dir .. "/haproxy.cfg"))
    end
  end)

  it("cannot take the controller's health from the kubelet with unfinished requests", function()
    local haptic = scope:haptic({ source = source.path })
    haptic:wait_ready()
    local attacker = posix.spawn({ name = "attacker", argv = { "python3", "-c", [[
import socket, sys, time
held = []
for i in range(400):
    s = socket.socket()
    s.bind(("127.0.0.%d" % (2 + i // 80), 0))
    s.settimeout(1)
    try:
        s.connect(("127.0.0.1", int(sys.argv[1])))
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        held.append(s)
    except OSError:
        pass
print("holding", flush=True)
time.sleep(60)]], tostring(haptic.metrics_port) }, output = scope:path("attacker.log") })
    scope:wait_for("connections to be held", 20, function()
      return attacker:log():find("holding") ~= nil
    end)
    local answer = haptic:get("/healthz")
    attacker:signal("KILL")
    attacker:wait(5)
    assert.equal(200, answer and answer.status)
  end)
end)
