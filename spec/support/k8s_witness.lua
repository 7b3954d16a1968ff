--- What a cluster did while requests were made: told when one of them failed, so that the reason can be found.

local posix = require("support.posix")

local M = {}

local SHOWN = 40 -- lines of each log, the last ones

--- Those lines of a text that `wanted` says yes to: the last of them.
local function last_lines(text, wanted)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    if wanted(line) then
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n", math.max(1, #lines - SHOWN + 1))
end

--- A line of HAProxy's access log whose status is not 200.
local function is_bad_answer(line)
  local status = line:match("%] %S+ %S+ [%d/+-]+ (%-?%d+) ")
  return status ~= nil and status ~= "200"
end

local function is_warning(line)
  return line:find("level=WARN", 1, true) or line:find("level=ERROR", 1, true) or line:find("leader", 1, true)
end

--- Notes each change of a pod from now on.
---@return table finish(wanted): ends that; the account as text, or "" when none is wanted
function M.watch(cluster)
  local notes = cluster.scratch .. "/pods.log"
  os.remove(notes)
  local process = posix.spawn({
    name = "pods", output = notes,
    argv = { "bash", "-c", ([[export TZ=UTC KUBECONFIG=%s; kubectl get pods --watch --no-headers |
      while read -r line; do printf '%%(%%T)T %%s\n' -1 "$line"; done]]):format(cluster.kubeconfig) },
  })
  return {
    finish = function(wanted)
      posix.run({ "kill", "-TERM", "--", "-" .. process.pid })
      process:stop(5)
      local text = posix.read_file(notes) or ""
      if not wanted then
        return ""
      end
      local parts = { "\n-- load of the machine: " .. (posix.read_file("/proc/loadavg") or "?"),
        "-- pods, by the time of day", last_lines(text, function() return true end) }
      for _, pod in ipairs(cluster:haproxies()) do
        local log = cluster:sh(("kubectl logs %s -c haproxy"):format(pod))
        parts[#parts + 1] = ("-- %s: answers that are not 200\n%s"):format(pod, last_lines(log, is_bad_answer))
        log = cluster:sh(("kubectl logs %s -c agent"):format(pod))
        parts[#parts + 1] = ("-- %s: the agent\n%s"):format(pod, last_lines(log, is_warning))
      end
      for _, pod in ipairs(cluster:controllers()) do
        local log = cluster:sh("kubectl logs " .. pod)
        parts[#parts + 1] = ("-- %s\n%s"):format(pod, last_lines(log, is_warning))
      end
      parts[#parts + 1] = "-- events\n" .. (cluster:sh("kubectl get events --sort-by=.lastTimestamp | tail -n 20"))
      return table.concat(parts, "\n")
    end,
  }
end

return M
