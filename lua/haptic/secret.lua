--- secret.lua — what templates see of the values of Secrets: handles (core/store/vault.h).
--
-- A handle is a word that the core replaces by the value when it writes for HAProxy. So what changes the text of a
-- value cannot be done here: it is asked for by another end of the handle, or refused.
local M = {}

local find, gsub, error = string.find, string.gsub, error

local PREFIX = "HapticSecret"
local DIGITS = PREFIX .. ("[0-9a-f]"):rep(32)

--- Is the text of a handle in it?
function M.is_in(s) return find(s, PREFIX, 1, true) ~= nil and find(s, DIGITS) ~= nil end

--- Is it one handle and nothing else?
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
