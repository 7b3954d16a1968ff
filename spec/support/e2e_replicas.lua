--- Several `haptic run` around one HAProxy, competing for one Lease.
-- Part of support.e2e: adds to its scopes.

local posix = require("support.posix")
local M = require("support.e2e_core")
local Scope = M.Scope

local Replicas = {}
Replicas.__index = Replicas

--- Starts one HAProxy and, attached to it, the replicas.
---@param options table names; kubeconfig (function(name) → path); config (function(name) → configuration); series;
--- https; program (another haptic, for those that start from then on)
function Scope:replicas(options)
  local r = setmetatable({
    scope = self, options = options, haproxy = self:haproxy({ series = options.series }), by_name = {},
    http_port = M.port(), https_port = M.port(), status_port = M.port(), highest = nil,
  }, Replicas)
  for _, name in ipairs(options.names) do
    r:start(name)
  end
  return r
end

--- Starts a replica; in the place of one that has ended, with its ports and log.
function Replicas:start(name)
  local before = self.by_name[name]
  self.by_name[name] = self.scope:haptic({
    name = name, kubeconfig = self.options.kubeconfig(name), config = self.options.config(name),
    haproxy = self.haproxy, program = self.options.program, http_port = self.http_port,
    https = self.options.https, https_port = self.https_port, status_port = self.status_port,
    metrics_port = before and before.metrics_port,
    debug_port = before and before.debug_port, output = before and before.output,
  })
  return self.by_name[name]
end

--- The replicas that say that they lead. One that does not answer is left out.
function Replicas:leaders()
  local found = {}
  for _, name in ipairs(self.options.names) do
    local h = self.by_name[name]
    if not h.ended then
      local ok, value = pcall(h.metric, h, "haptic_leader_election_is_leader")
      if ok and value == 1 then
        found[#found + 1] = h
      end
    end
  end
  return found
end

--- Waits until exactly one leads and all are ready. Returns it.
function Replicas:wait_leader(seconds)
  return self.scope:wait_for("one leader", seconds or 20, function()
    local leaders = self:leaders()
    return #leaders == 1 and leaders[1], #leaders .. " leaders"
  end)
end

function Replicas:wait_all_ready(seconds)
  for _, name in ipairs(self.options.names) do
    if not self.by_name[name].ended then
      self.by_name[name]:wait_ready(seconds or 20)
    end
  end
end

function Replicas:others(leader)
  local found = {}
  for _, name in ipairs(self.options.names) do
    if self.by_name[name] ~= leader and not self.by_name[name].ended then
      found[#found + 1] = self.by_name[name]
    end
  end
  return found
end

--- (transitions, generation, holder) of the last accepted write; fails when they went back.
function Replicas:fence()
  local text = posix.read_file(self.haproxy.directory .. "/fence") or ""
  local transitions, generation, holder = text:match("^(%d+) (%d+) (%S*)")
  if not transitions then
    return nil
  end
  transitions, generation = tonumber(transitions), tonumber(generation)
  local highest = self.highest
  if highest and (transitions < highest[1] or transitions == highest[1] and generation < highest[2]) then
    error(("the fence went back from %d/%d to %d/%d"):format(highest[1], highest[2], transitions, generation), 2)
  end
  if highest and transitions == highest[1] and holder ~= highest[3] then
    error(("two writers with fence %d: %s and %s"):format(transitions, highest[3], holder), 2)
  end
  self.highest = { transitions, generation, holder }
  return transitions, generation, holder
end

--- The p-th percentile (0 … 100) of a list of numbers.
function M.percentile(numbers, p)
  local sorted = { unpack(numbers) }
  table.sort(sorted)
  return sorted[math.max(1, math.ceil(#sorted * p / 100))]
end

--- One line of a report, after the specs' dots.
function M.report(what, seconds)
  io.stderr:write(("\n%s: n %d, p50 %.3f s, p99 %.3f s, max %.3f s\n"):format(what, #seconds, M.percentile(seconds, 50),
    M.percentile(seconds, 99), M.percentile(seconds, 100)))
end

return M
