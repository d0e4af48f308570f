--- lock.acquire_all -- take n locks for one owner, all or none. Never waits, and passes nobody who does.
-- Each must be free, or held by owner already, and nobody who is alive may wait among the first 100 of its queue.
-- What it gives is what lock.acquire gives: release each by lock.release, renew them by lock.renew.
-- KEYS[3i-2] lock    hash    i=1..n   n=1..64   <prefix>rs1:{<tag>}:<name>:lock, all in one slot
-- KEYS[3i-1] queue   zset    i=1..n   ...:queue
-- KEYS[3i] wait      hash    i=1..n   ...:wait
-- ARGV[1] owner     token   of this acquisition, unique, chosen by the caller
-- ARGV[2] ttl_us    int[1000..31622400000000]   lease length
-- ARGV[3] metadata  string[0..1024]   what others may read about the holder
-- ARGV[4] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  acquired  int     1 all are held by owner now, 0 nothing was changed
-- RETURN  wait_us   int     0, or the longest lease that is in the way (1000 at least)
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  fence  int   acquired: of owner's lease; else 0 = it could be had, -1 = it could not
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      the same owner holds them once; a repeat that arrives after the release takes them anew, for one ttl
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
local owner, metadata = ARGV[1], ARGV[3]
local n = #KEYS / 3
if n < 1 or n > 64 or n ~= math.floor(n) then return rsarg('KEYS', 'must name lock, queue and wait of 1 to 64 locks') end
if #ARGV ~= 4 then return rsarg('ARGV', 'must hold owner, ttl_us, metadata, now_us') end
if not is_token(owner) then return rsarg('owner', 'must be a token') end
local ttl_us = integer(ARGV[2], 1000, 31622400000000)
if not ttl_us then return out_of_range('ttl_us', 1000, 31622400000000) end
if #metadata > 1024 then return rsarg('metadata', 'must be at most 1024 bytes') end
local seen = {}
for _, key in ipairs(KEYS) do
  if seen[key] then return rsarg('KEYS', 'must all be different') end
  seen[key] = true
end

local function somebody_waits(queue, wait)
  local tokens = redis.call('ZRANGE', queue, '0', '99')
  if #tokens == 0 then return false end
  local records = redis.call('HMGET', wait, unpack(tokens))
  for i, token in ipairs(tokens) do
    if token ~= owner and tonumber(string.match(records[i] or '0', '^%d+')) > now_us then return true end
  end
  return false
end
local locks, acquired, wait_us = {}, 1, 1000
for i = 1, n do
  local key, queue, wait = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local found = redis.pcall('HMGET', key, 'owner', 'fence', 'end_us', 'ttl_us')
  local waiting = redis.pcall('ZCARD', queue)
  if not found[1] and found.err or type(waiting) ~= 'number' or type(redis.pcall('HLEN', wait)) ~= 'number' then
    return redis.error_reply('RSSTATE a key of the lock holds another type')
  end
  local lease_us = math.min(tonumber(found[3] or 0) - now_us, tonumber(found[4] or 0))
  local live = found[1] and found[1] ~= '' and lease_us > 0
  local lock = { fence = tonumber(found[2] or 0), is_mine = live and found[1] == owner }
  lock.can_be_had = lock.is_mine or not live and not (waiting > 0 and somebody_waits(queue, wait))
  if not lock.can_be_had then
    acquired, wait_us = 0, math.max(wait_us, live and lease_us or 0)
  end
  locks[i] = lock
end

local reply = { acquired, acquired == 1 and 0 or wait_us, now_us }
for i, lock in ipairs(locks) do
  if acquired == 1 then
    local key = KEYS[3 * i - 2]
    if not lock.is_mine then
      lock.fence = math.max(lock.fence + 1, now_us)
      redis.call('HSET', key, 'owner', owner, 'fence', digits(lock.fence), 'holds', '', 'mailbox', '')
      redis.call('ZREM', KEYS[3 * i - 1], owner)
      redis.call('HDEL', KEYS[3 * i], owner)
    end
    redis.call('HSET', key, 'end_us', digits(now_us + ttl_us), 'ttl_us', digits(ttl_us), 'claimed', '1',
      'metadata', metadata)
    redis.call('PEXPIRE', key, life_ms(ttl_us + math.max(ttl_us, 60000000)))
    reply[i + 3] = lock.fence
  else
    reply[i + 3] = lock.can_be_had and 0 or -1
  end
end
return reply
