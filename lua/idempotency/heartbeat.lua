--- idempotency.heartbeat -- lengthen the leases of n attempts that are still under way. Never begins one.
-- KEYS[i] record    hash     i=1..n   n=1..512   <prefix>rs1:{<key>}:idempotency:<guard>:<tenant>
-- ARGV[2i-1] token  token    i=1..n   as given to idempotency.begin
-- ARGV[2i] lease_us int[1000..31622400000000]   i=1..n   length from now
-- ARGV[2n+1] now_us int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  fence    int   the fence of the attempt, under way for lease_us from now; 0 = it is not any more, nothing changed; -2 = the key holds another type, untouched
-- ERROR   RSARG     an argument is malformed
-- REPEAT  safe      counts from the later call
-- FLAGS   write frees
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
-- >>> _lib/life
-- For PEXPIRE, which only collects garbage: never 0, and an hour more under a clock that is not the server's.
local function life_ms(life_us)
  local ms = math.ceil(life_us / 1000)
  if ms < 1 then ms = 1 end
  if ARGV[#ARGV] ~= '' then ms = ms + 3600000 end
  return digits(ms)
end
-- <<< _lib/life
-- >>> _lib/token
-- A token: 1 to 128 characters of A-Z a-z 0-9 _ . : -
local function is_token(text)
  return text ~= nil and #text <= 128 and find(text, '^[%w_.:-]+$') ~= nil
end
-- <<< _lib/token
if #KEYS < 1 or #KEYS > 512 then return rsarg('KEYS', 'must name 1 to 512 records') end
if #ARGV ~= 2 * #KEYS + 1 then return rsarg('ARGV', 'must hold token and lease_us for each key, then now_us') end
local lease_us, found = {}, {}
for i = 1, #KEYS do
  if not is_token(ARGV[2 * i - 1]) then return rsarg('token', 'must be a token') end
  lease_us[i] = integer(ARGV[2 * i], 1000, 31622400000000)
  if not lease_us[i] then return out_of_range('lease_us', 1000, 31622400000000) end
end
for i = 1, #KEYS do found[i] = redis.pcall('HMGET', KEYS[i], 'token', 'end_us', 'keep_us', 'fence', 'done_us') end
local reply = { now_us }
for i = 1, #KEYS do
  local token, end_us, keep_us, fence, done_us = unpack(found[i], 1, 5)
  if not token and found[i].err then
    reply[i + 1] = -2
  elseif token == ARGV[2 * i - 1] and not done_us and tonumber(end_us) > now_us then
    -- PEXPIRE first: it passes when memory is full, and what follows it in a script then passes too.
    redis.call('PEXPIRE', KEYS[i], life_ms(lease_us[i] + tonumber(keep_us)))
    redis.call('HSET', KEYS[i], 'end_us', digits(now_us + lease_us[i]), 'lease_us', digits(lease_us[i]))
    reply[i + 1] = tonumber(fence)
  else
    reply[i + 1] = 0
  end
end
return reply
