-- tools/lib/answers.sh: the URL that tools/quickstart prints is that of the frontend.
local function bash(script)
  local p = io.popen("bash -euc '. tools/lib/answers.sh; " .. script .. "'")
  local out = p:read("*a")
  p:close()
  return (out:gsub("\n$", ""))
end

describe("tools/quickstart", function()
  it("finds the last value of a flag", function()
    assert.equal("9090", bash("flag_value metrics-port 9090 --set http_port=1"))
    assert.equal("2", bash("flag_value metrics-port 9090 --metrics-port 1 --metrics-port=2 --x y"))
    assert.equal("9090", bash("flag_value metrics-port 9090 --metrics-port"))
  end)

  it("finds the port of the frontend, whatever set it", function()
    local name = os.tmpname()
    finally(function() os.remove(name) end)
    for bind, port in pairs({ [":18080"] = "18080", ["127.0.0.1:81"] = "81", ["[::]:82"] = "82", [":83 v4v6"] = "83" }) do
      local f = io.open(name, "w")
      f:write("frontend status from base\n    bind :8404\nfrontend http from base\n    mode http\n    bind " .. bind
        .. "\n    bind :9\nfrontend other\n    bind :7\n")
      f:close()
      assert.equal(port, bash("http_port_of " .. name))
    end
  end)
end)
