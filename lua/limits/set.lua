--- limits.set -- give one key of a limiter limits of its own, or take them from it. What it used so far goes on counting.
-- The text is not looked into; a reader that does not understand it goes on with its default. Each call raises the
-- version, which stands in the field '' (no key is called that): whoever has read before sees by it whether to read
-- again. The key must not be '' either.
-- KEYS[1] limits    hash    <prefix>rs1:{<name>}:limits of the limits called <name>; a field a key, as it is, not escaped
-- ARGV[1] key       string  whose limits, as the limiter is given it: a tenant, an address
-- ARGV[2] limits    string[0..1024]   printable ASCII, such as 500/minute or 10/second burst=20; 1000/hour; '' = none of its own
-- ARGV[3] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  version   int     max(the one before + 1, now_us), so it rises also when the hash was lost
-- RETURN  at_us     int     the time of the change
-- RETURN  was       string  what was there before, '' if nothing
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      writes the same again; one that arrives after a later change undoes it
-- TTL     none      the limits: an operator wrote them, and nobody writes them again when they are lost
-- FLAGS   write operator
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
if #ARGV ~= 3 then return rsarg('ARGV', 'must hold key, limits, now_us') end
local key, limits = ARGV[1], ARGV[2]
if key == '' then return rsarg('key', "must not be ''") end
if #limits > 1024 or find(limits, '[^ -~]') then return rsarg('limits', 'must be at most 1024 printable characters') end
if type(redis.pcall('HLEN', KEYS[1])) ~= 'number' then return redis.error_reply('RSSTATE the key of the limits holds another type') end
local before = redis.call('HMGET', KEYS[1], '', key)
local version = math.max((integer(before[1], 0, 9007199254740990) or 0) + 1, now_us)
-- HMSET, which no other script calls: the ACL of a service does without it, and refuses here, before anything is written.
if limits == '' then
  redis.call('HMSET', KEYS[1], '', digits(version))
  redis.call('HDEL', KEYS[1], key)
else
  redis.call('HMSET', KEYS[1], '', digits(version), key, limits)
end
return { version, now_us, limits_text(before[2]) }
