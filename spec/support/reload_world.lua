--- What the changes of reloads_spec are made with: a HAPTIC that follows a folder, and one HAProxy.
-- A world has scope, source, haptic and config; a change (c) has a namespace and a number.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local World = {}
World.__index = World

function World:put(c, file, ...) self.source:write(c.namespace .. "-" .. file .. ".yaml", ...) end
function World:remove(c, file) os.remove(self.source.path .. "/" .. c.namespace .. "-" .. file .. ".yaml") end
function World:service(c, name, changes, labels)
  local service = kube.service(name, c.namespace)
  service.metadata.labels = labels
  for k, v in pairs(changes or {}) do service.spec[k] = v end
  self:put(c, "service-" .. name, service)
end
function World:slice(c, name, addresses, port)
  self:put(c, "slice-" .. name, kube.slice(name, addresses, port or 8001, c.namespace))
end
function World:ingress(c, options)
  options.namespace = c.namespace
  options.name = options.name or "web"
  options.host = options.host or c.namespace .. ".example"
  options.service = options.service or "web"
  local ingress = kube.ingress(options)
  ingress.spec.tls = options.tls
  if options.default then ingress.spec.defaultBackend = { service = { name = "web", port = { number = 80 } } } end
  self:put(c, "ingress-" .. options.name, ingress)
end
--- A Service with one endpoint and an Ingress that leads to it.
function World:route(c, addresses)
  self:service(c, "web")
  self:slice(c, "web", addresses or { ("198.18.%d.1"):format(c.number) })
  self:ingress(c, {})
end
function World:secret(c, name, certificate)
  self:put(c, "secret-" .. name, e2e.tls_secret(name, certificate.cert, certificate.key, c.namespace))
end
function World:authority(c, name, certificate, revocations)
  self:put(c, "secret-" .. name, { apiVersion = "v1", kind = "Secret",
    metadata = { namespace = c.namespace, name = name },
    stringData = { ["ca.crt"] = certificate.cert, ["ca.crl"] = revocations } })
end
--- The configuration file with these changes; they add up.
function World:configure(fn)
  fn(self.config)
  posix.write_file(self.haptic.config_file, http.encode(self.config))
  self.haptic:signal("HUP")
end
--- Waits until all these addresses, and no other one, answer.
function World:answers(c, addresses, path, port, host)
  local wanted = {}
  for _, a in ipairs(addresses) do wanted[a .. ":" .. (port or 8001)] = true end
  self.scope:wait_for(c.text, 20, function()
    local seen = {}
    for _ = 1, 2 * #addresses + 1 do
      local status, body = e2e.ask(self.haptic.http_port, host or c.namespace .. ".example", path)
      if status ~= 200 or not wanted[body] then return false, tostring(status) .. " " .. tostring(body) end
      seen[body] = true
    end
    for a in pairs(wanted) do
      if not seen[a] then return false, "not from " .. a end
    end
    return true
  end)
end
function World:status(c, status, path, host)
  self.scope:wait_answer(self.haptic.http_port, host or c.namespace .. ".example", { status = status, path = path }, 20)
end

return World
