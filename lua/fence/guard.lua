--- fence.guard -- write a value, unless a newer fence than the caller's has come to it before.
-- A holder that was stopped past its lease does not know, and writes on when it wakes. Its fence is older than that
-- of the holder after it; once that one has written, or read with fence.read, the sleeper is refused. The guard knows
-- no lock: it compares integers. An equal fence writes again, as often as its holder likes. The value is a plain
-- string, which GET reads; whoever writes it past this script writes past the guard. The mark stays when the value
-- expires. Delete both keys together, and only when nobody with an old fence can be left.
-- KEYS[1] value     string  <prefix>rs1:{<name>}:value
-- KEYS[2] mark      string  <prefix>rs1:{<name>}:fence, the highest fence that has come
-- ARGV[1] fence     int[1..9007199254740991]   of the writer's lease, as lock.acquire gave it
-- ARGV[2] value     string  what to write, any bytes
-- ARGV[3] ttl_us    int[0..31622400000000]   life of the value from now, by the server's clock, rounded up to a millisecond; 0 = for ever
-- ARGV[4] now_us    int[0..4503599627370496]|''   '' = the server's clock; decides nothing, it stamps the reply
-- RETURN  written   int     1 written, 0 refused and nothing changed
-- RETURN  fence     int     the mark now: the caller's fence, or the newer one that stands against it
-- RETURN  at_us     int     the time at which this was decided
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type, or the mark is no fence
-- REPEAT  safe      writes the same again; one that arrives after a later write of the same fence puts its older value back
-- TTL     none      the mark: without it old fences would pass again; and the value where ttl_us is 0
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
if #ARGV ~= 4 then return rsarg('ARGV', 'must hold fence, value, ttl_us, now_us') end
local ttl_us = integer(ARGV[3], 0, 31622400000000)
if not ttl_us then return out_of_range('ttl_us', 0, 31622400000000) end
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
if fence < mark then return { 0, mark, now_us } end
raise_mark()
if ttl_us > 0 then
  redis.call('SET', VALUE, ARGV[2], 'PX', digits(math.ceil(ttl_us / 1000)))
else
  redis.call('SET', VALUE, ARGV[2])
end
return { 1, fence, now_us }
