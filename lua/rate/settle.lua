--- rate.settle -- say what a reservation, or a hit, of a gcra limit really cost, once: 0 cancels it.
-- Less than was charged gives the rest back, as much as is safe; more is charged as a debt, which is never refused and
-- delays whoever comes next. Cancel and settle may race: the first counts.
-- What is safe to give back: reservations that start later keep their starts, and were promised them with these units
-- counted. So `tat` is lowered by the rest, and at most by max(reach - last start, min(reach - now, slack)). reach is `tat`
-- as this reservation left it, less all by which it was lowered since, and at least start + cost * interval: nobody who
-- came later found less. slack is the least, of those still to start, of what `tat` ran ahead of the start when it was
-- made, without its own units, less all by which it was lowered since. While something is lent by rate.lease, the end of
-- the loan that ends last is such a start too, and there is no slack. Of a reservation that is cancelled before its
-- start, what did not come back comes back when those that start after it are cancelled too. The promise of rate.reserve
-- holds in any order of these.
-- KEYS[1] key      string   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:gcra
-- KEYS[2] open     hash     <key>:reservations
-- KEYS[3] starts   zset     <key>:starts
-- ARGV[1] count     int[1..1000000000]   as when it was charged
-- ARGV[2] window_us int[1..315576000000000]   as when it was charged
-- ARGV[3] burst     int[1..1000000000]   as when it was charged
-- ARGV[4] token     token   as given to rate.reserve; for a hit one of the caller's choice, always the same
-- ARGV[5] start_us  int[0..9007199254740991]|''   start_us of the reservation, at_us of the hit; '' = not known: a reservation whose reply was lost
-- ARGV[6] cost      int[1..1000000000]   units that were charged; at most burst
-- ARGV[7] actual    int[0..1000000000000000]   units that it cost
-- ARGV[8] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  settled   int     1 = by this call, 0 = it was settled before, or start_us is '' and nothing is known of it
-- RETURN  returned  int     units given back (one that had drained in part counts whole); below 0: as many were charged
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds something else
-- REPEAT  safe      a settled token changes nothing until 60 s and the time of a whole burst after its start; later, a debt is charged again
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
if #ARGV ~= 8 then return rsarg('ARGV', 'must hold 8 words') end
local start_us = ARGV[5]
if start_us ~= '' then
  start_us = integer(start_us, 0, 9007199254740991)
  if not start_us then return rsarg('start_us', "must be '' or an integer from 0 to 9007199254740991") end
end
local cost = integer(ARGV[6], 1, 1000000000)
if not cost then return out_of_range('cost', 1, 1000000000) end
if cost > burst then return rsarg('cost', 'must be at most burst') end
local actual = integer(ARGV[7], 0, 1000000000000000)
if not actual then return out_of_range('actual', 0, 1000000000000000) end
local state = load()
if not state then return redis.error_reply('RSSTATE a key of the limit holds something else') end
if state.start_us and not state.reach_us or not state.start_us and start_us == '' then return { now_us, 0, 0 } end
-- What is still to start and not known any more was lost with the key: its units are not in `tat`.
local is_lost = state.is_stale or not state.start_us and start_us > now_us
start_us = state.start_us or start_us

local function lower(by)
  state.tat, state.lowered = state.tat - by, math.min(state.lowered + by, MOST)
end
local function last_of_all()
  local last = redis.call('ZREVRANGE', STARTS, '0', '0', 'WITHSCORES')
  return tonumber(last[2] or 0), last[1]
end
redis.call('ZREM', STARTS, token)
redis.call('HDEL', OPEN, token)
local rest_us, back_us, owed_us = (cost - actual) * interval, 0, 0
if rest_us < 0 then
  state.tat = math.min(state.tat - rest_us, MOST)
elseif not is_lost then
  local reach_us = math.max(start_us + cost * interval, (state.reach_us or 0) - state.lowered)
  local other_us = last_of_all()
  local room_us = reach_us - math.max(other_us, state.lent_us, now_us)
  if other_us > now_us and state.lent_us <= now_us then
    local slack_us = math.min(state.turn_us > now_us and state.older or MOST, state.newer) - state.lowered
    room_us = math.max(room_us, math.min(reach_us - now_us, slack_us))
  end
  back_us = math.min(rest_us, room_us, state.tat - now_us)
  if back_us < 0 then back_us = 0 end
  lower(back_us)
  if actual == 0 and start_us > now_us then owed_us = rest_us - back_us end
end
-- The token stays known. Before its start what is left of it keeps its place; one that is owed for keeps it too.
if owed_us > 0 then redis.call('HSET', OPEN, '!' .. token, digits(owed_us)) end
local stands = owed_us > 0 or actual > 0
redis.call('ZADD', STARTS, digits(stands and start_us or math.min(start_us, now_us)), token)
-- Nobody starts after these any more.
local last_us, last
for _ = 1, 100 do
  last_us, last = last_of_all()
  local owed = last_us > now_us and state.lent_us <= now_us and redis.call('HGET', OPEN, '!' .. last)
  if not owed then break end
  lower(math.min(tonumber(owed), state.tat - now_us))
  redis.call('ZADD', STARTS, digits(now_us), last)
  redis.call('HDEL', OPEN, '!' .. last)
end
redis.call('HSET', OPEN, '!', digits(state.lowered))
save(state)
forget_old()
keep(last_us)
if back_us > 0 then return { now_us, 1, math.min(cost - actual, math.ceil(back_us / interval)) } end
return { now_us, 1, rest_us < 0 and cost - actual or 0 }
