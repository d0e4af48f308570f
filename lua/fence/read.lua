--- fence.read -- read a guarded value before changing it: from then on no older fence writes it.
-- After a plain GET the holder before could still write, and what is made of the value read would undo that.
-- KEYS[1] value     string  <prefix>rs1:{<name>}:value
-- KEYS[2] mark      string  <prefix>rs1:{<name>}:fence, the highest fence that has come
-- ARGV[1] fence     int[1..9007199254740991]   of the reader's lease, as lock.acquire gave it
-- ARGV[2] now_us    int[0..4503599627370496]|''   '' = the server's clock; decides nothing, it stamps the reply
-- RETURN  accepted  int     1 the mark is the caller's fence now, 0 refused and nothing changed
-- RETURN  fence     int     the mark now: the caller's fence, or the newer one that stands against it
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  found     int     1 there is a value, 0 there is none, or it is not for this caller
-- RETURN  value     string  the value, '' where found is 0
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type, or the mark is no fence
-- REPEAT  safe      reads the value of that time
-- TTL     none      the mark: without it old fences would pass again
-- FLAGS   write
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
-- >>> _lib/strings
-- The text of a string key; '' where there is none; nil where the key holds another type.
local function text_of(key)
  local text = redis.pcall('GET', key)
  if not text then return '' end
  return type(text) == 'string' and text or nil
end
-- <<< _lib/strings
if #ARGV ~= 2 then return rsarg('ARGV', 'must hold fence, now_us') end
-- >>> _lib/guard
-- A guarded value and its mark, the highest fence that has come to it; the caller's own is ARGV[1].
if #KEYS ~= 2 or KEYS[1] == KEYS[2] then return rsarg('KEYS', 'must name the value and its mark, two different keys') end
local VALUE, MARK = KEYS[1], KEYS[2]
local fence = integer(ARGV[1], 1, 9007199254740991)
if not fence then return out_of_range('fence', 1, 9007199254740991) end
if type(redis.pcall('STRLEN', VALUE)) ~= 'number' then return redis.error_reply('RSSTATE the value holds another type') end
local text = text_of(MARK)
local mark = text == '' and 0 or integer(text, 1, 9007199254740991)
if not mark then return redis.error_reply('RSSTATE the mark holds something else than a fence') end
-- The first write of a script: when memory is full it is what fails, and once it passed, the rest passes too.
local function raise_mark()
  if fence > mark then redis.call('SET', MARK, digits(fence)) end
end
-- <<< _lib/guard
if fence < mark then return { 0, mark, now_us, 0, '' } end
raise_mark()
local value = redis.call('GET', VALUE)
return { 1, fence, now_us, value and 1 or 0, value or '' }
