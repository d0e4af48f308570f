--- breaker.probe -- ask whether a call may pass: always while it is closed, with a leased permit while it is half-open.
-- The end of a call that passed with a permit goes to breaker.report; without it the permit is free again when its lease
-- is over. The message on the channel is that of breaker.report.
-- KEYS[1] breaker   hash    <prefix>rs1:{<name>}:breaker
-- KEYS[2] window    hash    <prefix>rs1:{<name>}:breaker-window
-- KEYS[3] nodes     hash    <prefix>rs1:{<name>}:breaker-nodes
-- KEYS[4] probes    zset    <prefix>rs1:{<name>}:breaker-probes
-- ARGV[1] node      token   who asks; as for breaker.report
-- ARGV[2] probe     token   of the call, unique
-- ARGV[3] generation   int[0..9007199254740991]   of the state that the node knows; 0 = it knows none
-- ARGV[4] state     enum closed|open|half_open|disabled|metrics_only   that state
-- ARGV[5] remaining_us int[0..2678400000000]   what is left of it, by the node's reckoning
-- ARGV[6] consecutive int[0..1000000000]   failures in a row of one node that open it; 0 = no such rule
-- ARGV[7] minimum int[1..1000000000]   calls of the window before which no rate opens it
-- ARGV[8] failure_ppm int[0..1000000]   failures in a million calls that open it; 0 = no such rule
-- ARGV[9] slow_ppm int[0..1000000]   slow calls in a million that open it; 0 = no such rule
-- ARGV[10] slow_us int[0..86400000000]   from when on the node takes a call for slow; only noted
-- ARGV[11] quorum int[1..10000]   nodes that must find the dependency bad
-- ARGV[12] window_us int[1000..86400000000]   length of the window; its slices are tenths
-- ARGV[13] open_us int[1000..86400000000]   how long it is open the first time
-- ARGV[14] growth_pct int[100..1000]   how much longer each time in a row, in percent
-- ARGV[15] max_open_us int[1000..86400000000]   where that growth ends
-- ARGV[16] permits int[1..1000]   probes of a half-open round; it closes when as many have ended and too few were bad
-- ARGV[17] half_open_us int[0..86400000000]   how long half-open may last; 0 = without an end
-- ARGV[18] probe_us int[1000..86400000000]   lease of a permit
-- ARGV[19] drawn int[0..1000]   thousandths by which an opening is longer, drawn at random by the caller
-- ARGV[20] channel  token|''   as for breaker.report
-- ARGV[21] now_us   int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  admitted  int     1 = it passes with a permit, 2 = without one, 0 = it is refused
-- RETURN  wait_us   int     when to ask again; 0 if admitted
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
-- REPEAT  safe      the same probe has one permit
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
local node, probe, channel = ARGV[1], ARGV[2], ARGV[20]
local AT = 6
if #ARGV ~= 21 then return rsarg('ARGV', 'must hold 20 words, now_us') end
if not is_token(node) then return rsarg('node', 'must be a token') end
if not is_token(probe) then return rsarg('probe', 'must be a token') end
if channel ~= '' and not is_token(channel) then return rsarg('channel', "must be a token or ''") end
-- >>> _lib/breaker_rules
-- What the caller knows of the breaker, and the rules by which it decides: ARGV[3] to [5], and 14 from AT on.
local known, known_state = integer(ARGV[3], 0, 9007199254740991), ARGV[4]
local known_us = integer(ARGV[5], 0, 2678400000000)
if not known then return out_of_range('generation', 0, 9007199254740991) end
if known_state ~= 'closed' and known_state ~= 'open' and known_state ~= 'half_open' and known_state ~= 'disabled'
  and known_state ~= 'metrics_only' then
  return rsarg('state', 'must be closed, open, half_open, disabled or metrics_only')
end
if not known_us then return out_of_range('remaining_us', 0, 2678400000000) end
local lows = { 0, 1, 0, 0, 0, 1, 1000, 1000, 100, 1000, 1, 0, 1000, 0 }
local highs = { 1000000000, 1000000000, 1000000, 1000000, 86400000000, 10000, 86400000000, 86400000000, 1000,
  86400000000, 1000, 86400000000, 86400000000, 1000 }
local read = {}
for i = 1, 14 do
  read[i] = integer(ARGV[AT + i - 1], lows[i], highs[i])
  if not read[i] then
    local names = { 'consecutive', 'minimum', 'failure_ppm', 'slow_ppm', 'slow_us', 'quorum', 'window_us', 'open_us',
      'growth_pct', 'max_open_us', 'permits', 'half_open_us', 'probe_us', 'drawn' }
    return out_of_range(names[i], lows[i], highs[i])
  end
end
local rules = { consecutive = read[1], minimum = read[2], failure_ppm = read[3], slow_ppm = read[4], quorum = read[6],
  window_us = read[7], open_us = read[8], growth_pct = read[9], max_open_us = read[10], permits = read[11],
  half_open_us = read[12], probe_us = read[13], drawn = read[14] }
local function mine() return table.concat(ARGV, ',', AT, AT + 12) end
local function change(name, lasts_us, why, what)
  policy = mine()
  go(name, lasts_us, node, why, what, '0')
end
local function open(why, what)
  opens = math.min(opens + 1, 64)
  local length = rules.open_us
  for _ = 2, opens do length = math.min(rules.max_open_us, math.floor(length * rules.growth_pct / 100)) end
  change('open', length + math.floor(length * rules.drawn / 1000), why, what)
end
-- Learns of the caller what may have been lost here (evicted, flushed, failed over); a caller that knows nothing makes
-- no more than a beginning, which cannot overrule what others know. Then does what time alone brings about.
local function meet()
  if known > generation then
    take(known_state, known, known_us)
    if state == 'half_open' and known_us == 0 and rules.half_open_us > 0 then until_us = now_us end -- it is over
    policy = mine()
    note(node, 'restored', { 0, 0, 0 }, '0')
  elseif generation == 0 then
    take('closed', 1, 0)
    policy, since_us, by = mine(), now_us, node
  end
  if until_us == 0 or until_us > now_us then return end
  if state == 'half_open' then open('half_open_timeout', trial)
  elseif admits(state) then change('closed', 0, 'expired', { 0, 0, 0 }) end
end
-- Whether the probes that have ended are enough to close it, or too bad.
local function judge()
  local slow = rules.slow_ppm > 0 and trial[3] * 1000000 >= rules.slow_ppm * rules.permits
  if slow or trial[2] * 1000000 >= math.max(1, rules.failure_ppm * rules.permits) then
    open('probe_failed', trial)
  elseif trial[1] >= rules.permits then
    change('closed', 0, 'probes_succeeded', trial)
  end
end
-- <<< _lib/breaker_rules
meet()
local admitted, wait_us, granted, ended = 0, 0, false, {}
if state == 'open' and until_us <= now_us then
  change('half_open', rules.half_open_us, 'recovery_timeout', { 0, 0, 0 })
elseif state == 'half_open' then
  judge() -- by these rules, which may be others than those of the last who came
end
-- A permit whose lease is over is taken back only when it is needed. Where the clock went back, no lease lasts longer
-- than it was to.
local function ask()
  local out = {}
  local pairs_of = voided and {} or redis.call('ZRANGE', PROBES, '0', '-1', 'WITHSCORES')
  for i = 1, #pairs_of, 2 do
    if pairs_of[i] == probe then return 1, 0 end
    out[#out + 1] = { token = pairs_of[i], end_us = tonumber(pairs_of[i + 1]) }
  end
  local many, first_us = #out, math.huge
  if trial[1] + many >= rules.permits then
    many = 0
    for _, each in ipairs(out) do
      if each.end_us > now_us and each.end_us <= now_us + rules.probe_us then
        many, first_us = many + 1, math.min(first_us, each.end_us)
      else
        ended[#ended + 1] = each.token
      end
    end
    if trial[1] + many >= rules.permits then return 0, first_us - now_us end
  end
  granted = true
  return 1, 0
end
if state == 'open' then wait_us = until_us - now_us
elseif state == 'half_open' then admitted, wait_us = ask()
else admitted = 2 end
save()
for _, token in ipairs(ended) do redis.call('ZREM', PROBES, token) end
if granted then
  redis.call('ZADD', PROBES, digits(now_us + rules.probe_us), probe)
  redis.call('PEXPIRE', PROBES, life_ms(rules.probe_us + 3600000000))
end
tell(channel)
return { now_us, admitted, wait_us, unpack(snapshot()) }
