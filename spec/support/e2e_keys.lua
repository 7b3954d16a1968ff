--- Which keys of a family were in force when requests were sent, with which HAProxy, over HTTP and over HTTPS.
--- E2E_KEYS names a folder, in which each run of a spec leaves a file; tools/requests.lua makes a table of them.
-- Part of support.e2e: watches what specs write and whom they ask.

local ffi = require("ffi")
local http = require("support.http")
local posix = require("support.posix")
local M = require("support.e2e_core")

local FOLDER = os.getenv("E2E_KEYS")
if not FOLDER then return end

local PREFIX = "^haproxy[%w.-]*%.%a+/(.+)$"

local manifests, haptics, written = {}, {}, {}
-- Specs that run beside each other may have the same number, as each has a process namespace of its own: they append.
local file = assert(io.open(("%s/%d-%d"):format(FOLDER, os.time(), ffi.C.getpid()), "a"))

local function note(series, scheme, kind, key)
  local line = table.concat({ series, scheme, kind, key }, " ")
  if written[line] then return end
  written[line] = true
  file:write(line, "\n")
  file:flush()
end

local function each_key(object, fn)
  for annotation in pairs(type(object) == "table" and (object.metadata or {}).annotations or {}) do
    local key = annotation:match(PREFIX)
    if key then fn(key) end
  end
end

--- Note what is in force for a host. scheme: "http" or "https".
local function asked(haptic, scheme, host)
  for _, objects in pairs(manifests) do
    for _, o in ipairs(objects) do
      local is_map = type(o) == "table" and o.kind == "ConfigMap"
      if is_map and haptic.configmap == o.metadata.namespace .. "/" .. o.metadata.name then
        for key in pairs(o.data or {}) do note(haptic.series, scheme, "ConfigMap", key) end
      end
      for _, rule in ipairs(type(o) == "table" and o.kind == "Ingress" and o.spec.rules or {}) do
        local wildcard = rule.host and rule.host:match("^%*(%..+)$")
        if rule.host == host or wildcard and host:sub(-#wildcard) == wildcard then
          each_key(o, function(key) note(haptic.series, scheme, "Ingress", key) end)
          for _, path in ipairs(rule.http and rule.http.paths or {}) do
            local name = path.backend.service.name
            for _, others in pairs(manifests) do
              for _, s in ipairs(others) do
                if type(s) == "table" and s.kind == "Service" and s.metadata.name == name then
                  each_key(s, function(key) note(haptic.series, scheme, "Service", key) end)
                end
              end
            end
          end
        end
      end
    end
  end
end

--- The haptic at a port, and the scheme there.
local function at_port(port)
  for _, h in ipairs(haptics) do
    if h.https_port == port then return h, "https" end
    if h.http_port == port or h.status_port == port then return h, "http" end
  end
end

local make = M.Scope.manifests
function M.Scope.manifests(...)
  manifests, haptics = {}, {}
  local m = make(...)
  local write = m.write
  function m.write(self, name, ...)
    manifests[name] = { ... }
    return write(self, name, ...)
  end
  return m
end

local start = M.Scope.haptic
function M.Scope.haptic(scope, options)
  local h = start(scope, options)
  local config = type(options.config) == "table" and options.config or {}
  haptics[#haptics + 1] = { http_port = h.http_port, https_port = h.https_port, status_port = h.status_port,
    series = options.series or "3.2", configmap = ((config.templatingSettings or {}).extraContext or {}).configmap }
  return h
end

local run = posix.run
function posix.run(argv, ...)
  local text = table.concat(argv, " ")
  if argv[1] == "curl" then
    local scheme, host, port = text:match("(https?)://([%w.*-]+):(%d+)")
    local h = at_port(tonumber(port))
    if h then asked(h, scheme, text:match("[Hh]ost: ([%w.-]+)") or host) end
  elseif text:find("probe.py ask", 1, true) then
    for scheme, name in text:gmatch("(https?):(%l+)") do
      local host = ({ dead = "dead.example", queue = "busy.example" })[name] or "web.example"
      for _, h in ipairs(haptics) do asked(h, scheme, host) end
    end
  end
  return run(argv, ...)
end

local request = http.request
function http.request(options)
  local h, scheme = at_port(options.port)
  if h then asked(h, scheme, options.host or "localhost") end
  return request(options)
end
