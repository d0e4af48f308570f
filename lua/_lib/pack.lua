-- Integers below 2^53 as 7 bytes, big end first: plain Lua 5.1, where servers differ in `struct`, `bit`.
local char, byte, floor = string.char, string.byte, math.floor
local function pack(x)
  local high = floor(x / 16777216)
  local low = x - high * 16777216
  return char(floor(high / 16777216), floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 65536), floor(low / 256) % 256, low % 256)
end
local function join(a, b, c, d, e, f, g)
  return ((a * 256 + b) * 256 + c) * 4294967296 + (((d * 256 + e) * 256 + f) * 256 + g)
end
local function unpack_at(text, at) return join(byte(text, at, at + 6)) end
