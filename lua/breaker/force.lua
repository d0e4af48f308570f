--- breaker.force -- change a breaker by hand: refuse all calls for a time, let all pass for a time, or close it.
-- When an opening is over a probe may try, as always; when all passed, it is closed. The message on the channel is that
-- of breaker.report.
-- KEYS[1] breaker   hash    <prefix>rs1:{<name>}:breaker
-- KEYS[2] window    hash    <prefix>rs1:{<name>}:breaker-window
-- KEYS[3] nodes     hash    <prefix>rs1:{<name>}:breaker-nodes
-- KEYS[4] probes    zset    <prefix>rs1:{<name>}:breaker-probes
-- ARGV[1] by        token   who does it
-- ARGV[2] state     enum closed|open|disabled|metrics_only   what it is to be
-- ARGV[3] length_us int[0..2678400000000]   for how long, 1000 at the least; 0 where it is to be closed
-- ARGV[4] channel   token|''   as for breaker.report
-- ARGV[5] reason    string[0..512]   why, for people
-- ARGV[6] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
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
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      counts from the later call
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
-- >>> _lib/breaker_change
-- Changes of a breaker are made in memory, and written and told at the end.
local changed, voided, messages = clamped, false, {}
local function admits(name) return name == 'closed' or name == 'disabled' or name == 'metrics_only' end
local function take(name, number, remaining_us)
  before, state, generation, length_us = state, name, number, remaining_us
  until_us = now_us + remaining_us
  if remaining_us == 0 and (name == 'closed' or name == 'half_open') then until_us = 0 end
  opens, trial = admits(name) and 0 or 1, { 0, 0, 0 }
  changed, voided = true, true
end
local function note(who, why, what, by_hand)
  since_us, by, reason, counts, forced = now_us, who, why, what, by_hand
  local words = snapshot()
  for i = 1, #words do
    if type(words[i]) == 'number' then words[i] = digits(words[i]) end
  end
  messages[#messages + 1] = BREAKER .. ' ' .. table.concat(words, ' ')
end
local function go(name, lasts_us, who, why, what, by_hand)
  local kept = admits(name) and 0 or opens
  take(name, math.max(generation + 1, now_us), lasts_us)
  opens = kept
  note(who, why, what, by_hand)
end
-- The first write passes when memory is full, and then the rest passes too.
local function save()
  if voided then redis.call('DEL', WINDOW, PROBES) end
  local life = life_ms(math.max(0, until_us - now_us) + 7200000000)
  redis.call('PEXPIRE', BREAKER, life)
  if changed then
    redis.call('HSET', BREAKER, 'state', state, 'before', before, 'generation', digits(generation),
      'until_us', digits(until_us), 'since_us', digits(since_us), 'length_us', digits(length_us),
      'opens', digits(opens), 'forced', forced, 'by', by, 'calls', digits(counts[1]), 'failures', digits(counts[2]),
      'slow', digits(counts[3]), 'policy', policy, 'reason', reason, 'trial_calls', digits(trial[1]),
      'trial_failures', digits(trial[2]), 'trial_slow', digits(trial[3]))
    redis.call('PEXPIRE', BREAKER, life)
  end
end
local function tell(channel)
  if channel == '' then return end
  for i = 1, #messages do redis.call('PUBLISH', channel, messages[i]) end
end
-- <<< _lib/breaker_change
local who, wanted, lasts_us, channel = ARGV[1], ARGV[2], integer(ARGV[3], 0, 2678400000000), ARGV[4]
if #ARGV ~= 6 then return rsarg('ARGV', 'must hold by, state, length_us, channel, reason, now_us') end
if not is_token(who) then return rsarg('by', 'must be a token') end
if wanted ~= 'closed' and wanted ~= 'open' and wanted ~= 'disabled' and wanted ~= 'metrics_only' then
  return rsarg('state', 'must be closed, open, disabled or metrics_only')
end
if not lasts_us then return out_of_range('length_us', 0, 2678400000000) end
if wanted == 'closed' and lasts_us ~= 0 or wanted ~= 'closed' and lasts_us < 1000 then
  return rsarg('length_us', 'must be 0 for closed, else 1000 at the least')
end
if channel ~= '' and not is_token(channel) then return rsarg('channel', "must be a token or ''") end
if #ARGV[5] > 512 then return rsarg('reason', 'must be at most 512 bytes') end
go(wanted, lasts_us, who, ARGV[5], { 0, 0, 0 }, '1')
save()
tell(channel)
return { now_us, unpack(snapshot()) }
