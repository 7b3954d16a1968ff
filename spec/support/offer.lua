--- What an agent is offered, as bytes (core/haproxy/offer.h): read in part, and given another writer.

local M = {}

local function u32(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return a + 256 * (b + 256 * (c + 256 * d))
end

local function u32_bytes(number)
  local bytes = {}
  for i = 1, 4 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

--- { { type, text } … }: text is all of the frame's fields.
local function frames_of(bytes)
  local frames, at = {}, 1
  while at <= #bytes do
    local length = u32(bytes, at)
    frames[#frames + 1] = { bytes:sub(at + 4, at + 4), bytes:sub(at + 5, at + 3 + length) }
    at = at + 4 + length
  end
  return frames
end

local function fields_of(text)
  local fields, at = {}, 1
  while at <= #text do
    local length = u32(text, at)
    fields[#fields + 1] = text:sub(at + 4, at + 3 + length)
    at = at + 4 + length
  end
  return fields
end

local function frame(kind, fields)
  local text = {}
  for i, field in ipairs(fields) do
    text[i] = u32_bytes(#field) .. field
  end
  local joined = table.concat(text)
  return u32_bytes(1 + #joined) .. kind .. joined
end

--- The digest of its result.
function M.digest(bytes)
  local frames = frames_of(bytes)
  return fields_of(frames[#frames][2])[1]
end

--- The same items, offered by somebody else.
---@param writer table transitions, generation, holder; from: the digest that it begins from, for a change that takes
--- nothing away
function M.of(bytes, writer)
  local frames, parts = frames_of(bytes), {}
  for i, f in ipairs(frames) do
    local kind, fields = f[1], f[1] ~= "f" and fields_of(f[2])
    if kind == "O" then
      fields = {
        fields[1], fields[2], tostring(writer.transitions), tostring(writer.generation), writer.holder,
        writer.from or "",
      }
    elseif kind == "E" then
      fields = { fields[1], writer.from and "0" or fields[2] }
    end
    parts[i] = fields and frame(kind, fields) or u32_bytes(1 + #f[2]) .. kind .. f[2]
  end
  return table.concat(parts)
end

return M
