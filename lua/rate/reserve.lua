--- rate.reserve -- book units ahead: when may a request start under a gcra limit? On the key that rate.gcra counts in.
-- Promise: any span of w microseconds holds at most burst + floor(w / ceil(window_us / count)) units, where those of a
-- reservation count at its start_us, those of a hit when it was admitted, and what was given back does not count.
-- Reservations start in the order in which they were made, and those made do not move. One is made only if it starts
-- within max_wait_us; what is refused writes nothing. The caller must not start before start_us. Hits do not queue:
-- one passes when the bucket has room for it beside all that is reserved.
-- Give back with rate.settle: also hits, where rate.reserve is used, since rate.refund knows of no reservation.
-- Until it is settled, or forgotten 60 s and the time of a whole burst after its start, one takes about 200 bytes.
-- A rate.reset of the key forgets the reservations too: settle none that was made before.
-- Asked again after retry_us it is made, if nobody else came first; one microsecond before, it is not.
-- KEYS[1] key      string   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:gcra
-- KEYS[2] open     hash     <key>:reservations
-- KEYS[3] starts   zset     <key>:starts
-- ARGV[1] count     int[1..1000000000]   units per window
-- ARGV[2] window_us int[1..315576000000000]   length of the window
-- ARGV[3] burst     int[1..1000000000]   units that may pass at once from a full bucket; burst * ceil(window_us / count) <= 2^52
-- ARGV[4] token     token   of this reservation, unique, chosen by the caller
-- ARGV[5] cost      int[1..1000000000000000]   units to reserve
-- ARGV[6] max_wait_us int[0..315576000000000]   how long the start may be away
-- ARGV[7] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  retry_us  int     0 = reserved; t > 0 = refused, can be reserved in t microseconds; -1 = refused, never (cost > burst)
-- RETURN  remaining int     units that a hit could have now
-- RETURN  reset_us  int     0, or when nothing of what was admitted or reserved counts any more
-- RETURN  start_us  int     when it may start, at_us at the earliest; of one that was refused, when it could have, 0 = never
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds something else
-- REPEAT  safe      a token that is known keeps its start and is charged once, until 60 s and the time of a whole burst after it
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
-- >>> _lib/strings
-- The text of a string key; '' where there is none; nil where the key holds another type.
local function text_of(key)
  local text = redis.pcall('GET', key)
  if not text then return '' end
  return type(text) == 'string' and text or nil
end
-- <<< _lib/strings
-- >>> _lib/bucket
-- The text of a gcra key: 'tat', or while something is lent 'tat/lent', where lent is the end of the loan that ends last.
local function read_bucket(text)
  local tat = text == '' and 0 or integer(text, 0, 9007199254740992)
  if tat or not text then return tat, 0 end
  local first, second = string.match(text, '^(%d+)/(%d+)$')
  local lent = integer(second, 0, 9007199254740992)
  return lent and integer(first, 0, 9007199254740992), lent
end
local function write_bucket(key, tat, lent)
  local text = digits(tat)
  if lent > now_us then text = text .. '/' .. digits(lent) end
  redis.call('SET', key, text, 'PX', life_ms(tat - now_us))
end
-- <<< _lib/bucket
-- >>> _lib/token
-- A token: 1 to 128 characters of A-Z a-z 0-9 _ . : -
local function is_token(text)
  return text ~= nil and #text <= 128 and find(text, '^[%w_.:-]+$') ~= nil
end
-- <<< _lib/token
-- >>> _lib/limits
-- count, window_us and, where there is one, burst from ARGV[at] on; or nil and the error.
local function read_limit(at, max_count, has_burst)
  local count = integer(ARGV[at], 1, max_count)
  if not count then return nil, out_of_range('count', 1, max_count) end
  local window_us = integer(ARGV[at + 1], 1, 315576000000000)
  if not window_us then return nil, out_of_range('window_us', 1, 315576000000000) end
  if not has_burst then return count, window_us end
  local burst = integer(ARGV[at + 2], 1, 1000000000)
  if not burst then return nil, out_of_range('burst', 1, 1000000000) end
  if burst * math.ceil(window_us / count) > 4503599627370496 then
    return nil, rsarg('burst', 'times ceil(window_us / count) must be at most 4503599627370496')
  end
  return count, window_us, burst
end
-- <<< _lib/limits
-- >>> _lib/reservations
-- Reservations of a gcra key. STARTS says when each starts. OPEN holds, by token, of those that are not settled `tat` as
-- they left it plus '!', which is all that `tat` was lowered by until then; as '!token' what is owed for one that was
-- cancelled too early to give back; and as '!!' the least slack of those that are to start: of the older ones, which have
-- all started at `turn_us`, and of those since. Slack, too, counts '!' in. At `turn_us` the newer ones become the older.
if #KEYS ~= 3 then return rsarg('KEYS', 'must name the key, its reservations and their starts') end
local KEY, OPEN, STARTS = KEYS[1], KEYS[2], KEYS[3]
local count, window_us, burst = read_limit(1, 1000000000, true)
if not count then return window_us end
local token = ARGV[4]
if not is_token(token) then return rsarg('token', 'must be a token') end
local interval = math.ceil(window_us / count)
local full_us = burst * interval
-- Settled later than this after its start, a reservation gives nothing back; a debt is charged all the same.
local KEPT_US = full_us + 60000000
local MOST = 9007199254740992
local function load()
  local tat, lent = read_bucket(text_of(KEY))
  local known = redis.pcall('HMGET', OPEN, '!', token, '!!')
  local last = redis.pcall('ZREVRANGE', STARTS, '0', '0', 'WITHSCORES')
  if not tat or known.err or last.err then return nil end
  local state = { tat = math.max(tat, now_us), lowered = tonumber(known[1] or 0), reach_us = tonumber(known[2]) }
  state.lent_us = lent
  state.start_us, state.last_us = tonumber(redis.call('ZSCORE', STARTS, token)), tonumber(last[2] or 0)
  local turn_us, older, newer = string.match(known[3] or '', '^(%d+) (%d+) (%d+)$')
  state.turn_us, state.older, state.newer = tonumber(turn_us or 0), tonumber(older or MOST), tonumber(newer or MOST)
  -- Whoever is still to start has its units in `tat`. Where they are not there, the key was reset or lost.
  state.is_stale = state.last_us > now_us and state.tat <= state.last_us
  return state
end
local function save(state) write_bucket(KEY, state.tat, state.lent_us) end
local function forget_old()
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', STARTS, '-inf', digits(now_us - KEPT_US), 'LIMIT', '0', '16')) do
    redis.call('ZREM', STARTS, old)
    redis.call('HDEL', OPEN, old, '!' .. old)
  end
end
local function keep(last_us)
  local life = life_ms(math.max(last_us - now_us, 0) + KEPT_US)
  redis.call('PEXPIRE', OPEN, life)
  redis.call('PEXPIRE', STARTS, life)
end
-- <<< _lib/reservations
if #ARGV ~= 7 then return rsarg('ARGV', 'must hold 7 words') end
local cost = integer(ARGV[5], 1, 1000000000000000)
if not cost then return out_of_range('cost', 1, 1000000000000000) end
local max_wait_us = integer(ARGV[6], 0, 315576000000000)
if not max_wait_us then return out_of_range('max_wait_us', 0, 315576000000000) end
if now_us + max_wait_us > MOST - full_us then -- the sum of all three would be rounded
  return rsarg('max_wait_us', 'and now_us and burst * ceil(window_us / count) must be at most 2^53 together')
end
local state = load()
if not state then return redis.error_reply('RSSTATE a key of the limit holds something else') end

local function reply(retry_us, start_us)
  local debt_us = state.tat - now_us
  local left = math.floor((full_us - debt_us) / interval)
  return { now_us, retry_us, left > 0 and left or 0, debt_us, start_us }
end
if state.start_us and not state.is_stale then return reply(0, state.start_us) end
if state.is_stale then state.last_us, state.lowered, state.turn_us, state.newer = 0, 0, 0, MOST end

if cost > burst then return reply(-1, 0) end
local due_us = state.tat + cost * interval
local start_us = math.max(now_us, state.last_us, due_us - full_us)
if start_us - now_us > max_wait_us then return reply(start_us - now_us - max_wait_us, start_us) end

state.tat = due_us
save(state) -- the first write: when memory is full it is what fails, and nothing has changed
if state.is_stale then redis.call('DEL', OPEN, STARTS) end
forget_old()
if start_us > now_us then
  if state.turn_us <= now_us then
    state.turn_us, state.older, state.newer = state.last_us, state.newer, MOST
  end
  state.newer = math.min(state.newer, due_us - cost * interval - start_us + state.lowered)
end
local slack = table.concat({ digits(state.turn_us), digits(state.older), digits(state.newer) }, ' ')
redis.call('ZADD', STARTS, digits(start_us), token)
redis.call('HSET', OPEN, token, digits(math.min(due_us + state.lowered, MOST)), '!!', slack)
keep(start_us)
return reply(0, start_us)
