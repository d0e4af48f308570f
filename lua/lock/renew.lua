--- lock.renew -- lengthen n leases that are still held, each for its own owner. Never takes a lock.
-- KEYS[i] lock      hash     i=1..n   n=1..512   <prefix>rs1:{<name>}:lock
-- ARGV[2i-1] owner  token    i=1..n   as given to lock.acquire
-- ARGV[2i] ttl_us   int[1000..31622400000000]   i=1..n   lease length from now
-- ARGV[2n+1] now_us int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  fence    int   the fence of the lease, now ttl_us long, or longer where the owner has other holds; 0 = lost, nothing changed; -2 = the key holds another type, untouched
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
if #KEYS < 1 or #KEYS > 512 then return rsarg('KEYS', 'must name 1 to 512 locks') end
if #ARGV ~= 2 * #KEYS + 1 then return rsarg('ARGV', 'must hold owner and ttl_us for each key, then now_us') end
local ttl_us, found = {}, {}
for i = 1, #KEYS do
  if not is_token(ARGV[2 * i - 1]) then return rsarg('owner', 'must be a token') end
  ttl_us[i] = integer(ARGV[2 * i], 1000, 31622400000000)
  if not ttl_us[i] then return out_of_range('ttl_us', 1000, 31622400000000) end
end
for i = 1, #KEYS do found[i] = redis.pcall('HMGET', KEYS[i], 'owner', 'end_us', 'claimed', 'fence', 'holds') end
local reply = { now_us }
for i = 1, #KEYS do
  local owner, end_us, claimed, fence = found[i][1], found[i][2], found[i][3], found[i][4]
  if not owner and found[i].err then
    reply[i + 1] = -2
  elseif owner == ARGV[2 * i - 1] and claimed == '1' and tonumber(end_us) > now_us then
    local lease_us = ttl_us[i]
    if find(found[i][5], ' ', 1, true) then -- several hold it: one does not cut the lease of the others
      lease_us = math.max(lease_us, tonumber(end_us) - now_us)
    end
    -- PEXPIRE first: it passes when memory is full, and what follows it in a script then passes too.
    redis.call('PEXPIRE', KEYS[i], life_ms(lease_us + math.max(lease_us, 60000000)))
    redis.call('HSET', KEYS[i], 'end_us', digits(now_us + lease_us), 'ttl_us', digits(lease_us))
    reply[i + 1] = tonumber(fence)
  else
    reply[i + 1] = 0
  end
end
return reply
