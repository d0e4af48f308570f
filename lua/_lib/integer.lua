-- Strict decimal integers: tonumber alone would take 'inf', 'nan', '0x10', ' 5 ' and '1e3'.
local find, format = string.find, string.format
local function integer(text, low, high)
  if text and text ~= '' and #text <= 16 and not find(text, '%D') then
    local value = tonumber(text)
    if value >= low and value <= high then return value end
  end
  return nil
end
-- tostring(1755123456789012) would be '1.755123456789e+15'. '%d' is the fastest, and cut where C's long has 32 bits.
local function digits(x)
  local text = format('%d', x)
  if x <= 2147483647 or #text > 11 then return text end
  return format('%.0f', x)
end
local function rsarg(name, rule) return redis.error_reply('RSARG ' .. name .. ' ' .. rule) end
local function out_of_range(name, low, high)
  return rsarg(name, 'must be an integer from ' .. digits(low) .. ' to ' .. digits(high))
end
