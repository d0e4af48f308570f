--- rate.sliding_log -- exact sliding log: may n requests pass, each of a key of its own, under one limit?
-- Promise: no window (t - window_us, t] ever admits more than count units.
-- Memory: 29 bytes and 7 per unit admitted in the window, doubled as it fills, at most 29 + 7 * count.
-- A refused request writes nothing. A key named twice is counted twice, in order. Requests are independent.
-- Asked again after retry_us a request is admitted, if nobody else came first; one microsecond before, it is not.
-- KEYS[i] key       string   i=1..n   n=1..128   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:sliding_log
-- ARGV[1] count     int[1..10000000]   units per window
-- ARGV[2] window_us int[1..315576000000000]   length of the window
-- ARGV[3] charge    int[0..1]   1 = charge what is admitted, 0 = only look
-- ARGV[3+i] cost    int[1..1000000000000000]   i=1..n   units that request i asks for
-- ARGV[4+n] now_us  int[0..4503599627370496]|''   '' = the server's clock
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
-- tostring(1755123456789012) would be '1.755123456789e+15'. '%d' is the faster, and wrong where C's long has 32 bits.
local DIGITS = format('%d', 4503599627370496) == '4503599627370496' and '%d' or '%.0f'
local function digits(x) return format(DIGITS, x) end
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
-- Integers below 2^53 as 7 bytes, big end first: plain Lua 5.1, where servers differ in `struct` and `bit`.
local char, byte, floor = string.char, string.byte, math.floor
local function pack(x)
  local high = floor(x / 16777216)
  local low = x - high * 16777216
  return char(floor(high / 16777216), floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 65536), floor(low / 256) % 256, low % 256)
end
local function unpack_at(text, at)
  local a, b, c, d, e, f, g = byte(text, at, at + 6)
  return (((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) * 256 + g
end
-- <<< _lib/pack
-- >>> _lib/sliding_log
-- Exact sliding log: a ring of 7-byte stamps in one string. 29 bytes of header: 'L', then capacity, head (the
-- slot written next), live count and newest stamp, 7 bytes each. Slot i lies at 29 + 7i. The ring doubles as
-- it fills, up to the limit, and never shrinks, so that a limit may change from call to call.
local function stamp(state, i) -- of the i-th oldest live one, from 0
  local at = 29 + (state.head - state.live + i) % state.size * 7
  local text = redis.call('GETRANGE', state.key, digits(at), digits(at + 6))
  return #text == 7 and unpack_at(text, 1) or 0
end
-- Lets go what has left the window: a gallop from the oldest, then bisection between its last two steps.
local function forget(state, edge)
  if state.live == 0 or stamp(state, 0) > edge then return end
  local gone = state.live
  if state.newest > edge then
    local low, step = 0, 1
    while low + step < gone and stamp(state, low + step) <= edge do low, step = low + step, step * 2 end
    local high = low + step < gone and low + step or gone - 1
    while high - low > 1 do
      local middle = floor((low + high) / 2)
      if stamp(state, middle) <= edge then low = middle else high = middle end
    end
    gone = high
  end
  state.live = state.live - gone
end
local function grow(limit, state, need)
  local key, first, live = state.key, 29 + (state.head - state.live) % state.size * 7, ''
  if state.live > 0 then
    local till = 29 + state.head * 7
    if first < till then live = redis.call('GETRANGE', key, digits(first), digits(till - 1))
    else
      live = redis.call('GETRANGE', key, digits(first), digits(28 + state.size * 7))
      if till > 29 then live = live .. redis.call('GETRANGE', key, '29', digits(till - 1)) end
    end
  end
  state.size = math.min(math.max(need * 2, 64), math.max(limit.capacity, need))
  state.head = state.live % state.size
  redis.call('SET', key, string.rep('\0', 29) .. live, 'PX', life_ms(limit.window_us))
end
local sliding_log = {
  max_count = 10000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = redis.pcall('GETRANGE', key, '0', '28')
    if type(text) ~= 'string' then return nil end
    if text == '' then return { key = key, size = 0, head = 0, live = 0, newest = 0 } end
    if #text < 29 or byte(text, 1) ~= 76 then return nil end
    local size, head, live, newest = unpack_at(text, 2), unpack_at(text, 9), unpack_at(text, 16), unpack_at(text, 23)
    if size < 1 or size > 10000000 or head >= size or live > size or newest > 9007199254740991 then return nil end
    return { key = key, size = size, head = head, live = live, newest = newest }
  end,
  wait = function(limit, state, cost)
    local at = state.newest > now_us and state.newest or now_us
    if state.seen ~= at then
      forget(state, at - limit.window_us)
      state.seen = at
    end
    local excess = state.live + cost - limit.capacity
    if excess <= 0 then return 0 end
    return stamp(state, excess - 1) + limit.window_us - now_us
  end,
  take = function(limit, state, cost)
    local need = state.live + cost
    if need > state.size then grow(limit, state, need) end
    state.newest = state.newest > now_us and state.newest or now_us
    state.seen = state.newest
    local one, room = pack(state.newest), state.size - state.head
    local fit = cost < room and cost or room
    redis.call('SETRANGE', state.key, digits(29 + state.head * 7), fit == 1 and one or string.rep(one, fit))
    if cost > fit then redis.call('SETRANGE', state.key, '29', string.rep(one, cost - fit)) end
    state.head, state.live = (state.head + cost) % state.size, need
  end,
  view = function(limit, state)
    local left = limit.capacity - state.live
    return left > 0 and left or 0, state.live > 0 and state.newest + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    redis.call('SETRANGE', key, '0', 'L' .. pack(state.size) .. pack(state.head) .. pack(state.live) .. pack(state.newest))
    redis.call('PEXPIRE', key, life_ms(state.newest + limit.window_us - now_us))
  end,
}
-- <<< _lib/sliding_log
-- >>> _lib/limits
-- Reads count, window_us and, where the algorithm has one, burst from ARGV[at], ARGV[at + 1], ...
local function read_limit(algorithm, at, has_burst)
  local count = integer(ARGV[at], 1, algorithm.max_count)
  if not count then return nil, out_of_range('count', 1, algorithm.max_count) end
  local window_us = integer(ARGV[at + 1], 1, 315576000000000)
  if not window_us then return nil, out_of_range('window_us', 1, 315576000000000) end
  if not has_burst then return algorithm.limit(count, window_us) end
  local burst = integer(ARGV[at + 2], 1, 1000000000)
  if not burst then return nil, out_of_range('burst', 1, 1000000000) end
  if burst * math.ceil(window_us / count) > 4503599627370496 then
    return nil, rsarg('burst', 'times ceil(window_us / count) must be at most 4503599627370496')
  end
  return algorithm.limit(count, window_us, burst)
end
-- <<< _lib/limits
-- >>> _lib/hits
local function bad_cost() return out_of_range('cost', 1, 1000000000000000) end
-- One request under one rule, which most are: the same as below, without its tables.
local function hit(rule, charge, cost)
  cost = integer(cost, 1, 1000000000000000)
  if not cost then return bad_cost() end
  local algorithm, limit, key = rule.algorithm, rule.limit, KEYS[1]
  local state = algorithm.load(key)
  if not state then return { now_us, -2, 0, 0 } end
  local never = cost > limit.capacity
  local wait = algorithm.wait(limit, state, never and 0 or cost)
  if never then wait = -1 end
  if charge and wait == 0 then
    algorithm.take(limit, state, cost)
    algorithm.save(key, limit, state)
  end
  return { now_us, wait, algorithm.view(limit, state) }
end
-- Decides requests one after the other. Request r asks for cost ARGV[first_cost + r - 1] of every rule
-- {algorithm, limit}; its keys are KEYS[(r - 1) * #rules + 1] and on, one a rule. All keys are read and
-- type-checked before the first write, each once, so that a key named twice counts twice.
local function hits(rules, first_cost, most)
  local width, total = #rules, #KEYS
  if total == 0 or total % width ~= 0 or total > most then
    return rsarg('KEYS', 'must name ' .. width .. ' a request, 1 to ' .. most .. ' in all')
  end
  local requests = total / width
  if #ARGV ~= first_cost + requests then return rsarg('ARGV', 'must hold one cost a request, then now_us') end
  local charge = ARGV[first_cost - 1]
  if charge ~= '0' and charge ~= '1' then return rsarg('charge', 'must be 0 or 1') end
  if total == 1 then return hit(rules[1], charge == '1', ARGV[first_cost]) end
  local costs, states, rule_of = {}, {}, {}
  for r = 1, requests do
    local cost = integer(ARGV[first_cost + r - 1], 1, 1000000000000000)
    if not cost then return bad_cost() end
    costs[r] = cost
  end
  for i = 1, total do
    local key, rule = KEYS[i], rules[(i - 1) % width + 1]
    if rule_of[key] == nil then
      rule_of[key], states[key] = rule, rule.algorithm.load(key) or false
    elseif rule_of[key] ~= rule then
      return rsarg('KEYS', 'names one key under two limits')
    end
  end
  local reply, at, dirty = { now_us }, 1, {}
  for r = 1, requests do
    local first, admitted = (r - 1) * width, charge == '1'
    for j = 1, width do
      local rule, state = rules[j], states[KEYS[first + j]]
      local wait = -2
      if state then
        local never = costs[r] > rule.limit.capacity
        wait = rule.algorithm.wait(rule.limit, state, never and 0 or costs[r])
        if never then wait = -1 end
      end
      reply[at + j * 3 - 2] = wait
      admitted = admitted and wait == 0
    end
    for j = 1, width do
      local key, rule = KEYS[first + j], rules[j]
      local state, left, reset = states[key], 0, 0
      if admitted then
        rule.algorithm.take(rule.limit, state, costs[r])
        dirty[key] = true
      end
      if state then left, reset = rule.algorithm.view(rule.limit, state) end
      reply[at + j * 3 - 1], reply[at + j * 3] = left, reset
    end
    at = at + width * 3
  end
  for i = 1, total do
    local key = KEYS[i]
    if dirty[key] then
      dirty[key] = nil
      rule_of[key].algorithm.save(key, rule_of[key].limit, states[key])
    end
  end
  return reply
end
-- <<< _lib/hits
local limit, malformed = read_limit(sliding_log, 1)
if not limit then return malformed end
return hits({ { algorithm = sliding_log, limit = limit } }, 4, 128)
