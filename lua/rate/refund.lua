--- rate.refund -- give back units of one admitted request, to all of its m limits, once.
-- What comes back is never more than the request still holds: gcra lowers `tat` by
-- clamp(cost * interval - (now - at), 0, tat - now); the log lets go of the request's own stamps where at most 64 came
-- after them, else of its oldest; the windows take from the bucket of `at`. A request that has left its window brings nothing back. So no promise of rate.<algorithm>
-- is broken by a refund: after it, a window holds at most what was admitted in it and not given back. After a
-- rate.reset, refund nothing of what was admitted before it: the key no longer knows of it.
-- The mark keys remember the token as long as the request counts: a repeated refund gives nothing.
-- KEYS[2j-1] key     string   j=1..m   m=1..32   the key that was hit
-- KEYS[2j]   mark    string   j=1..m   <key>:refund:<token>
-- ARGV[1] m         int[1..32]   limits
-- ARGV[2+4(j-1)] algorithm  enum gcra|sliding_log|sliding_window|fixed_window   j=1..m   how it counts
-- ARGV[3+4(j-1)] count      int[1..1000000000000000]   j=1..m   as at the hit
-- ARGV[4+4(j-1)] window_us  int[1..315576000000000]   j=1..m   as at the hit
-- ARGV[5+4(j-1)] burst      int[0..1000000000]   j=1..m   as at the hit
-- ARGV[2+4m] at_us     int[0..4503599627370496]   at_us of the reply to the hit
-- ARGV[3+4m] cost      int[1..1000000000000000]   units to give back, at most those that were charged
-- ARGV[4+4m] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  refunded     int   units given back (gcra: one that had drained in part counts whole); -2 = the key holds something else, untouched
-- ERROR   RSARG     an argument is malformed
-- REPEAT  safe      a mark that exists gives nothing
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
-- >>> _lib/pack
-- Integers below 2^53 as 7 bytes, big end first: plain Lua 5.1, where servers differ in `struct`, `bit`.
local char, byte, floor = string.char, string.byte, math.floor
local function pack(x)
  local high = floor(x / 16777216)
  local low = x - high * 16777216
  return char(floor(high / 16777216), floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 65536), floor(low / 256) % 256, low % 256)
end
local function join(a, b, c, d, e, f, g)
  return ((a * 256 + b) * 256 + c) * 4294967296 + (((d * 256 + e) * 256 + f) * 256 + g)
end
local function unpack_at(text, at) return join(byte(text, at, at + 6)) end
-- <<< _lib/pack
-- >>> _lib/strings
-- The text of a string key; '' where there is none; nil where the key holds another type.
local function text_of(key)
  local text = redis.pcall('GET', key)
  if not text then return '' end
  return type(text) == 'string' and text or nil
end
-- <<< _lib/strings
-- >>> _lib/gcra
-- Generic cell rate algorithm (ITU-T I.371). The key is a string with one integer, the theoretical arrival
-- time `tat` in microseconds: a hit moves it on by cost * interval, and it may run ahead of now by
-- burst * interval. interval = ceil(window_us / count), so the rate is never above count per window.
local gcra = {
  max_count = 1000000000,
  limit = function(count, window_us, burst)
    local interval = math.ceil(window_us / count)
    return { capacity = burst, interval = interval, full_us = burst * interval }
  end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { tat = 0 } end
    local tat = integer(text, 0, 9007199254740992)
    return tat and { tat = tat }
  end,
  wait = function(limit, state, cost)
    local start = state.tat > now_us and state.tat or now_us
    local wait = start + cost * limit.interval - limit.full_us - now_us
    return wait > 0 and wait or 0
  end,
  take = function(limit, state, cost)
    state.tat = (state.tat > now_us and state.tat or now_us) + cost * limit.interval
  end,
  view = function(limit, state)
    local debt = state.tat > now_us and state.tat - now_us or 0
    local left = math.floor((limit.full_us - debt) / limit.interval)
    return left > 0 and left or 0, debt
  end,
  save = function(key, _, state)
    redis.call('SET', key, digits(state.tat), 'PX', life_ms(state.tat - now_us))
  end,
}
-- <<< _lib/gcra
-- >>> _lib/sliding_log
-- Exact sliding log: a ring of 7-byte stamps in one string, after a header of 31 bytes: 'L', slots of the ring (3
-- bytes), oldest live stamp (7), when the key may expire (7), head = the slot written next (3), live stamps (3),
-- newest stamp (7). Slot i lies at 31 + 7i. An ordinary hit writes its slot and the last 13 bytes of the header.
-- The ring doubles as it fills, up to the limit, so that a limit may change from call to call.
local function pack3(x) return char(floor(x / 65536), floor(x / 256) % 256, x % 256) end
local function join3(a, b, c) return (a * 256 + b) * 256 + c end
local function stamp(state, i) -- of the i-th oldest live one, from 0
  local at = 31 + (state.head - state.live + i) % state.size * 7
  local text = redis.call('GETRANGE', state.key, digits(at), digits(at + 6))
  return #text == 7 and unpack_at(text, 1) or 0
end
local function let_go(state, gone, oldest)
  state.live = state.live - gone
  state.oldest = oldest or state.live > 0 and stamp(state, 0) or 0
  state.whole = true
end
-- Lets go what has left the window: a gallop from the oldest, then bisection between its last two steps.
local function forget(state, edge)
  if state.live == 0 or state.oldest > edge then return end
  if state.newest <= edge then return let_go(state, state.live, 0) end
  local low, high, step, oldest = 0, state.live - 1, 1, state.newest
  while high - low > 1 do
    local middle = step and low + step < high and low + step or floor((low + high) / 2)
    local seen = stamp(state, middle)
    if seen > edge then
      high, oldest, step = middle, seen, nil
    else
      low, step = middle, step and step * 2
    end
  end
  let_go(state, high, oldest)
end
local function header(state)
  return 'L' .. pack3(state.size) .. pack(state.oldest) .. pack(state.expires)
    .. pack3(state.head) .. pack3(state.live) .. pack(state.newest)
end
-- True where PEXPIRE is due. An eighth of the window more than is needed spares most hits one; under a clock that is
-- not the server's it is always due.
local function extend(limit, state)
  local end_us = state.newest + limit.window_us
  if state.expires >= end_us then return ARGV[#ARGV] ~= '' end
  state.expires, state.whole = end_us + math.ceil(limit.window_us / 8), true
  return true
end
local function live_stamps(state)
  if state.live == 0 then return '' end
  local first, head = 31 + (state.head - state.live) % state.size * 7, 31 + state.head * 7
  if first < head then return redis.call('GETRANGE', state.key, digits(first), digits(head - 1)) end
  local text = redis.call('GETRANGE', state.key, digits(first), digits(30 + state.size * 7))
  return head == 31 and text or text .. redis.call('GETRANGE', state.key, '31', digits(head - 1))
end
local sliding_log = {
  max_count = 10000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = redis.pcall('GETRANGE', key, '0', '30')
    if type(text) ~= 'string' then return nil end
    if text == '' then return { key = key, size = 0, oldest = 0, expires = 0, head = 0, live = 0, newest = 0 } end
    if #text < 31 or byte(text, 1) ~= 76 then return nil end
    local s1, s2, s3, o1, o2, o3, o4, o5, o6, o7, e1, e2, e3, e4, e5, e6, e7 = byte(text, 2, 18)
    local h1, h2, h3, l1, l2, l3, n1, n2, n3, n4, n5, n6, n7 = byte(text, 19, 31)
    local state = {
      key = key, size = join3(s1, s2, s3), oldest = join(o1, o2, o3, o4, o5, o6, o7),
      expires = join(e1, e2, e3, e4, e5, e6, e7), head = join3(h1, h2, h3), live = join3(l1, l2, l3),
      newest = join(n1, n2, n3, n4, n5, n6, n7),
    }
    if state.size < 1 or state.size > 10000000 or state.head >= state.size or state.live > state.size
      or state.newest > 9007199254740991 or state.oldest > state.newest then return nil end
    return state
  end,
  wait = function(limit, state, cost)
    forget(state, (state.newest > now_us and state.newest or now_us) - limit.window_us)
    local excess = state.live + cost - limit.capacity
    if excess <= 0 then return 0 end
    return (excess == 1 and state.oldest or stamp(state, excess - 1)) + limit.window_us - now_us
  end,
  take = function(limit, state, cost)
    local need, key = state.live + cost, state.key
    if state.newest < now_us then state.newest = now_us end
    if state.live == 0 then state.oldest = state.newest end
    local one = pack(state.newest)
    if state.live == 0 or need > state.size then
      local stamps = live_stamps(state) .. string.rep(one, cost)
      state.size = math.min(math.max(need * 2, 64), math.max(limit.capacity, need))
      state.head, state.live = need % state.size, need
      extend(limit, state)
      redis.call('SET', key, header(state) .. stamps, 'PX', life_ms(state.expires - now_us))
      state.saved = true
      return
    end
    local room = state.size - state.head
    local fit = cost < room and cost or room
    redis.call('SETRANGE', key, digits(31 + state.head * 7), fit == 1 and one or string.rep(one, fit))
    if cost > fit then redis.call('SETRANGE', key, '31', string.rep(one, cost - fit)) end
    state.head, state.live, state.saved = (state.head + cost) % state.size, need, false
  end,
  view = function(limit, state)
    local left = limit.capacity - state.live
    return left > 0 and left or 0, state.live > 0 and state.newest + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    if state.saved then return end
    if extend(limit, state) then redis.call('PEXPIRE', key, life_ms(state.expires - now_us)) end
    if state.whole then
      redis.call('SETRANGE', key, '0', header(state))
    else
      redis.call('SETRANGE', key, '18', pack3(state.head) .. pack3(state.live) .. pack(state.newest))
    end
  end,
}
-- <<< _lib/sliding_log
-- >>> _lib/sliding_window
-- Sliding window of sub-buckets, the oldest counted whole: never over the limit, late by less than one
-- sub-bucket (window_us / 60). The key is a string: 'W', the units in all buckets (7 bytes), then from the
-- oldest on (the last microsecond of the bucket, 7 bytes; its units, 7 bytes). A bucket carries its own end,
-- so the window may change from call to call.
local sliding_window = {
  max_count = 1000000000000000,
  limit = function(count, window_us)
    return { capacity = count, window_us = window_us, width = math.ceil(window_us / 60) }
  end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { total = 0, first = 1, buckets = '' } end
    if byte(text, 1) ~= 87 or #text < 22 or (#text - 8) % 14 ~= 0 or unpack_at(text, 2) > 1000000000000000 then return nil end
    return { total = unpack_at(text, 2), first = 1, buckets = string.sub(text, 9) }
  end,
  wait = function(limit, state, cost)
    local at = state.first
    while at < #state.buckets and unpack_at(state.buckets, at) + limit.window_us <= now_us do
      state.total = state.total - unpack_at(state.buckets, at + 7)
      at = at + 14
    end
    state.first = at
    local excess, wait = state.total + cost - limit.capacity, 0
    while excess > 0 and at < #state.buckets do
      wait = unpack_at(state.buckets, at) + limit.window_us - now_us
      excess = excess - unpack_at(state.buckets, at + 7)
      at = at + 14
    end
    return wait
  end,
  take = function(limit, state, cost)
    local newest = #state.buckets - 13
    -- A clock that went back, or a window that grew shorter, adds to the newest bucket: it leaves later, never earlier.
    if newest >= state.first and unpack_at(state.buckets, newest) >= now_us then
      local units = unpack_at(state.buckets, newest + 7) + cost
      state.buckets = string.sub(state.buckets, 1, newest + 6) .. pack(units)
    else
      local last_us = (floor(now_us / limit.width) + 1) * limit.width - 1
      state.buckets = state.buckets .. pack(last_us) .. pack(cost)
    end
    state.total = state.total + cost
  end,
  view = function(limit, state)
    local left = limit.capacity - state.total
    local reset = state.total > 0 and unpack_at(state.buckets, #state.buckets - 13) + limit.window_us - now_us or 0
    return left > 0 and left or 0, reset
  end,
  save = function(key, limit, state)
    redis.call('SET', key, 'W' .. pack(state.total) .. string.sub(state.buckets, state.first), 'PX',
      life_ms(unpack_at(state.buckets, #state.buckets - 13) + limit.window_us - now_us))
  end,
}
-- <<< _lib/sliding_window
-- >>> _lib/fixed_window
-- Fixed window. The key is a string 'start_us:used'; a window starts at its first hit and ends window_us later.
local fixed_window = {
  max_count = 1000000000000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { start = 0, used = 0 } end
    local start, used = string.match(text, '^(%d+):(%d+)$')
    start, used = integer(start, 0, 9007199254740991), integer(used, 0, 9007199254740991)
    return start and used and { start = start, used = used }
  end,
  wait = function(limit, state, cost)
    if state.used > 0 and now_us - state.start >= limit.window_us then state.used = 0 end
    return cost > limit.capacity - state.used and state.start + limit.window_us - now_us or 0
  end,
  take = function(_, state, cost)
    if state.used == 0 then state.start = now_us end
    state.used = state.used + cost
  end,
  view = function(limit, state)
    local left = limit.capacity - state.used
    return left > 0 and left or 0, state.used > 0 and state.start + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    redis.call('SET', key, digits(state.start) .. ':' .. digits(state.used), 'PX',
      life_ms(state.start + limit.window_us - now_us))
  end,
}
-- <<< _lib/fixed_window
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
-- >>> _lib/rules
-- Reads m groups (algorithm, count, window_us, burst) from ARGV[first] on.
local algorithms = {
  gcra = gcra, sliding_log = sliding_log, sliding_window = sliding_window, fixed_window = fixed_window,
}
local function read_rules(m, first)
  local rules = {}
  for j = 1, m do
    local at = first + 4 * (j - 1)
    local algorithm = algorithms[ARGV[at]]
    if not algorithm then
      return nil, rsarg('algorithm', 'must be gcra, sliding_log, sliding_window or fixed_window')
    end
    if algorithm ~= gcra and ARGV[at + 3] ~= '0' then
      return nil, rsarg('burst', 'must be 0 where the algorithm is not gcra')
    end
    local count, window_us, burst = read_limit(at + 1, algorithm.max_count, algorithm == gcra)
    if not count then return nil, window_us end
    rules[j] = { algorithm = algorithm, limit = algorithm.limit(count, window_us, burst) }
  end
  return rules
end
-- <<< _lib/rules
local m = integer(ARGV[1], 1, 32)
if not m then return out_of_range('m', 1, 32) end
if #KEYS ~= 2 * m then return rsarg('KEYS', 'must name a key and its mark for each limit') end
if #ARGV ~= 4 + 4 * m then return rsarg('ARGV', 'must hold 4 words a limit, at_us, cost and now_us') end
local rules, malformed = read_rules(m, 2)
if not rules then return malformed end
local at_us = integer(ARGV[2 + 4 * m], 0, 4503599627370496)
if not at_us then return out_of_range('at_us', 0, 4503599627370496) end
local cost = integer(ARGV[3 + 4 * m], 1, 1000000000000000)
if not cost then return out_of_range('cost', 1, 1000000000000000) end

-- Whether the request still counts is asked of the latest time that the key has seen: the clock may have gone back.
local give_back, NEAR = {}, 64
give_back[gcra] = function(limit, state)
  local seen_us = math.max(now_us, state.tat - limit.full_us)
  local back = cost * limit.interval - math.max(seen_us - at_us, 0)
  if back > state.tat - now_us then back = state.tat - now_us end
  if back <= 0 then return 0 end
  state.tat = state.tat - back
  return math.min(cost, math.ceil(back / limit.interval))
end
give_back[sliding_log] = function(limit, state)
  sliding_log.wait(limit, state, 0)
  if state.live == 0 or at_us + limit.window_us <= math.max(now_us, state.newest) then return 0 end
  local back, last = math.min(cost, state.live), state.live - 1
  while last >= 0 and last >= state.live - NEAR and stamp(state, last) > at_us do last = last - 1 end
  local first = last - back + 1
  if first < 0 or stamp(state, first) ~= at_us or stamp(state, last) ~= at_us then
    let_go(state, back) -- the oldest: what stays counts longer than it should, never shorter
    return back
  end
  for i = last + 1, state.live - 1 do
    local at = 31 + (state.head - state.live + i - back) % state.size * 7
    redis.call('SETRANGE', state.key, digits(at), pack(stamp(state, i)))
  end
  state.head = (state.head - back) % state.size
  let_go(state, back, first > 0 and state.oldest)
  if state.live > 0 then state.newest = stamp(state, state.live - 1) end
  return back
end
give_back[sliding_window] = function(limit, state)
  sliding_window.wait(limit, state, 0)
  if state.first > #state.buckets then return 0 end
  local seen_us = math.max(now_us, unpack_at(state.buckets, #state.buckets - 13))
  for at = state.first, #state.buckets, 14 do
    if unpack_at(state.buckets, at) >= at_us then
      local units = unpack_at(state.buckets, at + 7)
      local back = at_us + limit.window_us > seen_us and math.min(cost, units) or 0
      state.buckets = string.sub(state.buckets, 1, at + 6) .. pack(units - back) .. string.sub(state.buckets, at + 14)
      state.total = state.total - back
      return back
    end
  end
  return 0
end
give_back[fixed_window] = function(limit, state)
  fixed_window.wait(limit, state, 0)
  if at_us < state.start or at_us - state.start >= limit.window_us then return 0 end
  local back = math.min(cost, state.used)
  state.used = state.used - back
  return back
end

local reply, states = { now_us }, {}
for j = 1, m do states[j] = rules[j].algorithm.load(KEYS[2 * j - 1]) or false end
for j = 1, m do
  local key, mark, rule, state = KEYS[2 * j - 1], KEYS[2 * j], rules[j], states[j]
  local back = state and 0 or -2
  if state and redis.call('EXISTS', mark) == 0 then
    back = give_back[rule.algorithm](rule.limit, state)
    if back > 0 then
      rule.algorithm.save(key, rule.limit, state)
      -- After that the request counts no more, and a refund would give nothing anyway.
      local counts_us = rule.limit.full_us or rule.limit.window_us
      redis.call('SET', mark, '1', 'PX', life_ms(at_us + counts_us - now_us))
    end
  end
  reply[j + 1] = back
end
return reply
