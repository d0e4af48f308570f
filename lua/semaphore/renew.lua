--- semaphore.renew -- lengthen n leases that are still held, each for its own owner. Never takes anything.
-- Several leases of one semaphore name its key once each.
-- KEYS[i] semaphore hash     i=1..n   n=1..512   <prefix>rs1:{<name>}:semaphore
-- ARGV[2i-1] owner  token    i=1..n   as given to semaphore.acquire
-- ARGV[2i] ttl_us   int[1000..31622400000000]   i=1..n   lease length from now
-- ARGV[2n+1] now_us int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  fence    int   the fence of the lease, now ttl_us long; 0 = lost, nothing changed; -2 = the key holds another type, untouched
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
if #KEYS < 1 or #KEYS > 512 then return rsarg('KEYS', 'must name 1 to 512 semaphores') end
if #ARGV ~= 2 * #KEYS + 1 then return rsarg('ARGV', 'must hold owner and ttl_us for each key, then now_us') end
local ttl_us = {}
for i = 1, #KEYS do
  if not is_token(ARGV[2 * i - 1]) then return rsarg('owner', 'must be a token') end
  ttl_us[i] = integer(ARGV[2 * i], 1000, 31622400000000)
  if not ttl_us[i] then return out_of_range('ttl_us', 1000, 31622400000000) end
end
-- The zset of leases stays as it is: it says when to look, and the record in the hash says when the lease ends.
local function renew(key, owner, lease_us)
  local found = redis.pcall('HMGET', key, 'seen_us', 'shift_us', 'until_us', 'early_us', '@' .. owner)
  if not found[1] and found.err then return -2 end
  local ends, weight, fence, rest = string.match(found[5] or '', '^(%d+)|%d+|(%d+)|(%d+)(|1|.*)$')
  if not ends then return 0 end
  local time_us = math.max(now_us + tonumber(found[2]), tonumber(found[1]))
  if tonumber(ends) <= time_us then return 0 end
  local end_us = time_us + lease_us
  local until_us = math.max(tonumber(found[3]), end_us + math.max(lease_us, 60000000))
  redis.call('PEXPIRE', key, life_ms(until_us - time_us)) -- passes when memory is full, and so does what follows it
  redis.call('HSET', key, 'seen_us', digits(time_us), 'shift_us', digits(time_us - now_us), 'until_us', digits(until_us),
    '@' .. owner, table.concat({ digits(end_us), digits(lease_us), weight, fence }, '|') .. rest)
  if end_us < tonumber(ends) then
    redis.call('HSET', key, 'early_us', digits(math.min(end_us, tonumber(found[4] or end_us))))
  end
  return tonumber(fence)
end
local reply = { now_us }
for i = 1, #KEYS do reply[i + 1] = renew(KEYS[i], ARGV[2 * i - 1], ttl_us[i]) end
return reply
