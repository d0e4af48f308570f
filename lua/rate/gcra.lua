--- rate.gcra -- token bucket without a bucket (GCRA): may n requests pass, each of a key of its own, under one limit?
-- Promise: any span of w microseconds admits at most burst + floor(w / ceil(window_us / count)) units.
-- The rate is one unit per ceil(window_us / count) microseconds: rounded to the caller's loss, by at most
-- count / window_us of it (100 per minute: none; 700,000 per second: one per 2 us, so 500,000).
-- A refused request writes nothing. A key named twice is counted twice, in order. Requests are independent.
-- Asked again after retry_us a request is admitted, if nobody else came first; one microsecond before, it is not.
-- KEYS[i] key       string   i=1..n   n=1..512   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:gcra
-- ARGV[1] count     int[1..1000000000]   units per window
-- ARGV[2] window_us int[1..315576000000000]   length of the window
-- ARGV[3] burst     int[1..1000000000]   units that may pass at once from a full bucket; burst * ceil(window_us / count) <= 2^52
-- ARGV[4] charge    int[0..1]   1 = charge what is admitted, 0 = only look
-- ARGV[4+i] cost    int[1..1000000000000000]   i=1..n   units that request i asks for
-- ARGV[5+n] now_us  int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN per item  retry_us     int   0 = admitted; t > 0 = refused, passes in t microseconds; -1 = refused, never passes (cost > burst); -2 = the key holds something else, untouched
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
local limit, malformed = read_limit(gcra, 1, true)
if not limit then return malformed end
return hits({ { algorithm = gcra, limit = limit } }, 5, 512)
