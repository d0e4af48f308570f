--- lock.inspect -- who holds the lock, and who waits for it. Changes nothing.
-- KEYS[1] lock      hash    <prefix>rs1:{<name>}:lock
-- KEYS[2] queue     zset    <prefix>rs1:{<name>}:queue
-- KEYS[3] wait      hash    <prefix>rs1:{<name>}:wait
-- ARGV[1] most      int[0..1000]   waiters to list at the most
-- ARGV[2] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was read
-- RETURN  held      int     1 held, 0 free, 2 granted to a waiter who has not claimed it yet
-- RETURN  fence     int     of the holder, or of the last one; 0 = none known
-- RETURN  lease_us  int     what is left of the lease, 0 if free
-- RETURN  owner     string  its token, '' if free
-- RETURN  holds     string  its holds, separated by spaces
-- RETURN  metadata  string  what the holder gave
-- RETURN  waiting   int     length of the queue, the dead not yet dropped from it included
-- RETURN per item  token      string   a waiter, the first first
-- RETURN per item  waited_us  int      since it joined the queue
-- RETURN per item  alive_us   int      until it is taken for dead, 0 if it is
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
if #KEYS ~= 3 then return rsarg('KEYS', 'must name the lock, its queue and its wait hash') end
if #ARGV ~= 2 then return rsarg('ARGV', 'must hold most, now_us') end
local most = integer(ARGV[1], 0, 1000)
if not most then return out_of_range('most', 0, 1000) end
local lock = redis.pcall('HMGET', KEYS[1], 'owner', 'fence', 'end_us', 'ttl_us', 'claimed', 'holds', 'metadata')
local waiting = redis.pcall('ZCARD', KEYS[2])
if not lock[1] and lock.err or type(waiting) ~= 'number' or type(redis.pcall('HLEN', KEYS[3])) ~= 'number' then
  return redis.error_reply('RSSTATE a key of the lock holds another type')
end
local lease_us = math.min(tonumber(lock[3] or 0) - now_us, tonumber(lock[4] or 0))
local live = lock[1] and lease_us > 0
local reply = { now_us, live and (lock[5] == '1' and 1 or 2) or 0, tonumber(lock[2] or 0), live and lease_us or 0,
  live and lock[1] or '', live and lock[6] or '', live and lock[7] or '', waiting }
if most > 0 then
  local queue = redis.call('ZRANGE', KEYS[2], '0', digits(most - 1), 'WITHSCORES')
  for i = 1, #queue, 2 do
    local record = redis.call('HGET', KEYS[3], queue[i]) or '0|'
    local alive_us = tonumber(string.match(record, '^%d+')) - now_us
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] =
      queue[i], math.max(0, now_us - tonumber(queue[i + 1])), math.max(0, alive_us)
  end
end
return reply
