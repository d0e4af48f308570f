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
-- REPLY   line
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
local width, most, charge_at = 1, 512, 4
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
local count, window_us, burst = read_limit(1, 1000000000, true)
if not count then return window_us end
local interval = math.ceil(window_us / count)
local full_us, reply = burst * interval, { digits(now_us) }
-- The algorithm of _lib/gcra, on one limit and written straight: most calls of most users are this one.
for i = 1, #KEYS do
  local key, cost, retry_us, left, debt_us = KEYS[i], tonumber(ARGV[4 + i]), -2, 0, 0
  local tat, lent = read_bucket(text_of(key))
  if tat then
    if tat > now_us then debt_us = tat - now_us end
    local due_us = debt_us + cost * interval
    if cost > burst then
      retry_us = -1
    elseif due_us > full_us then
      retry_us = due_us - full_us
    else
      retry_us = 0
      if charge then
        debt_us = due_us
        write_bucket(key, now_us + due_us, lent)
      end
    end
    if debt_us < full_us then left = math.floor((full_us - debt_us) / interval) end
  end
  reply[i + 1] = format(outcome, retry_us, left, debt_us)
end
return table.concat(reply, ' ')
