--- rate.sliding_window -- sliding window of sub-buckets: may n requests pass, each of a key of its own, under one limit?
-- Promise: no window (t - window_us, t] ever admits more than count units; a unit returns late by less than ceil(window_us / 60).
-- Memory: 8 bytes and 14 per sub-bucket in use, 62 at most.
-- A refused request writes nothing. A key named twice is counted twice, in order. Requests are independent.
-- Asked again after retry_us a request is admitted, if nobody else came first; one microsecond before, it is not.
-- KEYS[i] key       string   i=1..n   n=1..512   <prefix>rs1:{<key>}:rate:<limiter>:<limit>:sliding_window
-- ARGV[1] count     int[1..1000000000000000]   units per window
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
-- >>> _lib/strings
-- The text of a string key; '' where there is none; nil where the key holds another type.
local function text_of(key)
  local text = redis.pcall('GET', key)
  if not text then return '' end
  return type(text) == 'string' and text or nil
end
-- <<< _lib/strings
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
  take = function(limit, state, cost, at_us)
    local newest = #state.buckets - 13
    -- A clock that went back, or a window that grew shorter, adds to the newest bucket: it leaves later, never earlier.
    if newest >= state.first and unpack_at(state.buckets, newest) >= at_us then
      local units = unpack_at(state.buckets, newest + 7) + cost
      state.buckets = string.sub(state.buckets, 1, newest + 6) .. pack(units)
    else
      local last_us = (floor(at_us / limit.width) + 1) * limit.width - 1
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
local width, most, charge_at = 1, 512, 3
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
local count, window_us = read_limit(1, sliding_window.max_count)
if not count then return window_us end
return hits(sliding_window, sliding_window.limit(count, window_us))
