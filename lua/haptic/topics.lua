--- topics.lua — texts of help() and apropos(): one row for each name that a template or the prompt has.
--
-- docs/templates.md is the manual; a spec compares its names, and those of the environment, with this table.
local M = {}

local type, ipairs, pairs = type, ipairs, pairs
local format, find, gmatch, lower = string.format, string.find, string.gmatch, string.lower
local match, sub, concat = string.match, string.sub, table.concat

--- name → {call, what it does}
M.rows = {
  resources = { "resources.KIND:get(namespace, name), :fetch(value, …), :list()",
    "Watched objects: one by identity (or nil), those with these index values, or all; in the order of their ids." },
  context = { "context.NAME", "Values of templatingSettings.extraContext and --set." },
  capabilities = { "capabilities.NAME", "What HAProxy can do: version, major, minor, dynamic_backends, quic, …" },
  each = { "each(resources.KIND, \"name\", function(object, out) … end)",
    "One fragment for each object. While a script loads." },
  each_requested = { "each_requested(resources.KIND, \"name\", function(object, out, asked) … end)",
    "One fragment for each object and key that others ask for with the function it returns. While a script loads." },
  fragment = { "fragment(\"name\", function(out) … end)", "A fragment of no object. While a script loads." },
  section = { "section(\"frontend http\", {order = 450}, function(b) … end)",
    "A piece of a section, of no object. While a script loads." },
  extend = { "extend(\"point\", order, function(b, it) … end)", "Add to a point. While a script loads." },
  point = { "point(\"name\", \"frontend http\")",
    "Declare a point that other scripts and snippets extend. While a script loads." },
  settings = { "settings{ name = {type = …, default = …, doc = …} }",
    "Declare settings of extraContext with their types. While a script loads." },
  annotations = { "annotations{ name = {type = …, on = …, doc = …, families = …} }",
    "Declare annotations with their keys and types. While a script loads." },
  family = { "family(\"example.com\", {honoured = {name = \"key\"}, refused = {{keys = …, on = …, reason = …}}})",
    "Keys of a family of controllers for declared annotations. While a script loads." },
  annotated = { "annotated({\"name\", …}, {{kind = \"Ingress\", values = …}, …}, function(kind, key, message) … end)",
    "The values of declared annotations, of the first level that has a right one; and which are wrong everywhere." },
  annotation = { "annotation(key, \"Ingress\")", "What is known of a key: is_honoured, protects, refused; or nil." },
  annotation_near = { "annotation_near(key, \"Ingress\")",
    "The declared key that is most like an unknown one; or nil." },
  annotation_keys = { "annotation_keys(\"haproxy.org\")",
    "The keys of a family: a list of {short, on, type, default, doc, lines, reload, tested, reason, …}." },
  apply = { "apply(\"point\", b, it)", "Open a point: what extends it is written here." },
  extended = { "extended(\"point\")", "Whether anything is added at a point. While a function runs." },
  snippets = { "snippets(\"point\")", "The text snippets of a point: a list of {name, order}." },
  replace = { "replace(\"file.lua:name\", function(object, out) … end)",
    "Take the place of a fragment. While a script loads." },
  provide = { "provide(\"name\", value)", "Give a value to later scripts." },
  use = { "use(\"name\")", "A value that an earlier script provides." },
  shared = { "shared(\"name\", function(key) … end)",
    "A value that is computed once and again when what it read has changed." },
  fail = { "fail(message)", "End this fragment: its last good output stays, the owner is told." },
  warn = { "warn(object, \"Reason\", message)", "Tell the owner of the fragment." },
  watched = { "watched(\"KIND\")", "Is this kind among the watched ones?" },
  may_patch_status = { "may_patch_status(\"KIND\")", "May out:status() write the status of its objects?" },
  path = { "path:map(name), path:file(name), path:cert(name), path:crt_list(name)",
    "The path of a file, for the configuration." },
  keys = { "keys(t)", "The keys of a table in order." },
  sort_by = { "sort_by(list, field or function)", "A sorted copy; equal ones keep their order." },
  group_by = { "group_by(list, field or function)", "Lists by key." },
  dig = { "dig(t, field, …)", "The value at a path, or nil." },
  b64encode = { "b64encode(text)",
    "Base64." }, b64decode = { "b64decode(text)", "From Base64; the handle of a Secret stays as it is." },
  json = { "json(value)", "JSON, keys in order." },
  json_decode = { "json_decode(text)", "The value of a JSON text; nil and a message when it is none." },
  regex_escape = { "regex_escape(text)", "The text as a regular expression that matches itself." },
  format_escape = { "format_escape(text)", "The text for a log-format: % doubled." },
  from_env = { "from_env(\"NAME\", \"/rest\")", "A word that begins with an environment variable of HAProxy." },
  address_parse = { "address_parse(text)", "The 4 or 16 bytes of an IPv4 or IPv6 address, or nil." },
  htpasswd = { "htpasswd(secret, \"auth\")", "The users of a password file in a Secret: a list of {name, password}." },
  hash = { "hash(text)", "32 hexadecimal digits." },
  out = { "out:map_entry(map, key, value), out:backend(name, fn), out:file(name, text), out:certificate(name, {…}), …",
    "At the prompt: an output that is thrown away after it was shown." },
  edit = { "edit(object, function(o) … end)", "Change a copy of an object, render, and show what changed." },
  remove = { "remove(object)", "Delete an object here, render, and show what changed." },
  render = { "render()", "Render, and show what changed since the last time." },
  request = { "request{host = \"shop.test\", path = \"/\", …}",
    "Ask a real HAProxy with what is rendered; the fields are those of a test's request." },
  explain = { "explain(what)",
    "Where a request goes (\"shop.test/cart\"), where a line is from (\"haproxy.cfg:12\"), what an object gives." },
  trace = { "trace(\"fragment\")", "What the fragment puts out, with the template line of each line." },
  time = { "time(fn[, count])", "The CPU time of a function, and its last result." },
  counters = { "counters([most])",
    "At the prompt: what the definitions of fragments have cost, as JSON; the most expensive first." },
  fragments = { "fragments(\"part\")", "The names of all fragments, or of those that have this text." },
  reads = { "reads(\"fragment\")", "What the fragment has read: it runs again when one of these changes." },
  output = { "output(\"fragment\")", "What the fragment puts out." },
  yaml = { "yaml(value)", "The value as YAML." },
  print = { "print(value, …)", "Write values." },
  help = { "help(), help(name)", "What there is; what one name does." },
  apropos = { "apropos(\"word\")", "The names whose help has this word." },
}

--- Methods of what functions are handed: of outputs, of the bodies of sections, and of texts.
M.methods = {
  ["out:section"] = { "out:section(\"resolvers dns\", {order = 450}, function(b) … end)",
    "A piece of a section by its header." },
  ["out:backend"] = { "out:backend(\"name\", {profile = false}, function(b) … end)",
    "A backend; options may be left out." },
  ["out:frontend"] = { "out:frontend(\"name\", function(b) … end)", "A piece of a frontend." },
  ["out:defaults"] = { "out:defaults(\"name\", function(b) … end)", "A defaults section." },
  ["out:global"] = { "out:global(word, …)", "A line of the global section." },
  ["out:map"] = { "out:map(\"NAME.map\", {duplicate = \"Reason\", means = \"host and path\"})",
    "Declare a map, so that it exists without an entry." },
  ["out:map_entry"] = { "out:map_entry(\"NAME.map\", key, value)",
    "An entry of a map; false when this run gave the key another value." },
  ["out:file"] = { "out:file(\"NAME\", text)", "A file, of any bytes." },
  ["out:certificate"] = { "out:certificate(\"NAME.pem\", {cert = …, key = …, ca = …, crl = …, keep = true})",
    "A certificate as a file: handles of Secrets, or PEM." },
  ["out:crt_list"] = { "out:crt_list(\"NAME.list\", \"NAME.pem\", {sni = …, options = …, keep = true})",
    "Which certificate clients get that ask for a name." },
  ["out:warn"] = { "out:warn(\"Reason\", message)", "A warning to the owner of the fragment." },
  ["out:event"] = { "out:event(\"Reason\", message)", "An event on the owner." },
  ["out:status"] = { "out:status(value[, {kind = …, namespace = …, name = …}])",
    "What is to stand in the status of the object, or of another one." },
  ["out:object"] = { "out:object(manifest[, {force = true}])",
    "An object that is to exist, of a kind with owned: true." },
  ["http:fetch"] = { "http:fetch(url[, {interval = …, timeout = …, auth = …, required = true}])",
    "The content of a URL; nil and why, as long as there is none." },
  ["b:line"] = { "b:line(word, …)", "A line: each argument is one word, quoted when it must be." },
  ["b:acl"] = { "b:acl(\"name\", fetch, pattern, …)",
    "A condition; fetch may be a list with flags: {\"hdr(host)\", \"-i\"}." },
  ["b:server"] = { "b:server{name = …, address = …, port = …, weight = …, \"further\", \"words\"}", "A server." },
  ["b:comment"] = { "b:comment(text)", "A comment, of any text." },
  ["b:raw"] = { "b:raw(text)", "Lines as they are, where the administrator allows it." },
  ["b:include"] = { "b:include(\"snippet\", args)", "The lines of a text snippet, which sees args as `it`." },
  ["string.trim"] = { "s:trim()", "The text without blanks around it." },
  ["string.split"] = { "s:split(\",\")", "The parts between separators." },
  ["string.starts_with"] = { "s:starts_with(\"x\")", "Does the text begin with this?" },
  ["string.ends_with"] = { "s:ends_with(\"x\")", "Does it end with this?" },
}

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

local function row(name)
  local r = M.rows[name] or M.methods[name]
  return format("%s\n    %s", r[1], r[2])
end

--- The rows of a name's methods: those of "out", "b" or "string".
local function methods_of(name)
  local list = {}
  for _, method in ipairs(sorted(M.methods)) do
    if match(method, "^(%w+)[.:]") == name then list[#list + 1] = row(method) end
  end
  return list
end

--- The row of a name, the rows of its methods, and the rows of methods with this name.
local function of_name(name)
  local lines = (M.rows[name] or M.methods[name]) and { row(name) } or {}
  for _, method in ipairs(methods_of(name)) do lines[#lines + 1] = method end
  for _, method in ipairs(sorted(M.methods)) do
    local ending = sub(method, -#name - 1)
    if ending == ":" .. name or ending == "." .. name then lines[#lines + 1] = row(method) end
  end
  return #lines > 0 and concat(lines, "\n") or nil
end

--- The comment above a function in its source, and its first line.
---@param source_of function(name of a template) → its text or nil
local function of_function(fn, source_of)
  local info = debug.getinfo(fn, "S")
  local name = match(info.source, "^=(.*)$")
  local source = name and source_of(name)
  if not source then return nil end
  local lines = {}
  for line in gmatch(source .. "\n", "([^\n]*)\n") do
    lines[#lines + 1] = line
    if #lines == info.linedefined then break end
  end
  local first = info.linedefined
  while first > 1 and find(lines[first - 1], "^%s*%-%-") do first = first - 1 end
  local out = { format("%s:%d: %s", name, info.linedefined, match(lines[info.linedefined] or "", "^%s*(.-)%s*$")) }
  for n = first, info.linedefined - 1 do out[#out + 1] = "    " .. match(lines[n], "^%s*%-+%s?(.*)$") end
  return table.concat(out, "\n")
end

--- help() for a name, for a value with a name, for a function of a template, or for everything.
---@param name_of function(value) → the name that it has at the prompt, or nil
function M.help(v, name_of, source_of)
  local name = name_of(v)
  if name then return of_name(name) end
  if type(v) == "function" then
    return of_function(v, source_of) or "a function of Lua; help(\"name\") says what the built-in ones do"
  end
  if type(v) == "string" then
    return of_name(v) or "there is no help for " .. v .. "; help() lists the names"
  end
  if v ~= nil then return "there is no help for a " .. type(v) .. "; help() lists the names" end
  local lines = { "Names (help(name) says more):" }
  for _, known in ipairs(sorted(M.rows)) do lines[#lines + 1] = format("  %-14s %s", known, M.rows[known][1]) end
  for _, known in ipairs(sorted(M.methods)) do lines[#lines + 1] = format("  %-14s %s", known, M.methods[known][1]) end
  lines[#lines + 1] = "An expression shows its value; _ is the last one, _2 the one before. :help lists the commands."
  return table.concat(lines, "\n")
end

--- The rows in which a word occurs.
function M.apropos(word)
  local found = {}
  for _, rows in ipairs({ M.rows, M.methods }) do
    for _, name in ipairs(sorted(rows)) do
      if find(lower(name .. " " .. row(name)), lower(word), 1, true) then found[#found + 1] = row(name) end
    end
  end
  return #found > 0 and table.concat(found, "\n") or "nothing about " .. word
end

return M
