--- host.lua — the renderer's host, in Lua: what the core does with contributions, for specs.
--
-- It keeps each fragment's newest output, resolves equal keys by the documented rule and writes haproxy.cfg and the
-- maps in canonical order.
local cjson = require("cjson").new()
local ffi = require("ffi")

ffi.cdef [[
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
int inet_pton(int family, const char *text, void *bytes);
]]
local crypto = ffi.load("crypto")

local M = {}

M.SECTION, M.SECTION_FROM, M.MAP_ENTRY, M.FILE, M.WARNING = 0, 1, 2, 3, 8

--- 32 hexadecimal digits of a string.
function M.digest(s)
  local md = ffi.new("unsigned char[32]")
  crypto.SHA256(s, #s, md)
  local out = {}
  for i = 0, 15 do out[#out + 1] = string.format("%02x", md[i]) end
  return table.concat(out)
end

local function drop_nulls(t)
  for k, v in pairs(t) do
    if v == cjson.null then
      t[k] = nil
    elseif type(v) == "table" then
      drop_nulls(v)
    end
  end
  return t
end

--- The bytes of an address, or nil: what the core's host does.
function M.address_parse(text)
  local AF_INET, AF_INET6 = 2, 10
  local bytes = ffi.new("unsigned char[16]")
  if text:find("%z") then return nil end
  if ffi.C.inet_pton(AF_INET, text, bytes) == 1 then return ffi.string(bytes, 4) end
  if ffi.C.inet_pton(AF_INET6, text, bytes) == 1 then return ffi.string(bytes, 16) end
  return nil
end

--- JSON text as Lua values, null as absent; nil and a message when it is none.
function M.decode(text)
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil, tostring(value) end
  if type(value) == "table" then return drop_nulls(value) end
  if value == cjson.null then return nil end
  return value
end

--- The six values of each contribution as one string.
local function signature(items, n)
  local parts = {}
  for i = 1, n * 6 do parts[i] = #tostring(items[i]) .. ":" .. tostring(items[i]) end
  return M.digest(table.concat(parts))
end

local Host = {}
Host.__index = Host

--- A new host. Its `fragments`: id → {id, template, kind, owner, created, items = list of {kind, rank, order, scope,
--- key, text}}.
function M.new()
  local self = setmetatable({ fragments = {}, failures = {}, sent = {}, at_log = {}, gone_log = {}, bytes = {},
    by_namespace = {}, total = 0, freed = 0, max_bytes = math.huge, held = {}, waits = {},
    asked = {} }, Host)
  self.api = {
    at = function(id) self.at_log[#self.at_log + 1] = id end,
    fragment = function(id, template, kind, owner, created, items, n, before, again)
      local digest = signature(items, n)
      local bytes, old = #digest, before and self.bytes[id] or 0
      for i = 1, n * 6 do bytes = bytes + #tostring(items[i]) end
      local namespace = owner:match("^(.-)/") or ""
      if bytes > old and not self:has_room(namespace, bytes - old) then return nil, "room", bytes - old end
      self:account(namespace, bytes - old)
      self.bytes[id] = bytes
      if digest == before and not again then return digest end
      local list = {}
      for i = 0, n - 1 do
        list[i + 1] = { kind = items[i * 6 + 1], rank = items[i * 6 + 2], order = items[i * 6 + 3],
          scope = items[i * 6 + 4],
          key = items[i * 6 + 5], text = items[i * 6 + 6] }
      end
      self.fragments[id] = { id = id, template = template, kind = kind, owner = owner, created = created, items = list }
      self.failures[id] = nil
      self.sent[#self.sent + 1] = id
      return digest
    end,
    gone = function(id)
      local f = self.fragments[id]
      if f then self:account(f.owner:match("^(.-)/") or "", -(self.bytes[id] or 0)) end
      self.bytes[id] = nil
      self.fragments[id], self.failures[id] = nil, nil
      self.gone_log[#self.gone_log + 1] = id
    end,
    failed = function(id, _, _, _, _, message) self.failures[id] = message end,
    held = function(namespace, by_size, by_time)
      local h = self.held[namespace] or { size = 0, time = 0 }
      self.held[namespace] = { size = h.size + by_size, time = h.time + by_time }
    end,
    ask = function(kind, id, wanted) self.asked[#self.asked + 1] = (wanted and "+" or "-") .. kind .. " " .. id end,
    waits = function(id) self.waits[#self.waits + 1] = id end,
    fits = function(namespace, bytes) return self:has_room(namespace, bytes) end,
    released = function() return self.freed end,
    log = function() end,
    digest = M.digest,
    decode = M.decode, decode_object = M.decode,
    address_parse = M.address_parse,
  }
  return self
end

--- Forget what was noted since the last call.
function Host:reset()
  self.sent, self.at_log, self.gone_log, self.held, self.waits, self.asked = {}, {}, {}, {}, {}, {}
end

--- The rule of core/engine/room.c: a namespace may hold as much as stays free for others.
function Host:has_room(namespace, bytes)
  return self.total + bytes + (self.by_namespace[namespace] or 0) + bytes <= self.max_bytes
end

function Host:account(namespace, bytes)
  self.total = self.total + bytes
  self.by_namespace[namespace] = (self.by_namespace[namespace] or 0) + bytes
  if bytes < 0 then self.freed = self.freed + 1 end
end

local function wins(a, b)
  if a.created ~= b.created then
    if a.created == 0 or b.created == 0 then return a.created == 0 end
    return a.created < b.created
  end
  if a.owner ~= b.owner then return a.owner < b.owner end
  return a.id < b.id
end

--- The winning item of each kind, scope and key: list of {kind, scope, key, text, rank, order, fragment}.
function Host:winners()
  local by_key = {}
  for _, f in pairs(self.fragments) do
    for _, item in ipairs(f.items) do
      local key = item.kind .. "\0" .. item.scope .. "\0" .. item.key
      if item.kind == M.WARNING then key = key .. "\0" .. f.id end
      local before = by_key[key]
      if not before or wins(f, before.fragment) then
        by_key[key] = { kind = item.kind, rank = item.rank, order = item.order, scope = item.scope, key = item.key,
          text = item.text, fragment = f }
      end
    end
  end
  local list = {}
  for _, item in pairs(by_key) do list[#list + 1] = item end
  return list
end

--- {config = text, maps = {name = text}, files = {name = text}, warnings = {owner = {reason = message}}}
function Host:output()
  local sections, maps, files, warnings = {}, {}, {}, {}
  for _, item in ipairs(self:winners()) do
    if item.kind == M.SECTION or item.kind == M.SECTION_FROM then
      local s = sections[item.scope] or { scope = item.scope, pieces = {}, rank = math.huge }
      sections[item.scope] = s
      s.rank = math.min(s.rank, item.rank)
      if item.kind == M.SECTION then s.pieces[#s.pieces + 1] = item else s.from = item.text end
    elseif item.kind == M.MAP_ENTRY then
      maps[item.scope] = maps[item.scope] or {}
      if item.key ~= "" then table.insert(maps[item.scope], item) end
    elseif item.kind == M.FILE then
      files[item.scope] = item.text
    elseif item.kind == M.WARNING then
      warnings[item.fragment.owner] = warnings[item.fragment.owner] or {}
      warnings[item.fragment.owner][item.key] = item.text
    end
  end
  local order = {}
  for _, s in pairs(sections) do
    if #s.pieces > 0 then order[#order + 1] = s end
  end
  table.sort(order, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.scope < b.scope
  end)
  local out = {}
  for _, s in ipairs(order) do
    out[#out + 1] = s.scope .. (s.from and " from " .. s.from or "") .. "\n"
    table.sort(s.pieces, function(a, b)
      if a.order ~= b.order then return a.order < b.order end
      return a.key < b.key
    end)
    for _, p in ipairs(s.pieces) do
      for line in p.text:gmatch("([^\n]*)\n") do out[#out + 1] = "    " .. line .. "\n" end
    end
    out[#out + 1] = "\n"
  end
  local texts = {}
  for name, entries in pairs(maps) do
    table.sort(entries, function(a, b) return a.key < b.key end)
    local lines = {}
    for _, e in ipairs(entries) do lines[#lines + 1] = e.key .. " " .. e.text .. "\n" end
    texts[name] = table.concat(lines)
  end
  return { config = table.concat(out), maps = texts, files = files, warnings = warnings }
end

--- All of the output as one text, for comparisons.
function Host:dump()
  local o = self:output()
  local parts = { o.config }
  for _, group in ipairs({ "maps", "files" }) do
    local names = {}
    for name in pairs(o[group]) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do parts[#parts + 1] = "== " .. group .. "/" .. name .. "\n" .. o[group][name] end
  end
  local lines = {}
  for owner, reasons in pairs(o.warnings) do
    for reason, message in pairs(reasons) do lines[#lines + 1] = owner .. " " .. reason .. ": " .. message .. "\n" end
  end
  for id, message in pairs(self.failures) do lines[#lines + 1] = "failed " .. id .. ": " .. message .. "\n" end
  table.sort(lines)
  parts[#parts + 1] = "== notes\n" .. table.concat(lines)
  return table.concat(parts)
end

return M
