--- engine.lua — the functions that the renderer process calls.
--
-- A chunk that returns function(host) → E. The host gives:
--   host.at(fragment_id, template, owner_kind, owner_id)       before a fragment runs
--   host.fragment(id, template, owner_kind, owner_id, created, items, n, before, again) → digest of the output (string)
--     its output: n contributions, six values each; nothing is sent when its digest is `before`, unless `again`.
--     Or nil and why it is not taken: "room" and the bytes that are missing, or "later"
--   host.gone(id, digest, owner_id)
--   host.waits(id): it exists and was not rendered yet
--   host.failed(id, template, owner_kind, owner_id, created, message)
--   host.held(namespace, n by size, n by time): fragments that wait
--   host.ask(kind, id, wanted): an object of a lazy kind is read from now on, or no more; see asking.lua
--   host.fits(namespace, bytes) → boolean, host.released() → number; see room.lua
--   host.clock(), host.cpu(), host.input(), host.deadline; see turns.lua
--   host.rewriter(pattern, replacement) → function(line) → line, or nil and a message
--   host.log(level, message), host.digest(string) → 32 hexadecimal digits
--   host.fragment_bytes, host.contributions: limits of one fragment's output
--   host.cover(), host.covered(name): see coverage.lua
--   host.decode(json) → value, in which null is absent: Kubernetes means the same by both; or nil and a message
--   host.decode_object(text): the same of an object's text, as E.put got it
-- No function of E raises errors of templates; E.put raises one for a kind that the program does not have.
require("haptic.traversal")
local program = require("haptic.program")
local sandbox = require("haptic.sandbox")

sandbox.install()

return function(host)
  local E = {}
  local current
  local skipped_early, resting_early = {}, {}

  --- Loads a program. After a failure the one in force stays.
  ---@param document string JSON
  ---@return string message "" when it is in force
  function E.configure(document)
    local source, problem = host.decode(document)
    if problem then return "the program is no JSON: " .. problem end
    local loaded, message = program.load(source, host, current)
    if not loaded then return message end
    current = loaded
    for id in pairs(skipped_early) do current.fragments:skip(id) end
    for namespace, seconds in pairs(resting_early) do current.fragments.turns:rest(namespace, seconds) end
    skipped_early, resting_early = {}, {}
    return ""
  end

  local function kind_of(name)
    local kind = current and current.objects.kinds[name]
    return kind or error("the program has no kind " .. tostring(name), 0)
  end

  --- An object was added or changed. The values of its index follow the JSON text.
  function E.put(kind_name, id, _, _, created, json, ...)
    local record, is_new = current.objects:put(kind_of(kind_name), id, created, json, ...)
    if record then current.fragments:object_put(kind_name, record, is_new) end
  end

  --- An object was deleted.
  function E.delete(kind_name, id)
    local record = current.objects:delete(kind_of(kind_name), id)
    if record then current.fragments:object_deleted(kind_name, record) end
  end

  --- A question of host.ask() is answered (1), or its answer no longer counts (0); before that, the object was put or
  --- deleted. refusal: "" or the reason why it may not be read.
  function E.answer(kind_name, id, known, refusal)
    current.fragments:answer(kind_of(kind_name), id, known == 1, refusal)
  end

  --- Do not run a fragment until its object changes.
  function E.skip(fragment_id)
    if current then current.fragments:skip(fragment_id) else skipped_early[fragment_id] = true end
  end

  --- The fragments of a namespace wait for this many milliseconds, because one of them has ended a renderer.
  function E.rest(namespace, ms)
    local seconds = ms / 1000
    if current then current.fragments.turns:rest(namespace, seconds) else resting_early[namespace] = seconds end
  end

  --- Runs all fragments that are affected by changes, or those whose turn it is.
  ---@return boolean complete first render of this program: everything that exists was reported
  ---@return number fragments run
  ---@return number fragments in all
  ---@return boolean unfinished something is left that can go on at once
  ---@return number|nil seconds until something else can
  function E.render()
    if not current then return false, 0, 0, false, nil end
    return current.fragments:render()
  end

  --- The place in a template where a line of a contribution was written.
  ---@return string "file:line", or "" when that is unknown
  function E.explain(fragment_id, kind, scope, key, line0)
    if not current then return "" end
    return current.fragments:explain(fragment_id, kind, scope, key, line0)
  end

  --- A prompt's question about the program in force.
  ---@param mode string "evaluate", "complete", "coverage", "timings", or "declared": of annotations, see policy.lua
  ---@return string see repl.lua, coverage.lua and timings.lua
  function E.ask(mode, question)
    if not current then return "error\nno program is loaded" end
    if mode == "declared" then
      return require("haptic.policy").answer(current.annotations, host.decode(question) or {})
    end
    local timings = current.fragments.timings
    if mode == "timings" then return timings and timings:answer(question) or "0\n" end
    if mode == "coverage" then return current.coverage and current.coverage:answer(question) or "0 " end
    current.repl = current.repl or require("haptic.repl").new(current, current:prompt_api())
    if mode == "complete" then return current.repl:complete(question) end
    return current.repl:evaluate(question)
  end

  return E
end
