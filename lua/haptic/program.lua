--- program.lua — turns a program (the JSON document of docs/design.md §11) into definitions.
--
-- The authoring API is assembled here: the functions for scripts while they load, and for their functions while they
-- run. docs/templates.md is its manual.
local annotations_of = require("haptic.annotations")
local bodies = require("haptic.body")
local emitters = require("haptic.emitters")
local foreign = require("haptic.foreign")
local fragments = require("haptic.fragments")
local helpers = require("haptic.helpers")
local http_of = require("haptic.http")
local nearest = require("haptic.nearest")
local objects = require("haptic.objects")
local owned = require("haptic.owned")
local points_of = require("haptic.points")
local rewriting = require("haptic.rewriting")
local sandbox = require("haptic.sandbox")
local settings_of = require("haptic.settings")
local statuses = require("haptic.status")
local text = require("haptic.text")
local word = require("haptic.word")

local M = {}

--- Routes without their protection lead to this backend of the base library, which answers 503.
M.CLOSED = "haptic_unavailable"


local type, error, pairs, ipairs, setmetatable, pcall = type, error, pairs, ipairs, setmetatable, pcall
local format, find = string.format, string.find

--- Owner of the fragments that are made of the program's text templates.
local MAIN = "haproxyConfig"

local function resources_table(store)
  local accessors = {}
  for name, kind in pairs(store.kinds) do
    local accessor = setmetatable(store:accessor(kind), { __index = function(_, key)
      local known = foreign.ACCESSORS[key]
      error("resources." .. name .. " has no " .. word.show(sandbox.tostring(key)) .. "; "
        .. (known and "write resources." .. name .. ":" .. known or "there are :get, :fetch and :list"), 3)
    end })
    accessors[name] = sandbox.frozen(accessor, "resources." .. name)
  end
  return setmetatable({}, {
    __index = function(_, name)
      local a = accessors[name]
      if not a then
        error("the kind " .. word.show(sandbox.tostring(name)) .. " is not watched"
          .. nearest.hint(name, sandbox.sorted_keys(accessors)), 2)
      end
      return a
    end,
    __newindex = function() error("resources cannot be assigned to", 2) end,
    __metatable = false,
  }), accessors
end

--- State while scripts load and run.
local Program = {}
Program.__index = Program

local function only_loading(self, what)
  if not self.loading then error(what .. " is for the time a script loads, not for when its functions run", 3) end
end

--- The results of a template's pcall. After an error, everything that was begun inside of it is undone. Output after a
--- lack of memory is cut at any place, so this counts as an exceeded limit, like those of the output (emitters.lua).
local function caught(self, out, body, depth, ok, ...)
  if not ok then
    self.templates.depth = depth
    if out then
      bodies.close_bodies(out, body)
      local message = ...
      if type(message) == "string" and find(message, "not enough memory$") then
        pcall(bodies.pass_limit, out, "not enough memory")
      end
    end
  end
  return ok, ...
end

function Program:api(template, accessors, resources)
  local F = self.fragments
  local A = {}

  local function kind_of(resource, what)
    for name, accessor in pairs(accessors) do
      if accessor == resource then return name end
    end
    error(what .. ": the first argument is one of resources", 3)
  end

  --- opts: guards (true, or the backend that the object's routes lead to while this fragment has no output in force).
  function A.each(resource, name, opts, fn)
    only_loading(self, "each")
    if fn == nil then opts, fn = nil, opts end
    if fn == nil then name, fn = "each", name end
    if type(fn) ~= "function" or type(name) ~= "string" or opts ~= nil and type(opts) ~= "table" then
      error("each: expected resources.KIND, a name, a function", 2)
    end
    local closed
    for key, value in pairs(opts or {}) do
      if key ~= "guards" then
        error("each: there is no option " .. word.show(sandbox.tostring(key)) .. "; did you mean guards?", 2)
      end
      if value == true then value = M.CLOSED end
      if value and not (type(value) == "string" and pcall(word.name, value, "")) then
        error("each: guards is true or the name of a backend", 2)
      end
      closed = value or nil
    end
    local kind = kind_of(resource, "each")
    if self.objects.kinds[kind].asked and not self.objects.kinds[kind].keyed then
      error(format("each: only those %s are read that a template names (watch: referenced); each_requested() makes one "
        .. "fragment for each of them", kind), 2)
    end
    F:define(template, name, kind, fn, closed)
  end

  function A.each_requested(resource, name, fn)
    only_loading(self, "each_requested")
    if type(fn) ~= "function" or type(name) ~= "string" then
      error("each_requested: expected resources.KIND, a name, a function", 2)
    end
    return F.requests:getter(F:define(template, name, kind_of(resource, "each_requested"), fn, nil, true))
  end

  function A.fragment(name, fn)
    only_loading(self, "fragment")
    if type(fn) ~= "function" or type(name) ~= "string" then error("fragment: expected a name and a function", 2) end
    F:define(template, name, nil, fn)
  end

  function A.section(header, opts, fn)
    only_loading(self, "section")
    if fn == nil and type(opts) == "function" then opts, fn = {}, opts end
    if type(header) ~= "string" or type(opts) ~= "table" or type(fn) ~= "function" then
      error("section: expected a header, options, a function", 2)
    end
    emitters.check_header(header, 2)
    emitters.check_options(opts, "section " .. word.show(header), 2)
    F:define(template, opts.name or header, nil, function(out) out:section(header, opts, fn) end)
  end

  function A.replace(full_name, fn)
    only_loading(self, "replace")
    if type(full_name) ~= "string" or type(fn) ~= "function" then
      error("replace: expected \"file:name\" and a function", 2)
    end
    self.replacements[#self.replacements + 1] = { name = full_name, fn = fn, template = template,
      where = bodies.call_site() }
  end

  function A.extend(point, order, fn)
    only_loading(self, "extend")
    if type(point) ~= "string" or type(order) ~= "number" or type(fn) ~= "function" then
      error("extend: expected a point, an order number, a function", 2)
    end
    if order % 1 ~= 0 or order < 0 or order > 1000000 then
      error("extend: the order number is a whole number from 0 to 1000000", 2)
    end
    self.points:extend(point, order, fn, template, bodies.call_site())
  end

  --- Opens a point: other templates may add to it. With a header, the additions are pieces of that section. Without
  --- one, this script places them by apply().
  function A.point(name, header)
    only_loading(self, "point")
    if type(name) ~= "string" or header ~= nil and type(header) ~= "string" then
      error("point: expected a name and, perhaps, a section's header", 2)
    end
    if not self.points:open(name, header, template) then
      error("point: " .. word.show(name) .. " is opened already", 2)
    end
  end

  function A.apply(point, body, context)
    for _, step in ipairs(self.points:steps(point)) do
      if step.fn then step.fn(body, context) else body:include(step.name, context) end
    end
  end

  function A.extended(point)
    if self.loading then error("extended is for when functions run: later scripts may add to the point", 2) end
    return #self.points:steps(point) > 0
  end

  function A.snippets(point)
    if self.loading and type(point) == "string" then self.points:open(point) end
    local list = {}
    for i, s in ipairs(self.templates:matching(point)) do list[i] = { name = s.name, order = s.order } end
    return list
  end

  function A.shared(name, fn)
    only_loading(self, "shared")
    if type(fn) ~= "function" or type(name) ~= "string" then error("shared: expected a name and a function", 2) end
    return F:share(template, name, fn)
  end

  --- Declares keys of extraContext: name → {type=, default=, …}; from then on `context` has their values.
  function A.settings(specs)
    only_loading(self, "settings")
    self.context_settings:declare(template, specs, 2)
  end

  --- Declare annotations: name → declaration (annotations.lua).
  function A.annotations(specs)
    only_loading(self, "annotations")
    self.annotations:declare(template, specs, 2)
  end

  --- The keys of a family of controllers, for declared annotations and for keys without effect.
  function A.family(prefix, keys)
    only_loading(self, "family")
    self.annotations:family(prefix, keys, 2)
  end

  --- Values of declared names: levels are {kind=, values=, family=}, the nearest to the route first.
  function A.annotated(names, levels, tell) return self.annotations:read(names, levels, tell) end

  --- The keys of a family with their declarations.
  function A.annotation_keys(prefix) return self.annotations:keys(prefix) end

  --- The declaration of an annotation's key on a kind of object; nil when it is not declared.
  function A.annotation(key, kind)
    if type(key) ~= "string" then
      error('annotation: the first argument is a key, such as "haproxy-haptic.org/timeout-server"; the value that an '
        .. 'object has is dig(object, "metadata", "annotations", "KEY")', 2)
    end
    return self.annotations:look(key, kind)
  end

  --- The declared key that is most like one that is not declared; nil when none is like it.
  function A.annotation_near(key, kind) return self.annotations:near(key, kind) end

  function A.provide(name, value)
    only_loading(self, "provide")
    if self.provided[name] ~= nil then error("provide: " .. sandbox.tostring(name) .. " is provided already", 2) end
    self.provided[name] = value
  end

  function A.use(name)
    local value = self.provided[name]
    if value == nil then error("use: no script before this one provides " .. word.show(sandbox.tostring(name))
      .. nearest.hint(name, sandbox.sorted_keys(self.provided)), 2) end
    return value
  end

  function A.pcall(fn, ...)
    local out = F.out
    return caught(self, out, out and bodies.open_body(out), self.templates.depth, pcall(fn, ...))
  end

  function A.fail(message)
    error(sandbox.tostring(message), 2)
  end

  --- object: nil or the fragment's own object; another object is named in the message.
  function A.warn(object, reason, message)
    local out = F.out
    if not out then error("warn: nothing runs", 2) end
    local m = type(object) == "table" and object.metadata
    local named = m and (m.namespace and m.namespace .. "/" .. sandbox.tostring(m.name) or m.name)
    if named and named ~= self:owner_id() then
      message = sandbox.tostring(object.kind or "object") .. " " .. named .. ": " .. sandbox.tostring(message)
    end
    local ok, e = pcall(out.warn, out, reason, message)
    if not ok then error("warn: " .. e, 2) end
  end

  function A.watched(name) return accessors[name] ~= nil end

  --- True when templates may write the status of this kind's objects.
  function A.may_patch_status(name) return self.settings.statuses[name] == true end

  function A.hash(v)
    if type(v) ~= "string" then error("hash: expected a string, got " .. type(v), 2) end
    return self.settings.digest(v)
  end

  --- The users of a password file (htpasswd) in a Secret: a list of {name=, password=}, in the order of the file, each
  --- name once. nil and a message when there is no such file.
  function A.htpasswd(secret, key)
    if type(secret) ~= "table" or type(key) ~= "string" then error("htpasswd: expected a Secret and a key", 2) end
    local handle = helpers.dig(secret, "data", key)
    if handle == nil then return nil, "the Secret has no key " .. word.show(key) end
    local users, seen = {}, {}
    for _, user in ipairs(helpers.dig(secret, "users", handle) or {}) do
      if not seen[user.name] then
        seen[user.name], users[#users + 1] = true, { name = user.name, password = user.password }
      end
    end
    if #users == 0 then
      return nil, "the key " .. word.show(key) .. " is no password file; those are auth and htpasswd"
    end
    return users
  end

  --- The 4 or 16 bytes of an IPv4 or IPv6 address, as the C library parses it; nil for other texts.
  function A.address_parse(s)
    if type(s) ~= "string" then error("address_parse: expected a string, got " .. type(s), 2) end
    return self.settings.address_parse(s)
  end

  --- The value of a JSON text; null becomes absent. nil and a message for other texts.
  function A.json_decode(s)
    if type(s) ~= "string" then error("json_decode: expected a string, got " .. type(s), 2) end
    return self.settings.decode(s)
  end

  A.resources = resources
  A.http = self.http
  A.context = self.context_settings:context()
  A.capabilities = settings_of.deep_copy(self.source.capabilities or {})
  A.keys, A.sort_by, A.group_by, A.dig = helpers.keys, helpers.sort_by, helpers.group_by, helpers.dig
  A.b64encode, A.b64decode = helpers.b64encode, helpers.b64decode
  A.json = helpers.json_encode
  A.regex_escape, A.format_escape = helpers.regex_escape, helpers.format_escape
  A.from_env = word.from_env
  A.path = sandbox.frozen(helpers.path, "path")
  return A
end

--- What a script sees, for a prompt.
function Program:prompt_api() return self:api("prompt", self.accessors, self.resources) end

function Program:owner_id()
  local f = self.fragments.running
  return f and self.fragments:owner_id(f) or ""
end

local function names_of(t) return t and sandbox.sorted_keys(t) or {} end

--- All templates' texts: list of {source=, is_library=}.
function Program:texts()
  local source, texts = self.source, {}
  for _, script in ipairs(source.scripts or {}) do
    texts[#texts + 1] = { source = script.source, is_library = script.library == true }
  end
  for _, group in ipairs({ source.snippets or {}, source.maps or {}, source.files or {}, source.certificates or {},
    source.crtLists or {} }) do
    for _, name in ipairs(names_of(group)) do texts[#texts + 1] = { source = group[name] } end
  end
  if type(source.haproxyConfig) == "string" then texts[#texts + 1] = { source = source.haproxyConfig } end
  return texts
end

--- Errors in the settings are reported by fragments, one for each.
function Program:tell_settings(texts)
  self.context_settings:find_unknown(texts)
  self.context_settings:each_problem(function(name, reason, message)
    self.fragments:define("extraContext", name, nil, function(out) out:warn(reason, message) end)
  end)
end

--- The additions to points become fragments.
---@return string|nil message
function Program:take_points(texts)
  local sources = {}
  for i, t in ipairs(texts) do sources[i] = t.source end
  self.points:define(function(template, name, fn) self.fragments:define(template, name, nil, fn) end)
  return self.points:problem(sources)
end

local function text_template(self, accessors, resources, name, source)
  local api = self:api(name, accessors, resources)
  for fname, fn in pairs(self.templates:functions()) do api[fname] = fn end
  local message = self.templates:add(name, source, sandbox.environment(api))
  if not message and self.coverage then self.coverage:add(name, self.templates.chunks[name]) end
  return message
end

--- Compile and load a program.
---@param source table the decoded document
---@param host table
---@param before table|nil the program in force; objects of kinds that stay are taken over
---@return table|nil program
---@return string|nil message
function M.load(source, host, before)
  if type(source) ~= "table" then return nil, "the program is not an object" end
  local settings = { digest = host.digest, decode = host.decode,
    address_parse = host.address_parse, allow_raw = source.allowRaw == true,
    checked = source.checked == true, max_bytes = host.fragment_bytes, max_contributions = host.contributions,
    statuses = statuses.declared(source.kinds), owned = owned.declared(source.kinds) }
  local F = fragments.new(host, settings)
  local self = setmetatable({
    source = source, settings = settings, fragments = F, templates = text.new(settings), loading = true,
    provided = {}, replacements = {},
    context_settings = settings_of.new(source.extraContext), annotations = annotations_of.new(),
  }, Program)
  for _, k in ipairs(source.kinds or {}) do
    if type(k.name) ~= "string" or type(k.parts) ~= "number" or k.parts % 1 ~= 0 or k.parts < 0 then
      return nil, "the program's kinds need a name and a number of parts"
    end
  end
  self.objects = objects.new(source.kinds or {}, F.tracker, F:marker(), host.decode_object, F.asking)
  F.objects = self.objects
  self.http = http_of.new(F, host.digest):api()
  local resources, accessors = resources_table(self.objects)
  self.resources, self.accessors = resources, accessors
  settings.templates = self.templates
  if source.timings == true then F.timings = require("haptic.timings").new(host) end
  if source.coverage == true then self.coverage = require("haptic.coverage").new(host) end
  self.points = points_of.new(self.templates)

  for _, name in ipairs(names_of(source.snippets)) do
    local message = text_template(self, accessors, resources, name, source.snippets[name])
    if message then return nil, message end
  end
  for _, script in ipairs(source.scripts or {}) do
    local env = sandbox.environment(self:api(script.name, accessors, resources))
    local chunk, message = sandbox.load(script.source, script.name, env)
    if not chunk then return nil, message end
    if self.coverage then self.coverage:add(script.name, chunk) end
    local ok, e = xpcall(chunk, text.handler)
    if not ok then
      -- This error has no place of its own, because the handler does not run for it.
      return nil, e == "not enough memory" and script.name .. ": " .. e or e
    end
  end

  -- Whole files: a prefix distinguishes the names of their templates from those of snippets.
  local ok, rewrites = pcall(rewriting.compile, source.rewrites, host)
  if not ok then return nil, "postProcessing: " .. sandbox.tostring(rewrites) end
  self.templates.rewrites = rewrites
  local function file_template(prefix, name, template, mode, finish)
    local full = prefix .. name
    local message = text_template(self, accessors, resources, full, template)
    if message then return message end
    F:define(full, "text", nil, function(out) self.templates:render_file(full, mode, out, name, finish) end)
    return nil
  end
  if type(source.haproxyConfig) == "string" then
    local message = file_template("", MAIN, source.haproxyConfig, "config", text.split_config)
    if message then return nil, message end
  end
  for _, name in ipairs(names_of(source.maps)) do
    local message = file_template("maps/", name, source.maps[name], "map", text.split_map)
    if message then return nil, message end
  end
  for _, name in ipairs(names_of(source.files)) do
    local message = file_template("files/", name, source.files[name], "file",
      function(out, file, rendered) out:file(file, rendered) end)
    if message then return nil, message end
  end
  for _, name in ipairs(names_of(source.certificates)) do
    local message = file_template("certs/", name, source.certificates[name], "file", function(out, file, rendered)
      if not find(rendered, "%S") then error("the certificate " .. file .. " is empty", 0) end
      out:certificate(file, { cert = rendered })
    end)
    if message then return nil, message end
  end
  for _, name in ipairs(names_of(source.crtLists)) do
    local message = file_template("certs/", name, source.crtLists[name], "list", text.split_crt_list)
    if message then return nil, message end
  end

  local texts = self:texts()
  local problem = self:take_points(texts)
  if problem then return nil, problem end
  self:tell_settings(texts)
  for _, r in ipairs(self.replacements) do
    local def = F.by_name[r.name]
    if not def then
      return nil, format("%s: replace: there is no fragment %s%s", r.where, word.show(r.name),
        nearest.hint(r.name, sandbox.sorted_keys(F.by_name)))
    end
    def.fn, def.template = r.fn, r.template
  end
  self.loading = false

  if before then
    for name, kind in pairs(self.objects.kinds) do
      local old = before.objects.kinds[name]
      if old and old.parts == kind.parts then kind.by_id = old.by_id end
    end
  end
  F:start()
  return self
end

return M
