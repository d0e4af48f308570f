--- rate.sliding_log -- exact sliding log: may n requests pass, each of a key of its own, under one limit?
-- Promise: no window (t - window_us, t] ever admits more than count units.
-- Memory: 31 bytes and 7 per unit admitted in the window, doubled as it fills, at most 31 + 7 * count.
-- The key outlives what it counts by an eighth of the window at most.
-- A refused request writes nothing. A key named twice is counted twice, in order. Requests are independent.
-- Asked again after retry_us a request is admitted, if nobody else came first; one microsecond before, it is not.
-- KEYS[i] key       string   i=1..n   n=1..128   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:sliding_log
-- ARGV[1] count     int[1..10000000]   units per window
-- ARGV[2] window_us int[1..315576000000000]   length of the window
-- ARGV[3] charge    int[0..1]   1 = charge what is admitted, 0 = only look
-- ARGV[3+i] cost    int[1..1000000000000000]   i=1..n   units that request i asks for
-- ARGV[4+n] now_us  int[0..4503599627370496]|''   '' = the server's clock
-- REPLY   line
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  retry_us     int   0 = admitted; t > 0 = refused, passes in t microseconds; -1 = refused, never passes (cost > count); -2 = the key holds something else, untouched
-- RETURN per item  remaining    int   units left now
-- RETURN per item  reset_us     int   0, or when nothing of what was admitted counts any more
-- ERROR   RSARG     an argument is malformed
-- REPEAT  charges again: a retried call may refuse too much, never admit too much
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
    forget(state, now_us - limit.window_us)
    local excess = state.live + cost - limit.capacity
    if excess <= 0 then return 0 end
    return (excess == 1 and state.oldest or stamp(state, excess - 1)) + limit.window_us - now_us
  end,
  take = function(limit, state, cost, at_us)
    local need, key = state.live + cost, state.key
    if state.newest < at_us then state.newest = at_us end
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
local width, most, charge_at = 1, 128, 3
-- >>> _lib/requests
-- The costs, one a request, follow the charge flag; a request names `width` keys. Checked before anything is read.
if #KEYS == 0 or #KEYS % width ~= 0 or #KEYS > most then
  return rsarg('KEYS', 'must name ' .. width .. ' a request, 1 to ' .. most .. ' in all')
end
if #ARGV ~= charge_at + #KEYS / width + 1 then return rsarg('ARGV', 'must hold one cost a request, then now_us') end
local charge = ARGV[charge_at]
if charge ~= '0' and charge ~= '1' then return rsarg('charge', 'must be 0 or 1') end
charge = charge == '1'
for i = charge_at + 1, #ARGV - 1 do
  if ARGV[i] ~= '1' and not integer(ARGV[i], 1, 1000000000000000) then
    return out_of_range('cost', 1, 1000000000000000)
  end
end
-- The reply is one line: a client reads a string of numbers several times as fast as an array of them.
local outcome = format('%d', 4294967296) == '4294967296' and '%d %d %d' or '%.0f %.0f %.0f' -- C's long may have 32 bits
-- <<< _lib/requests
-- >>> _lib/hits
-- Decides requests under one limit, each to its end before the next: a key named twice counts twice.
local function hits(algorithm, limit)
  local load, wait, take, view, save = algorithm.load, algorithm.wait, algorithm.take, algorithm.view, algorithm.save
  local reply = { digits(now_us) }
  for i = 1, #KEYS do
    local key, cost, retry_us, left, reset_us = KEYS[i], tonumber(ARGV[charge_at + i]), -2, 0, 0
    local state = load(key)
    if state then
      local never = cost > limit.capacity
      retry_us = wait(limit, state, never and 0 or cost)
      if never then
        retry_us = -1
      elseif charge and retry_us == 0 then
        take(limit, state, cost, now_us)
        save(key, limit, state)
      end
      left, reset_us = view(limit, state)
    end
    reply[i + 1] = format(outcome, retry_us, left, reset_us)
  end
  return table.concat(reply, ' ')
end
-- <<< _lib/hits
local count, window_us = read_limit(1, sliding_log.max_count)
if not count then return window_us end
return hits(sliding_log, sliding_log.limit(count, window_us))
