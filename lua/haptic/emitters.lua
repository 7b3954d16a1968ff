--- emitters.lua — what a fragment puts out.
--
-- `Out` collects the contributions of one run as a flat list, six values each (kind, rank, order, scope, key, text):
-- the form in which they leave the renderer. The lines of a section are written to a body (body.lua). A backend's lines
-- other than its servers go into a named defaults section, called by the digest of its content, so that a new backend
-- with known properties consists of servers only.
local bodies = require("haptic.body")
local certificates = require("haptic.certificates")
local nearest = require("haptic.nearest")
local owned = require("haptic.owned")
local profile = require("haptic.profile")
local statuses = require("haptic.status")
local word = require("haptic.word")
local sandbox = require("haptic.sandbox")

local M = {}

local type, error, setmetatable, ipairs, pairs = type, error, setmetatable, ipairs, pairs
local format, find, sub, match = string.format, string.find, string.sub, string.match
local concat = table.concat
local text_of, name_of = word.text, word.name
local SETTINGS, GATHERED, BYTES, OPEN = bodies.SETTINGS, bodies.GATHERED, bodies.BYTES, bodies.OPEN
local count, check_self, pass_limit, call_site = bodies.count, bodies.check_self, bodies.pass_limit, bodies.call_site
local MAX_WORD, BARE = word.MAX_WORD, word.BARE

-- A field that no template can name: the kind of the fragment's object.
local KIND = {}

--- Numbers of enum contribution_kind.
M.SECTION, M.SECTION_FROM, M.MAP_ENTRY, M.FILE, M.CERTIFICATE = 0, 1, 2, 3, 4
M.CRT_LIST, M.STATUS, M.EVENT, M.WARNING, M.GUARD, M.FETCH, M.OBJECT = 5, 6, 7, 8, 9, 10, 11

--- The place of a section in the file, by its first word. Sections that others refer to come first; any other word:
--- 100.
M.RANKS = { global = 0, defaults = 200, frontend = 300, listen = 350, backend = 400 }
--- Profiles are defaults sections, placed after those with a name of their own.
M.PROFILE_RANK = 250
--- HAProxy derives a section without "from" from the last defaults section before it, whatever its purpose. A section
--- that is to be derived from nothing is derived from this empty one.
M.NO_DEFAULTS, M.NO_DEFAULTS_RANK = "haptic_none", 190
--- The default order of a piece within its section.
M.ORDER = 500
--- Longest text of the warnings or events with one reason, in bytes, what ends it where some of them have no room, and
--- how many reasons one output has them for. An Event of Kubernetes has the first 1024 bytes.
M.MAX_MESSAGE, M.MORE = 4096, "; and more"
M.MAX_REASONS = 100
local Out = {}
local OUT = { __index = Out, __metatable = false }

--- What the outputs of a program share.
---@param settings table {digest=function, allow_raw=boolean, templates=table, max_bytes=number of one fragment,
--- max_contributions=number}; becomes the result
function M.settings(settings)
  settings.spare = {}
  settings.max_bytes = settings.max_bytes or math.huge
  settings.max_contributions = settings.max_contributions or math.huge
  return settings
end

--- One run's output.
---@param settings table from settings()
---@param id string names pieces that have no key of their own
---@param items table|nil a list to use again
---@param trace boolean|nil note where each line comes from
function M.new(settings, id, items, trace)
  local out = setmetatable({ [SETTINGS] = settings, [BYTES] = 0, id = id, items = items or {}, n = 0 }, OUT)
  if trace then out.trace = {} end
  return out
end

--- True when another run's output has the same contributions.
function M.is_same(a, b)
  if a.n ~= b.n then return false end
  for i = 1, a.n * 6 do
    if a.items[i] ~= b.items[i] then return false end
  end
  return true
end

-- Up to this number of contributions a search is faster than an index.
local SEARCH = 16

--- Index of all contributions: kind → scope → key → base.
local function index_of(self)
  local index = self.index
  if not index then
    index = {}
    self.index = index
    local items = self.items
    for base = 0, self.n * 6 - 6, 6 do
      local kind, scope = items[base + 1], items[base + 4]
      index[kind] = index[kind] or {}
      index[kind][scope] = index[kind][scope] or {}
      index[kind][scope][items[base + 5]] = base
    end
  end
  return index
end

--- Where this run's contribution of that kind, scope and key begins in items, or nil.
local function find_item(self, kind, scope, key)
  if self.n > SEARCH then
    local scopes = index_of(self)[kind]
    local keys = scopes and scopes[scope]
    return keys and keys[key]
  end
  local items = self.items
  for base = 0, self.n * 6 - 6, 6 do
    if items[base + 5] == key and items[base + 4] == scope and items[base + 1] == kind then return base end
  end
  return nil
end

-- The data of a contribution besides its texts, in the form that is sent.
local ITEM_BYTES = 40

--- Add a contribution. False when this run has one of the same kind, scope and key with another text; the first stays.
---@return boolean
---@return number base of it in items
local function put(self, kind, rank, order, scope, key, text, where)
  local items, seen = self.items, find_item(self, kind, scope, key)
  if seen then return items[seen + 6] == text, seen end
  local n = self.n
  if n >= self[SETTINGS].max_contributions then
    pass_limit(self, format("more than %d contributions of one fragment", n))
  end
  count(self, #scope + #key + #text + ITEM_BYTES)
  local base = n * 6
  items[base + 1], items[base + 2], items[base + 3] = kind, rank, order
  items[base + 4], items[base + 5], items[base + 6] = scope, key, text
  self.n = n + 1
  local index = self.index
  if index then
    index[kind] = index[kind] or {}
    index[kind][scope] = index[kind][scope] or {}
    index[kind][scope][key] = base
  end
  if self.trace then self.trace[self.n] = where or call_site() end
  return true, base
end
M.put = put

--- A section with an error is dropped as a whole: the contributions after the first n are removed.
local function take_back(self, n, bytes)
  self.n, self[BYTES], self.index = n, bytes, nil
end

local MAX_PLACE = 1000000

local function check_place(v, what, level)
  if v ~= nil and (type(v) ~= "number" or v % 1 ~= 0 or v < 0 or v > MAX_PLACE) then
    error(what .. " must be a whole number from 0 to " .. MAX_PLACE, level + 1)
  end
end

--- Lines as text, each with its end.
local function join(lines, n)
  if n == 0 then return "" end
  lines[n + 1] = ""
  return concat(lines, "\n", 1, n + 1)
end

-- Sections that HAProxy can derive from a defaults section, and sections that are one piece.
local DERIVED = { backend = true, frontend = true, listen = true }
M.DERIVED = DERIVED
--- Sections without a name.
local NAMELESS = { global = true, defaults = true, ["crt-store"] = true }
local WHOLE = { backend = true, listen = true, defaults = true }

--- The lines of a backend that move become a contribution of their own. Returns the name of the profile, the lines that
--- stay, and where they were written.
local function emit_profile(self, g, moves, from)
  local where = g.where
  local kept, kept_where, moved, moved_where = {}, where and {}, {}, where and {}
  for i = 1, g.n do
    local to, to_where = kept, kept_where
    if moves[i] then to, to_where = moved, moved_where end
    to[#to + 1] = g.lines[i]
    if where then to_where[#to] = where[i] end
  end
  local text = join(moved, #moved)
  local name = "p_" .. sub(self[SETTINGS].digest(from .. "\n" .. text), 1, 16)
  put(self, M.SECTION, M.PROFILE_RANK, M.ORDER, "defaults " .. name, "body", text, moved_where)
  put(self, M.SECTION_FROM, M.PROFILE_RANK, 0, "defaults " .. name, "from", from)
  return name, kept, kept_where
end

--- The empty defaults section; its name.
local function put_no_defaults(self)
  put(self, M.SECTION, M.NO_DEFAULTS_RANK, M.ORDER, "defaults " .. M.NO_DEFAULTS, "body", "")
  return M.NO_DEFAULTS
end
M.put_no_defaults = put_no_defaults

local NO_OPTIONS = {}
local OPTIONS = { from = true, order = true, key = true, rank = true, profile = true, name = true }

--- Raises an error in a section's options.
local function check_options(opts, what, level)
  if type(opts) ~= "table" then error(what .. ": expected a table of options, got a " .. type(opts), level + 1) end
  nearest.check_fields(opts, OPTIONS, what, level + 1)
  for k in pairs(opts) do
    if type(k) == "number" then
      error(what .. ": an option without a name: " .. sandbox.tostring(opts[k]), level + 1)
    end
  end
  if opts.from ~= nil and opts.from ~= false and type(opts.from) ~= "string" then
    error(what .. ": from is the name of a defaults section, or false", level + 1)
  end
  if opts.key ~= nil and type(opts.key) ~= "string" then error(what .. ": key is a string", level + 1) end
  if opts.profile ~= nil and type(opts.profile) ~= "boolean" then
    error(what .. ": profile is true or false", level + 1)
  end
  check_place(opts.rank, what .. ": rank", level + 1)
  check_place(opts.order, what .. ": order", level + 1)
  return opts
end
M.check_options = check_options

--- Keyword and name of a section's header. Raises an error in it.
local function check_header(header, level)
  if type(header) ~= "string" then error("section: expected a header such as \"frontend http\"", level + 1) end
  local kind, name = match(header, "^(%l[%l_-]*) ?(.*)$")
  if not kind or name ~= "" and not pcall(name_of, name, "") then
    error("section: no valid header: " .. word.show(header), level + 1)
  end
  if not word.SECTIONS[kind] then
    error("section: no section of HAProxy is called " .. word.show(kind)
      .. nearest.hint(kind, sandbox.sorted_keys(word.SECTIONS)), level + 1)
  end
  return kind, name
end
M.check_header = check_header

--- Where a section's header was written. The call itself may be over, as in a script's section(): then where its
--- function begins.
local function header_site(fn)
  local site = call_site()
  if site ~= "" then return site end
  local info = debug.getinfo(fn, "S")
  return sub(info.source, 1, 1) == "=" and sub(info.source, 2) .. ":" .. info.linedefined or ""
end

local function emit_section(self, kind, name, scope, opts, fn, level)
  opts = opts and check_options(opts, "section " .. word.show(scope), level + 1) or NO_OPTIONS
  if name == "" and not NAMELESS[kind] then
    error("section " .. word.show(scope) .. " has no name", level + 1)
  end
  local body = bodies.new(self)
  local outer = self[OPEN]
  self[OPEN], body[OPEN] = body, outer
  fn(body)
  local rank = opts.rank or M.RANKS[kind] or 100
  local order = opts.order or M.ORDER
  local key = opts.key or WHOLE[kind] and "body" or self.id
  local from = opts.from
  if from == nil and DERIVED[kind] then from = "base" end
  local gathered = body[GATHERED]
  local lines, n, where = gathered.lines, gathered.n, gathered.where
  self[OPEN] = outer
  bodies.counted(self, gathered)
  local n_before, bytes_before = self.n, self[BYTES]
  local moves = kind == "backend" and from and opts.profile ~= false and profile.moving(gathered) or nil
  if moves then
    from, lines, where = emit_profile(self, gathered, moves, from)
    n = #lines
  end
  local text = join(lines, n)
  bodies.done(body)
  if not put(self, M.SECTION, rank, order, scope, key, text, where) then
    take_back(self, n_before, bytes_before)
    error(format("section %s: piece %s is emitted twice with different content", word.show(scope), word.show(key)),
      level + 1)
  end
  if from == false and DERIVED[kind] then from = put_no_defaults(self) end
  local site = self.trace and header_site(fn) or nil
  if from and not put(self, M.SECTION_FROM, rank, 0, scope, "from", from, site) then
    take_back(self, n_before, bytes_before)
    error(format("section %s: derived from two different defaults sections", word.show(scope)), level + 1)
  end
end

local function section_call(self, kind, name, scope, opts, fn)
  if type(opts) == "function" and fn == nil then opts, fn = nil, opts end
  if type(fn) ~= "function" then error("expected a function that writes the section", 3) end
  emit_section(self, kind, name, scope, opts, fn, 3)
end

--- A piece of a section by its header ("frontend http", "resolvers dns", "global").
--- opts: from (defaults section; false: none), rank, order, key, profile (false: lines of a backend stay in it).
function Out:section(scope, opts, fn)
  check_self(self, SETTINGS, "out", "section", 2)
  local kind, name = check_header(scope, 2)
  section_call(self, kind, name, scope, opts, fn)
end

for _, kind in ipairs({ "backend", "frontend", "defaults" }) do
  local prefix, what = kind .. " ", "the " .. kind .. "'s name"
  Out[kind] = function(self, name, opts, fn)
    check_self(self, SETTINGS, "out", kind, 2)
    if type(name) ~= "string" or #name > word.MAX_NAME or not find(name, word.NAME) then
      local ok, result = pcall(name_of, name, what)
      if not ok then error(result, 2) end
      name = result
    end
    section_call(self, kind, name, prefix .. name, opts, fn)
  end
end

--- A line of the global section.
function Out:global(...)
  check_self(self, SETTINGS, "out", "global", 2)
  if not self.global_body then self.global_body = bodies.new(self) end
  local ok, message = pcall(self.global_body.line, self.global_body, ...)
  if not ok then error(message, 2) end
end

--- Declares a map, so that it exists even without entries.
--- opts: duplicate (the Reason of the message to an owner whose key an older object has), means (the meaning of a key,
--- in words).
function Out:map(map, opts)
  check_self(self, SETTINGS, "out", "map", 2)
  local text = ""
  if opts ~= nil then
    if type(opts) ~= "table" then error("map: expected a table of options", 2) end
    local reason, means = opts.duplicate or "DuplicateKey", opts.means
    if type(reason) ~= "string" or not find(reason, "^%u%w*$") or #reason > 60 then
      error("map: duplicate is one CamelCase word, got " .. word.show(sandbox.tostring(reason)), 2)
    end
    if means ~= nil and (type(means) ~= "string" or not find(means, "^[%w][%w ,.-]*$") or #means > 60) then
      error("map: means is a few words that say what a key is", 2)
    end
    text = means and reason .. " " .. means or reason
  end
  put(self, M.MAP_ENTRY, 0, 0, word.file_name(map, "the map's name"), "", text)
end

local function entry_check(map, key, value)
  local m = word.file_name(map, "the map's name")
  local k = text_of(key, "the key")
  local v = text_of(value, "the value")
  word.check(k, "the key")
  word.check(v, "the value")
  -- Blanks end a key, and "#" at the beginning makes a comment of it; a map has no quotes.
  if k == "" or find(k, "[%s#]") and (find(k, "%s") or sub(k, 1, 1) == "#") then
    error("the key is empty, has blanks, or begins with '#': " .. word.show(k), 0)
  end
  if v == "" or find(v, "^%s") or find(v, "%s$") or find(v, "\t", 1, true) then
    error("the value is empty, begins or ends with a blank, or has a tab: " .. word.show(v), 0)
  end
  return m, k, v
end

-- Names of maps that were checked before; there are few.
local MAPS_MAX = 256
local map_names, map_count = {}, 0

--- An entry of a map. False when this run gave the key another value before: the first one stays.
---@return boolean
function Out:map_entry(map, key, value)
  check_self(self, SETTINGS, "out", "map_entry", 2)
  if not (map_names[map] and type(key) == "string" and #key <= MAX_WORD and find(key, BARE)
    and type(value) == "string" and #value <= MAX_WORD and find(value, BARE)) then
    local ok, a, b, c = pcall(entry_check, map, key, value)
    if not ok then error("map_entry: " .. a, 2) end
    map, key, value = a, b, c
    if not map_names[map] and map_count < MAPS_MAX then map_names[map], map_count = true, map_count + 1 end
  end
  return (put(self, M.MAP_ENTRY, 0, 0, map, key, value))
end

--- A file in the folder of files; its content may be any text.
function Out:file(name, text)
  check_self(self, SETTINGS, "out", "file", 2)
  local ok, message = pcall(word.file_name, name, "the file's name")
  if not ok then error("file: " .. message, 2) end
  if type(text) ~= "string" then error("file: the content is a " .. type(text) .. ", not a string", 2) end
  if not put(self, M.FILE, 0, 0, name, "", text) then
    error("file: " .. name .. " is emitted twice with different content", 2)
  end
end

certificates.install(Out, M, put, function(self, what, level) check_self(self, SETTINGS, "out", what, level + 1) end)

local function message_put(self, kind, reason, message, level)
  if type(reason) ~= "string" or not find(reason, "^%u%w*$") or #reason > 60 then
    error("a reason is one CamelCase word, got " .. word.show(sandbox.tostring(reason)), level + 1)
  end
  local room = M.MAX_MESSAGE - #M.MORE
  local text = sub(string.gsub(sandbox.tostring(message), "%c", " "), 1, room)
  local before_n = self.n
  local same, at = put(self, kind, 0, 0, "", reason, text)
  if self.n > before_n then
    local reasons = (self.reasons or 0) + 1
    self.reasons = reasons
    if reasons > M.MAX_REASONS then
      pass_limit(self, "warnings and events for more than " .. M.MAX_REASONS .. " reasons of one fragment")
    end
  end
  if not same then
    -- One contribution per reason: further messages are added to it.
    local before = self.items[at + 6]
    if #before > room or find("; " .. before .. "; ", "; " .. text .. "; ", 1, true) then return end
    self.items[at + 6] = before .. (#before + #text + 2 <= room and "; " .. text or M.MORE)
  end
end

--- A warning for the owner of the fragment. reason: one CamelCase word.
function Out:warn(reason, message)
  check_self(self, SETTINGS, "out", "warn", 2)
  message_put(self, M.WARNING, reason, message, 2)
end

--- An event on the owner.
function Out:event(reason, message)
  check_self(self, SETTINGS, "out", "event", 2)
  message_put(self, M.EVENT, reason, message, 2)
end

--- Sets fields in the status of the fragment's object, or of another one of a declared kind: {kind=, namespace=,
--- name=}. A former wish stays until another one replaces it. options: {alone=, shared=}, for lists that other
--- controllers write as well.
function Out:status(value, target, options)
  check_self(self, SETTINGS, "out", "status", 2)
  local ok, scope, key, text = pcall(statuses.wish, value, target, self[KIND], self[SETTINGS].statuses or {}, options)
  if not ok then error("status: " .. scope, 2) end
  if not put(self, M.STATUS, 0, 0, scope, key, text) then
    error("status: this fragment wishes something else for the same object already: put it into one call", 2)
  end
end

--- An object that has to exist, as a manifest of a kind that is declared with owned: true. options: {force=}.
function Out:object(manifest, options)
  check_self(self, SETTINGS, "out", "object", 2)
  local ok, scope, key, text = pcall(owned.wish, manifest, options, self[SETTINGS].owned or {})
  if not ok then error("object: " .. scope, 2) end
  if not put(self, M.OBJECT, 0, 0, scope, key, text) then
    error("object: this fragment wants " .. scope .. " " .. key .. " in another form already", 2)
  end
end

--- The output belongs to a fragment of an object of this kind.
function M.belongs(out, kind)
  out[KIND] = kind
  return out
end

--- Fragment `id` protects its object's routes: while it has no output in force, they lead to the backend `closed`.
function M.put_guard(out, id, closed) put(out, M.GUARD, 0, 0, "", id, closed) end

--- Requests the content of a URL (http.lua).
function M.put_fetch(out, id, wish) put(out, M.FETCH, 0, 0, "", id, wish) end

--- Ends output that was written line by line. Raises an error when a limit was exceeded, even if the template has
--- caught it.
function M.finish(out)
  bodies.check_limits(out)
  local body = out.global_body
  if body then
    local g = body[GATHERED]
    out.global_body = nil
    bodies.counted(out, g)
    put(out, M.SECTION, M.RANKS.global, M.ORDER, "global", out.id, join(g.lines, g.n), g.where)
    bodies.done(body)
  end
end

M.join = join
return M
