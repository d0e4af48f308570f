--- limits.read -- the limits that n keys have of their own, and the version of them all. Changes nothing.
-- While the version is the one that was read before, limits.set has changed none of the keys, whichever were read.
-- KEYS[1] limits    hash    <prefix>rs1:{<name>}:limits, as limits.set wrote it
-- ARGV[i] key       string  i=1..n   n=1..512   whose limits; not ''
-- ARGV[n+1] now_us  int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  version   int     0 = nothing was ever set, or it was lost
-- RETURN  at_us     int     the time at which this was read
-- RETURN per item  limits   string   as they were set, '' if it has none of its own; with '?' for what limits.set would have refused
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      only reads
-- FLAGS   readonly
-- >>> _lib/integer
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
-- <<< _lib/integer
-- >>> _lib/clock
-- now_us is the last argument: '' = the server's clock; a number is taken as it is (2^52 at most,
-- so that now_us plus any length this contract admits stays an exact double).
local now_us
if ARGV[#ARGV] == '' then
  local time = redis.call('TIME')
  now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  now_us = integer(ARGV[#ARGV], 0, 4503599627370496)
end
if not now_us then return rsarg('now_us', "must be '' or an integer from 0 to 4503599627370496") end
-- <<< _lib/clock
-- >>> _lib/limits_text
-- What was set as limits, '' if nothing. Somebody may have written there by hand: clients that decode must not choke.
local function limits_text(found)
  if not found then return '' end
  if #found > 1024 then return '?' end
  return (string.gsub(found, '[^ -~]', '?'))
end
-- <<< _lib/limits_text
if #KEYS ~= 1 then return rsarg('KEYS', 'must name the limits') end
if #ARGV < 2 or #ARGV > 513 then return rsarg('ARGV', 'must hold 1 to 512 keys, then now_us') end
local names = { '' } -- that of the version
for i = 1, #ARGV - 1 do
  if ARGV[i] == '' then return rsarg('key', "must not be ''") end
  names[i + 1] = ARGV[i]
end
if type(redis.pcall('HLEN', KEYS[1])) ~= 'number' then return redis.error_reply('RSSTATE the key of the limits holds another type') end
local found = redis.call('HMGET', KEYS[1], unpack(names))
local reply = { integer(found[1], 0, 9007199254740991) or 0, now_us }
for i = 2, #names do reply[i + 1] = limits_text(found[i]) end
return reply
