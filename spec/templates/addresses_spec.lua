--- Networks as keys of a map that is searched by the beginning of a text: of every length, in IPv4, IPv6 and IPv4 within
--- IPv6, an address is found just when it is in the network.
local program = require("spec.support.program")
local cjson = require("cjson")

local SEED = tonumber(os.getenv("HAPTIC_SEED")) or os.time()

--- A script that writes the keys of each network of a list.
local SCRIPT = [[
local addresses = use("effects.addresses")
fragment("keys", function(out)
  local all = {}
  for i, network in ipairs(context.networks) do all[i] = addresses.keys_of(network) or {} end
  out:file("keys.json", json({ keys = all }))
end)
]]

local function keys_of(networks)
  local e = program.engine({ checked = false, context = { networks = networks },
    scripts = { { name = "keys.lua", source = SCRIPT } } })
  e:render()
  assert.same({}, e.host.failures)
  return cjson.decode(e:output().files["keys.json"]).keys
end

local function random_bytes(n)
  local bytes = {}
  for i = 1, n do bytes[i] = math.random(0, 255) end
  return bytes
end

--- The same bytes with bit `at` (from 0) turned over, and those behind it random.
local function changed(bytes, at)
  local copy = {}
  for i, b in ipairs(bytes) do copy[i] = b end
  local index, bit = math.floor(at / 8) + 1, 2 ^ (7 - at % 8)
  local is_set = math.floor(copy[index] / bit) % 2 == 1
  copy[index] = copy[index] + (is_set and -bit or bit)
  return copy
end

--- The same bytes, but those bits that are not of the network.
local function inside(bytes, length)
  local copy = {}
  for i, b in ipairs(bytes) do copy[i] = b end
  for at = length, #bytes * 8 - 1 do
    if math.random(2) == 1 then copy = changed(copy, at) end
  end
  return copy
end

local function text_of(bytes)
  if #bytes == 4 then return table.concat(bytes, ".") end
  local groups = {}
  for i = 1, 16, 2 do groups[#groups + 1] = ("%x"):format(bytes[i] * 256 + bytes[i + 1]) end
  return table.concat(groups, ":")
end

--- What HAProxy looks up: the number of digits, and the digits; of IPv4 within IPv6 those of IPv4.
local function key_of(bytes)
  local digits = {}
  for i, b in ipairs(bytes) do digits[i] = ("%02X"):format(b) end
  local text = table.concat(digits)
  if #bytes == 16 and text:sub(1, 24) == ("0"):rep(20) .. "FFFF" then text = text:sub(25) end
  return #text .. ":" .. text
end

local function is_found(keys, bytes)
  local key = key_of(bytes)
  for _, beginning in ipairs(keys) do
    if key:sub(1, #beginning) == beginning then return true end
  end
  return false
end

describe("Networks of lists", function()
  it("have just the addresses in them, whatever their length (seed " .. SEED .. ")", function()
    math.randomseed(SEED)
    local networks, cases = {}, {}
    local function add(bytes, length)
      networks[#networks + 1] = text_of(bytes) .. "/" .. length
      cases[#cases + 1] = { bytes = bytes, length = length }
    end
    for _ = 1, 3 do
      for length = 0, 32 do add(random_bytes(4), length) end
      for length = 0, 128 do
        local bytes = random_bytes(16)
        bytes[1] = 0x20 -- no IPv4 within
        add(bytes, length)
      end
      for length = 96, 128 do
        local bytes = random_bytes(16)
        for i = 1, 10 do bytes[i] = 0 end
        bytes[11], bytes[12] = 255, 255
        add(bytes, length)
      end
    end
    for i, keys in ipairs(keys_of(networks)) do
      local c = cases[i]
      assert.truthy(#keys >= 1 and #keys <= 8, networks[i])
      for _ = 1, 4 do assert.is_true(is_found(keys, inside(c.bytes, c.length)), networks[i]) end
      for at = 0, c.length - 1 do
        -- Behind another beginning it is no IPv4 within IPv6 any more, and in no such network.
        local other = inside(changed(c.bytes, at), c.length)
        assert.is_false(is_found(keys, other), networks[i] .. " and " .. text_of(other))
      end
      -- Of the other family nothing is in it.
      local other = random_bytes(#c.bytes == 4 and 16 or 4)
      other[1] = 0x20
      if #c.bytes == 4 or c.bytes[1] ~= 0 then assert.is_false(is_found(keys, other), networks[i]) end
    end
  end)
end)
