--- secret.lua — handles, which templates see instead of the values of Secrets (core/store/vault.h).
--
-- A handle is a word that the core replaces by the value when it writes for HAProxy. So Lua code cannot change the text
-- of a value. A different suffix of the handle requests another form, or the operation is refused.
local M = {}

local find, gsub, error = string.find, string.gsub, error

local PREFIX = "HapticSecret"
local DIGITS = PREFIX .. ("[0-9a-f]"):rep(32)

--- True when the text contains a handle.
function M.is_in(s) return find(s, PREFIX, 1, true) ~= nil and find(s, DIGITS) ~= nil end

--- True when the text is exactly one handle.
function M.is_handle(s) return find(s, "^" .. DIGITS .. "%u%l%l$") ~= nil end

--- Handles in another form: "Fmt" for log-formats, "Rgx" for regular expressions.
---@param s string
---@param form string
function M.in_form(s, form)
  if not find(s, PREFIX, 1, true) then return s end
  return (gsub(s, "(" .. DIGITS .. ")(%u%l%l)", function(handle, now)
    if now ~= "End" then error("the value of a Secret is escaped twice", 0) end
    return handle .. form
  end))
end

return M
