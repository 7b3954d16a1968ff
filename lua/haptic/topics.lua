--- topics.lua — what help() and apropos() say: one row for each name that a template or the prompt has.
--
-- docs/templates.md is the manual; a spec compares its names, and those of the environment, with this table.
local M = {}

local type, ipairs, pairs = type, ipairs, pairs
local format, find, lower = string.format, string.find, string.lower

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

local function sorted(t)
  local list = {}
  for k in pairs(t) do list[#list + 1] = k end
  table.sort(list)
  return list
end

local function row(name) return format("%s\n    %s", M.rows[name][1], M.rows[name][2]) end

--- help() of a name, of a function of the prompt, or of everything.
function M.help(v, functions)
  if type(v) == "function" then
    for name, fn in pairs(functions) do
      if fn == v then return row(name) end
    end
    return "a function; help(\"name\") says what the built-in ones do"
  end
  if type(v) == "string" then
    if M.rows[v] then return row(v) end
    return "there is no help for " .. v .. "; help() lists the names"
  end
  local lines = { "Names (help(\"name\") says more):" }
  for _, name in ipairs(sorted(M.rows)) do lines[#lines + 1] = format("  %-14s %s", name, M.rows[name][1]) end
  lines[#lines + 1] = "An expression shows its value; _ is the last one, _2 the one before. :help lists the commands."
  return table.concat(lines, "\n")
end

--- The rows in which a word occurs.
function M.apropos(word)
  local found = {}
  for _, name in ipairs(sorted(M.rows)) do
    if find(lower(name .. " " .. row(name)), lower(word), 1, true) then found[#found + 1] = row(name) end
  end
  return #found > 0 and table.concat(found, "\n") or "nothing about " .. word
end

return M
