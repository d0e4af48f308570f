--- semaphore.inspect -- who holds how much of the semaphore, and who waits for it. Changes nothing.
-- KEYS[1] semaphore hash    <prefix>rs1:{<name>}:semaphore
-- KEYS[2] leases    zset    <prefix>rs1:{<name>}:semaphore-leases
-- KEYS[3] queue     zset    <prefix>rs1:{<name>}:semaphore-queue
-- KEYS[4] wait      hash    <prefix>rs1:{<name>}:semaphore-wait
-- ARGV[1] most      int[0..1000]   leases, and waiters, to list at the most
-- ARGV[2] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was read
-- RETURN  held      int     leases, those granted to waiters who have not claimed them yet included
-- RETURN  sum       int     their weights together
-- RETURN  fence     int     the last one given; 0 = none known
-- RETURN  waiting   int     length of the queue, the dead not yet dropped from it included
-- RETURN per item  state      int      1 held, 2 granted and not claimed yet; then 0 waiting, the first first
-- RETURN per item  token      string   its owner
-- RETURN per item  weight     int      how much
-- RETURN per item  lease_fence int     its fence; 0 for a waiter
-- RETURN per item  left_us    int      what is left of the lease; of a waiter: until it is taken for dead, 0 if it is
-- RETURN per item  waited_us  int      since it joined the queue; 0 for a lease
-- RETURN per item  metadata   string   what the holder gave
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
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
if #KEYS ~= 4 then return rsarg('KEYS', 'must name the semaphore, its leases, its queue and its wait hash') end
if #ARGV ~= 2 then return rsarg('ARGV', 'must hold most, now_us') end
local most = integer(ARGV[1], 0, 1000)
if not most then return out_of_range('most', 0, 1000) end
local found = redis.pcall('HMGET', KEYS[1], 'sum', 'held', 'fence', 'seen_us', 'shift_us', 'early_us')
local indexed, waiting = redis.pcall('ZCARD', KEYS[2]), redis.pcall('ZCARD', KEYS[3])
if not found[1] and found.err or type(indexed) ~= 'number' or type(waiting) ~= 'number'
  or type(redis.pcall('HLEN', KEYS[4])) ~= 'number' then
  return redis.error_reply('RSSTATE a key of the semaphore holds another type')
end
local sum, held = tonumber(found[1] or 0), tonumber(found[2] or 0)
local time_us = math.max(now_us + tonumber(found[5] or 0), tonumber(found[4] or 0))
local reply = { now_us, held, sum, tonumber(found[3] or 0), waiting }
local function item(...)
  for _, value in ipairs({ ... }) do reply[#reply + 1] = value end
end
-- The zset says when to look: what it says has ended may have been renewed, and is dropped by the next who takes.
local ended = 0
if held == indexed then
  ended = tonumber(found[6] or time_us + 1) <= time_us and held or redis.call('ZCOUNT', KEYS[2], '-inf', digits(time_us))
  ended = math.min(ended, 1000)
end
if held == indexed and ended + most > 0 then
  local listed = 0
  for _, token in ipairs(redis.call('ZRANGE', KEYS[2], '0', digits(ended + most - 1))) do
    local end_us, weight, fence, claimed, metadata =
      string.match(redis.call('HGET', KEYS[1], '@' .. token), '^(%d+)|%d+|(%d+)|(%d+)|([01])|[^|]*|(.*)$')
    local left_us = tonumber(end_us) - time_us
    if left_us <= 0 then
      held, sum = held - 1, sum - tonumber(weight)
    elseif listed < most then
      listed = listed + 1
      item(claimed == '1' and 1 or 2, token, tonumber(weight), tonumber(fence), left_us, 0, metadata)
    end
  end
end
reply[2], reply[3] = held, sum
if most > 0 then
  local queue = redis.call('ZRANGE', KEYS[3], '0', digits(most - 1), 'WITHSCORES')
  for i = 1, #queue, 2 do
    local alive_until, weight = string.match(redis.call('HGET', KEYS[4], queue[i]) or '0||0|', '^(%d+)|[^|]*|(%d+)|')
    item(0, queue[i], tonumber(weight), 0, math.max(0, tonumber(alive_until) - time_us),
      math.max(0, time_us - tonumber(queue[i + 1])), '')
  end
end
return reply
