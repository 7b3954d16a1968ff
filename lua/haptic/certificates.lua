--- certificates.lua — output for TLS: certificates, and which name gets which of them.
--
-- A certificate is a file that the core makes from handles. A crt-list is a table: a name that clients ask for (SNI)
-- has certificates and options. So two owners of one name are handled by the rule for equal keys, and the core writes
-- one line for all names with the same certificates and options. A list's name ends with ".list", a certificate's does
-- not, because both are in one folder.
local nearest = require("haptic.nearest")
local word = require("haptic.word")

local M = {}

local type, error, ipairs, pcall = type, error, ipairs, pcall
local find, sub, format = string.find, string.sub, string.format
local concat = table.concat

--- Rank of a contribution that is replaced by that of the fragment's last version (engine/kept.h).
M.KEEP = 1
--- Names that one call may have, and certificates of one name (one of each type of key).
M.MAX_NAMES, M.MAX_CERTIFICATES = 1000, 4

local CERTIFICATE_FIELDS = { cert = true, key = true, ca = true, crl = true, keep = true }
local LIST_FIELDS = { sni = true, options = true, keep = true, acme = true, entry = true }
local ENTRY_FIELDS = { map = true, value = true }

local function certificate_name(name)
  name = word.file_name(name, "the certificate's name")
  if find(name, "%.list$") then error("a certificate's name does not end in .list: " .. word.show(name), 0) end
  return name
end

local function list_name(name)
  name = word.file_name(name, "the list's name")
  if not find(name, ".%.list$") then error("a crt-list's name ends in .list: " .. word.show(name), 0) end
  return name
end
M.certificate_name, M.list_name = certificate_name, list_name

local function check_keep(keep)
  if keep ~= nil and type(keep) ~= "boolean" then error("keep is true or false", 0) end
  return keep and M.KEEP or 0
end

--- name, rank and text of a certificate.
local function certificate(name, parts)
  name = certificate_name(name)
  if type(parts) ~= "table" then error("expected a table {cert = …, key = …}", 0) end
  nearest.check_fields(parts, CERTIFICATE_FIELDS, "certificate", -1)
  local rank, texts = check_keep(parts.keep), {}
  for _, field in ipairs({ "cert", "key", "ca", "crl" }) do
    local part = parts[field]
    if part ~= nil then
      if type(part) ~= "string" or part == "" then error(field .. " is no text", 0) end
      texts[#texts + 1] = part
      texts[#texts + 1] = "\n"
    end
  end
  if #texts == 0 and rank == 0 then error("it has neither cert nor key nor ca nor crl", 0) end
  return name, rank, concat(texts)
end

--- A name that clients ask for: a DNS name, with "*." for one label.
local function is_sni(s)
  if type(s) ~= "string" or #s > 253 then return false end
  local name = sub(s, 1, 2) == "*." and sub(s, 3) or s
  return find(name, "^[%l%d_][%l%d._-]*$") ~= nil and not find(name, "..", 1, true) and not find(name, "%.$")
end

local function as_list(v, what, max)
  if type(v) == "string" then return { v } end
  if type(v) ~= "table" or #v == 0 or #v > max then
    error(format("%s is a name, or a list of up to %d names", what, max), 0)
  end
  return v
end

--- map and value of the entry that each name has with its line.
local function entry_of(entry)
  if type(entry) ~= "table" then error("entry is a table {map = …, value = …}", 0) end
  nearest.check_fields(entry, ENTRY_FIELDS, "entry", -1)
  local value = word.text(entry.value, "the entry's value")
  if #value > word.MAX_WORD or not find(value, word.BARE) then
    error("the entry's value is no plain word: " .. word.show(value), 0)
  end
  return { map = word.file_name(entry.map, "the map's name"), value = value }
end

--- list, names, rank and text of lines, and the entry that goes with each.
local function crt_list(list, certs, opts)
  list = list_name(list)
  opts = opts or {}
  if type(opts) ~= "table" then error("expected a table of options", 0) end
  nearest.check_fields(opts, LIST_FIELDS, "crt_list", -1)
  local words = {}
  if opts.acme ~= nil and type(opts.acme) ~= "boolean" then error("acme is true or false", 0) end
  for i, name in ipairs(as_list(certs, "the certificate", M.MAX_CERTIFICATES)) do
    words[i] = (opts.acme and "acme/" or "certs/") .. certificate_name(name)
  end
  if opts.options ~= nil then
    if type(opts.options) ~= "table" or #opts.options == 0 then error("options is a list of words", 0) end
    local options = {}
    for i, w in ipairs(opts.options) do
      options[i] = word.text(w, "an option")
      if not find(options[i], "^[%w_./:@%%+=,~-]+$") then
        error("an option is one word without special characters: " .. word.show(options[i]), 0)
      end
      -- HAProxy does not show it in its lists, so nobody could tell whether a line is live as it is wanted.
      if options[i] == "ca-verify-file" then
        error("the option ca-verify-file is not available in a crt-list: write it in the bind line", 0)
      end
    end
    words[#words + 1] = "[" .. concat(options, " ") .. "]"
  end
  local names = { "" }
  if opts.sni ~= nil then
    names = as_list(opts.sni, "sni", M.MAX_NAMES)
    for _, name in ipairs(names) do
      if not is_sni(name) then error("sni: no DNS name in lower case: " .. word.show(tostring(name)), 0) end
    end
  end
  local entry = opts.entry ~= nil and entry_of(opts.entry) or nil
  if entry and opts.sni == nil then error("an entry goes with names: sni is missing", 0) end
  return list, names, check_keep(opts.keep), concat(words, " "), entry
end

--- Give outputs their methods. put, check: of emitters.lua.
---@param Out table
---@param kinds table {CERTIFICATE=, CRT_LIST=, MAP_ENTRY=}
function M.install(Out, kinds, put, check)
  --- A certificate as a file: {cert=, key=, ca=, crl=}, handles or PEM. keep: the file of this fragment's last version
  --- stays, if there is one; these values are used only if there is none.
  function Out:certificate(name, parts)
    check(self, "certificate", 2)
    local ok, file, rank, text = pcall(certificate, name, parts)
    if not ok then error("certificate: " .. file, 2) end
    if not put(self, kinds.CERTIFICATE, rank, 0, file, "", text) then
      error("certificate: " .. file .. " is emitted twice with different content", 2)
    end
  end

  --- Which certificate a client gets. opts: sni (a name or a list; without it: for all names without a certificate),
  --- options (words between the brackets of a crt-list), keep (only if the certificate exists), acme (certificates that
  --- HAProxy itself obtains: files in the folder acme/, which a crt-store names), entry ({map=, value=}: each name is a
  --- key of that map while its line exists). False when this run has given one of the names other certificates: the
  --- first ones stay.
  ---@return boolean
  function Out:crt_list(list, certs, opts)
    check(self, "crt_list", 2)
    local ok, file, names, rank, text, entry = pcall(crt_list, list, certs, opts)
    if not ok then error("crt_list: " .. file, 2) end
    local all = true
    for _, name in ipairs(names) do
      local is_own = put(self, kinds.CRT_LIST, rank, name == "" and 0 or 500, file, name, text)
      if entry and is_own then put(self, kinds.MAP_ENTRY, rank, 0, entry.map, name, entry.value) end
      all = is_own and all
    end
    return all
  end
end

return M
