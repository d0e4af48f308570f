--- breaker.read -- what a breaker is in, how that came about, and what is counted. Changes nothing.
-- KEYS[1] breaker   hash    <prefix>rs1:{<name>}:breaker
-- KEYS[2] window    hash    <prefix>rs1:{<name>}:breaker-window
-- KEYS[3] nodes     hash    <prefix>rs1:{<name>}:breaker-nodes
-- KEYS[4] probes    zset    <prefix>rs1:{<name>}:breaker-probes
-- ARGV[1] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was read
-- RETURN  state     string  closed, open, half_open, disabled (all pass, none is counted) or metrics_only (all pass)
-- RETURN  before    string  the state before that
-- RETURN  generation int    of the state; higher with every change, 0 = there is no such breaker
-- RETURN  remaining_us int  what is left of the state; 0 = over until somebody calls, or without an end
-- RETURN  since_us  int     when it began
-- RETURN  length_us int     how long it was to last then; 0 = without an end
-- RETURN  opens     int     how often in a row it opened without having been closed
-- RETURN  forced    int     1 = by hand
-- RETURN  by        string  the node that noticed, or who forced it
-- RETURN  calls     int     that led to it
-- RETURN  failures  int     of them
-- RETURN  slow      int     of them
-- RETURN  policy    string  the 13 rules of whoever brought it about, separated by commas; '' = unknown
-- RETURN  reason    string  why
-- RETURN  window_calls    int  that count now: of the window, or of the half-open round
-- RETURN  window_failures int  of them
-- RETURN  window_slow     int  of them
-- RETURN  probes    int     permits that are out
-- RETURN  replicas  int     nodes that reported within the window's length
-- RETURN  votes     int     how many of them find the dependency bad
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
-- >>> _lib/breaker
-- One breaker: a hash (its state, the end of that and how it came about), the pooled window ('begin of a slice' ->
-- 'calls|failures|slow'), the replicas ('node' -> 'sequence|seen_us|generation|votes'), and the permits that are out
-- (zset token -> end of its lease). Every change of state begins a generation, and voids window and permits.
local BREAKER, WINDOW, NODES, PROBES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if #KEYS ~= 4 then return rsarg('KEYS', 'must name the breaker, its window, its nodes and its probes') end
for i = 1, 3 do
  for j = i + 1, 4 do
    if KEYS[i] == KEYS[j] then return rsarg('KEYS', 'must be four different keys') end
  end
end
local found = redis.pcall('HMGET', BREAKER, 'state', 'before', 'generation', 'until_us', 'since_us', 'length_us', 'opens',
  'forced', 'by', 'calls', 'failures', 'slow', 'policy', 'reason', 'trial_calls', 'trial_failures', 'trial_slow')
if not found[1] and found.err or type(redis.pcall('HLEN', WINDOW)) ~= 'number'
  or type(redis.pcall('HLEN', NODES)) ~= 'number' or type(redis.pcall('ZCARD', PROBES)) ~= 'number' then
  return redis.error_reply('RSSTATE a key of the breaker holds another type')
end
local state, before, generation = found[1] or 'closed', found[2] or 'closed', tonumber(found[3] or 0)
local until_us, since_us, length_us = tonumber(found[4] or 0), tonumber(found[5] or 0), tonumber(found[6] or 0)
local opens, forced, by = tonumber(found[7] or 0), found[8] or '0', found[9] or ''
local counts = { tonumber(found[10] or 0), tonumber(found[11] or 0), tonumber(found[12] or 0) }
local policy, reason = found[13] or '', found[14] or ''
local trial = { tonumber(found[15] or 0), tonumber(found[16] or 0), tonumber(found[17] or 0) }
-- Until_us is 0 for a state without an end; where the clock went back, no state lasts longer than it was to.
local clamped = until_us > now_us + length_us
if clamped then until_us = now_us + length_us end
local function snapshot()
  return { state, before, generation, math.max(0, until_us - now_us), since_us, length_us, opens, tonumber(forced), by,
    counts[1], counts[2], counts[3], policy, reason }
end
-- <<< _lib/breaker
if #ARGV ~= 1 then return rsarg('ARGV', 'must hold now_us') end
local window_us = tonumber(string.match(policy, '^%d+,%d+,%d+,%d+,%d+,%d+,(%d+)') or 60000000)
local sum, replicas, votes = state == 'half_open' and trial or { 0, 0, 0 }, 0, 0
local fields = state == 'half_open' and {} or redis.call('HGETALL', WINDOW)
for i = 1, #fields, 2 do
  local at = tonumber(fields[i])
  if at > now_us - window_us and at <= now_us then
    local calls, failures, slow = string.match(fields[i + 1], '^(%d+)|(%d+)|(%d+)$')
    sum = { sum[1] + tonumber(calls), sum[2] + tonumber(failures), sum[3] + tonumber(slow) }
  end
end
local nodes = redis.call('HGETALL', NODES)
for i = 1, #nodes, 2 do
  local seen_us, number, vote = string.match(nodes[i + 1], '^%d+|(%d+)|(%d+)|([01])$')
  local at = tonumber(seen_us)
  if at > now_us - window_us and at <= now_us then
    replicas = replicas + 1
    if vote == '1' and tonumber(number) == generation then votes = votes + 1 end
  end
end
local reply = { now_us, unpack(snapshot()) }
for _, value in ipairs({ sum[1], sum[2], sum[3], redis.call('ZCARD', PROBES), replicas, votes }) do
  reply[#reply + 1] = value
end
return reply
