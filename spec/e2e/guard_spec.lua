--- A route whose authentication cannot be in force is not served.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")

--- Authentication by a Secret that the Ingress names, as a fragment of its own.
local TEMPLATE = [[
extend("backend", 500, function(b)
  b:line("http-request", "return", "status", 200, "content-type", "text/plain", "string", "inside")
end)

each(resources.ingresses, "auth", { guards = true }, function(ing, out)
  local users = dig(ing, "metadata", "annotations", "example.com/users")
  if not users then return end
  local secret = resources.secrets:get(ing.metadata.namespace, users) or fail("there is no secret " .. users)
  local list = "users_" .. ing.metadata.namespace .. "_" .. ing.metadata.name
  out:section("userlist " .. list, function(b) b:line("user", "ada", "insecure-password", secret.data.password) end)
  for _, rule in ipairs(ing.spec.rules) do
    out:section("frontend http", { order = 450, key = "auth " .. list .. " " .. rule.host }, function(b)
      b:line("http-request", "auth", "if", "{", "var(txn.host)", "-m", "str", rule.host, "}",
        "!{", "http_auth(" .. list .. ")", "}")
    end)
  end
end)
]]

describe("Protection of a route", function()
  local scope, source, haptic

  before_each(function()
    scope = e2e.scope("guard")
    source = scope:manifests()
  end)
  after_each(function() scope:close() end)

  local function put_secret(name, password)
    source:write(name .. ".yaml", { apiVersion = "v1", kind = "Secret", stringData = { password = password },
      metadata = { namespace = "default", name = name } })
  end

  local function put_route(name, users)
    local host = name .. ".example"
    source:write(name .. "-service.yaml", kube.service(name))
    source:write(name .. "-slice.yaml", kube.slice(name, { "198.18.0.1" }))
    source:write(name .. "-ingress.yaml",
      kube.ingress({ name = name, host = host, service = name, annotations = users and { ["example.com/users"] = users } }))
  end

  local function ask(name, credentials)
    local answer = http.request({ port = haptic.http_port, path = "/", host = name .. ".example",
      headers = { Authorization = credentials and "Basic " .. credentials } })
    return answer and answer.status
  end

  --- Until that is the answer, none is the application's.
  local function wait_status(name, wanted)
    scope:wait_for(name .. " to answer " .. wanted, 15, function()
      local status = ask(name)
      assert.not_equal(200, status)
      return status == wanted, tostring(status)
    end)
  end

  it("by a Secret with a line end in it: 503, and 401 or 200 once it is repaired", function()
    put_route("open")
    put_secret("good", "right")
    put_route("steady", "good")
    haptic = scope:haptic({
      source = source.path,
      config = e2e.config({
        watchedResources = {
          ingresses = { apiVersion = "networking.k8s.io/v1", resources = "ingresses", indexBy = { "metadata.namespace", "metadata.name" } },
          secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
        },
        templateSnippets = { ["guard.lua"] = { template = TEMPLATE } },
      }),
    })
    haptic:wait_ready()
    assert.equal(200, ask("open"))
    wait_status("steady", 401)
    put_secret("wrong", "two\nlines")
    put_route("new", "wrong")
    wait_status("new", 503)
    put_route("none", "missing")
    wait_status("none", 503)
    assert.equal(401, ask("steady"))
    put_secret("wrong", "right")
    wait_status("new", 401)
    assert.equal(401, ask("new", "YWRhOndyb25n")) -- ada:wrong
    assert.equal(200, ask("new", "YWRhOnJpZ2h0")) -- ada:right
    -- Broken again: the older pair stays in force.
    put_secret("wrong", "two\nlines")
    haptic:wait_log("Object quarantined.*default/new.*", 10)
    assert.equal(401, ask("new"))
    assert.equal(401, ask("new", "YWRhOndyb25n"))
  end)
end)
