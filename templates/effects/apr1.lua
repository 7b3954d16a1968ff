--- apr1.lua — passwords in the default format of Apache's htpasswd, $apr1$, which no system's crypt(3) supports.
--
-- HAProxy computes them with a script, which is loaded with the first such user. The script can pause: a thousand
-- rounds of MD5, which take 1.3 ms, do not delay other requests.

local FILE = "apr1.lua"

--- Runs in HAProxy (Lua 5.3 and later): compares the password of a request with the hash in txn.auth_hash.
local SCRIPT = [==[
local ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local MAX_PASSWORD, ROUNDS, PAUSE = 256, 1000, 100

local function encode(value, digits)
  local out = {}
  for i = 1, digits do
    out[i] = ALPHABET:sub(value % 64 + 1, value % 64 + 1)
    value = value // 64
  end
  return table.concat(out)
end

local function apr1(md5, password, salt)
  local final = md5(password .. salt .. password)
  local first = { password, "$apr1$", salt }
  for left = #password, 1, -16 do first[#first + 1] = final:sub(1, math.min(16, left)) end
  local n = #password
  while n > 0 do
    first[#first + 1] = n % 2 == 1 and "\0" or password:sub(1, 1)
    n = n // 2
  end
  final = md5(table.concat(first))
  for i = 0, ROUNDS - 1 do
    local is_odd = i % 2 == 1
    final = md5((is_odd and password or final) .. (i % 3 ~= 0 and salt or "") .. (i % 7 ~= 0 and password or "")
      .. (is_odd and final or password))
    if i % PAUSE == PAUSE - 1 then core.yield() end
  end
  local b = { final:byte(1, 16) }
  local out = {}
  for i, at in ipairs({ { 1, 7, 13 }, { 2, 8, 14 }, { 3, 9, 15 }, { 4, 10, 16 }, { 5, 11, 6 } }) do
    out[i] = encode(b[at[1]] * 65536 + b[at[2]] * 256 + b[at[3]], 4)
  end
  return table.concat(out) .. encode(b[12], 2)
end

core.register_action("haptic_apr1", { "http-req" }, function(txn)
  local salt, wanted = tostring(txn:get_var("txn.auth_hash")):match("^%$apr1%$([^$]+)%$(.+)$")
  local password = txn.f:http_auth_pass()
  if not salt or type(password) ~= "string" or #password > MAX_PASSWORD then return end
  local function md5(text) return txn.c:digest(text, "md5") end
  if apr1(md5, password, salt:sub(1, 8)) == wanted then txn:set_var("txn.auth_ok", true) end
end, 0)
]==]

local effects = use("effects")
local major, minor = capabilities.major or 2, capabilities.minor or 0
--- HAProxy 3.1 and later warn when the treatment of booleans is not configured.
local ASKS_FOR_BOOL = major > 3 or major == 3 and minor >= 1

--- The script and its rule; all fragments that need them write the same text.
local function put(out)
  out:file(FILE, SCRIPT)
  out:section("global", { order = 600, key = "apr1" }, function(b)
    if ASKS_FOR_BOOL then b:line("tune.lua.bool-sample-conversion", "normal") end
    b:line("lua-load", path:file(FILE))
  end)
  out:section("frontend http", { order = effects.order.auth_hash, key = "effect apr1" }, function(b)
    effects.write(b, "http-request", "lua.haptic_apr1", "if", effects.has("auth"), "{", "var(txn.auth_hash)", "-m",
      "beg", "$apr1$", "}")
  end)
end

provide("effects.apr1", { put = put, on = capabilities.lua == true })
