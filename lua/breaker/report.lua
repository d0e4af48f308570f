--- breaker.report -- fold in what a node saw of the dependency, decide, and say what holds.
-- A node reports every second or so, and at once what is urgent: a run of failures, the end of a probe. Of a sequence
-- number not above its last nothing is folded in. Outcomes of another generation than the present are void.
-- The message on the channel is the key of the breaker and the 14 words of its state as replied, separated by spaces.
-- KEYS[1] breaker   hash    <prefix>rs1:{<name>}:breaker
-- KEYS[2] window    hash    <prefix>rs1:{<name>}:breaker-window
-- KEYS[3] nodes     hash    <prefix>rs1:{<name>}:breaker-nodes
-- KEYS[4] probes    zset    <prefix>rs1:{<name>}:breaker-probes
-- ARGV[1] node      token   who reports: a name that no other process has had, nor this one before a restart
-- ARGV[2] sequence  int[1..9007199254740991]   of the report; the same when it is sent again
-- ARGV[3] generation   int[0..9007199254740991]   of the state that the node knows; 0 = it knows none
-- ARGV[4] state     enum closed|open|half_open|disabled|metrics_only   that state
-- ARGV[5] remaining_us int[0..2678400000000]   what is left of it, by the node's reckoning
-- ARGV[6] run       int[0..1000000000]   the node's failures in a row, up to now
-- ARGV[7] votes     int[0..1]   1 = by its own calls alone, however few, the node finds the dependency bad
-- ARGV[8] probe     token|''   a probe that has ended; '' = none
-- ARGV[9] outcome   enum none|back|success|failure|slow|slow_failure   of it; back = it came to nothing, none = no probe
-- ARGV[10] consecutive int[0..1000000000]   failures in a row of one node that open it; 0 = no such rule
-- ARGV[11] minimum int[1..1000000000]   calls of the window before which no rate opens it
-- ARGV[12] failure_ppm int[0..1000000]   failures in a million calls that open it; 0 = no such rule
-- ARGV[13] slow_ppm int[0..1000000]   slow calls in a million that open it; 0 = no such rule
-- ARGV[14] slow_us int[0..86400000000]   from when on the node takes a call for slow; only noted
-- ARGV[15] quorum int[1..10000]   nodes that must find the dependency bad
-- ARGV[16] window_us int[1000..86400000000]   length of the window; its slices are tenths
-- ARGV[17] open_us int[1000..86400000000]   how long it is open the first time
-- ARGV[18] growth_pct int[100..1000]   how much longer each time in a row, in percent
-- ARGV[19] max_open_us int[1000..86400000000]   where that growth ends
-- ARGV[20] permits int[1..1000]   probes of a half-open round; it closes when as many have ended and too few were bad
-- ARGV[21] half_open_us int[0..86400000000]   how long half-open may last; 0 = without an end
-- ARGV[22] probe_us int[1000..86400000000]   lease of a permit
-- ARGV[23] drawn int[0..1000]   thousandths by which an opening is longer, drawn at random by the caller
-- ARGV[24] channel  token|''   where to publish a change, '' = nowhere; nodes listen on <prefix>rs1:breakers
-- ARGV[21+4i] age_us int[0..9007199254740991]   i=1..n   n=1..64   how long ago these calls ended, about
-- ARGV[22+4i] calls int[0..1000000000]   i=1..n   not reported yet; 0 where there is nothing to tell
-- ARGV[23+4i] failures int[0..1000000000]   i=1..n   of them
-- ARGV[24+4i] slow  int[0..1000000000]   i=1..n   of them
-- ARGV[4n+25] now_us int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  folded    int     1 = the calls count; 0 = a repeat, or of another generation
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
-- REPEAT  safe      by the node's sequence number
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
local node, sequence = ARGV[1], integer(ARGV[2], 1, 9007199254740991)
local AT = 10
local n = (#ARGV - 25) / 4
if n < 1 or n > 64 or n ~= math.floor(n) then return rsarg('ARGV', 'must hold 24 words, 1 to 64 groups of 4, now_us') end
if not is_token(node) then return rsarg('node', 'must be a token') end
if not sequence then return out_of_range('sequence', 1, 9007199254740991) end
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
local run, votes, probe, channel = integer(ARGV[6], 0, 1000000000), integer(ARGV[7], 0, 1), ARGV[8], ARGV[24]
local kinds = { none = -1, back = -1, success = 0, failure = 1, slow = 2, slow_failure = 3 }
local kind = kinds[ARGV[9]]
if not run then return out_of_range('run', 0, 1000000000) end
if not votes then return out_of_range('votes', 0, 1) end
if probe ~= '' and not is_token(probe) then return rsarg('probe', "must be a token or ''") end
if not kind or (ARGV[9] == 'none') ~= (probe == '') then
  return rsarg('outcome', 'must be none without a probe, else back, success, failure, slow or slow_failure')
end
if channel ~= '' and not is_token(channel) then return rsarg('channel', "must be a token or ''") end
local items = {}
for i = 1, n do
  local age_us, item = integer(ARGV[21 + 4 * i], 0, 9007199254740991), {}
  if not age_us then return out_of_range('age_us', 0, 9007199254740991) end
  for j, name in ipairs({ 'calls', 'failures', 'slow' }) do
    item[j] = integer(ARGV[21 + 4 * i + j], 0, 1000000000)
    if not item[j] then return out_of_range(name, 0, 1000000000) end
  end
  item.at = math.max(0, now_us - age_us)
  items[i] = item
end
meet()
local record = redis.call('HGET', NODES, node)
local last, seen_us = string.match(record or '0|0', '^(%d+)|(%d+)')
last, seen_us = tonumber(last), tonumber(seen_us)
local folds = false
local function slices()
  local kept, old = {}, {}
  local fields = voided and {} or redis.call('HGETALL', WINDOW)
  for i = 1, #fields, 2 do
    local at, calls, failures, slow = tonumber(fields[i]), string.match(fields[i + 1], '^(%d+)|(%d+)|(%d+)$')
    if at > now_us - rules.window_us and at <= now_us then
      kept[fields[i]] = { tonumber(calls), tonumber(failures), tonumber(slow) }
    else
      old[#old + 1] = fields[i]
    end
  end
  return kept, old
end
local function fold()
  local kept, old = slices()
  local sum, fresh, width = { 0, 0, 0 }, {}, math.floor(rules.window_us / 10)
  for _, each in pairs(kept) do
    for j = 1, 3 do sum[j] = sum[j] + each[j] end
  end
  for _, item in ipairs(items) do
    local at = item.at - item.at % width
    if item[1] > 0 and at > now_us - rules.window_us then
      local field = digits(at)
      local slice = kept[field] or { 0, 0, 0, is_new = true }
      kept[field], fresh[#fresh + 1] = slice, field
      for j = 1, 3 do slice[j], sum[j] = slice[j] + item[j], sum[j] + item[j] end
    end
  end
  return sum, kept, fresh, old
end
local function why(sum)
  if rules.consecutive > 0 and run >= rules.consecutive then return 'consecutive_failures' end
  if sum[1] < rules.minimum then return nil end
  if rules.failure_ppm > 0 and sum[2] * 1000000 >= rules.failure_ppm * sum[1] then return 'failure_rate' end
  if rules.slow_ppm > 0 and sum[3] * 1000000 >= rules.slow_ppm * sum[1] then return 'slow_call_rate' end
end
-- How many nodes find it bad, the caller with its present vote.
local function count_votes()
  local total, fields = votes, redis.call('HGETALL', NODES)
  for i = 1, #fields, 2 do
    local seen, number, vote = string.match(fields[i + 1], '^%d+|(%d+)|(%d+)|([01])$')
    local at = tonumber(seen)
    local counts_still = tonumber(number) == generation and at > now_us - rules.window_us and at <= now_us
    if fields[i] ~= node and vote == '1' and counts_still then total = total + 1 end
  end
  return total
end
-- Expiry is renewed by the first report of a node in each half hour, and then lasts for longer than any may be silent.
local function keep_node()
  local keep_us, half_us = math.max(3600000000, rules.window_us), 1800000000
  if not record then -- whoever comes sweeps up after those who have gone
    local fields = redis.call('HGETALL', NODES)
    for i = 1, #fields, 2 do
      if tonumber(string.match(fields[i + 1], '^%d+|(%d+)')) <= now_us - keep_us then
        redis.call('HDEL', NODES, fields[i])
      end
    end
  end
  local vote = folds and votes or 0
  redis.call('HSET', NODES, node, table.concat({ digits(sequence), digits(now_us), digits(known), vote }, '|'))
  if math.floor(seen_us / half_us) ~= math.floor(now_us / half_us) then
    redis.call('PEXPIRE', NODES, life_ms(keep_us + half_us))
  end
end
local function keep_window(kept, fresh, old)
  local is_new = false
  for _, field in ipairs(old) do redis.call('HDEL', WINDOW, field) end
  for _, field in ipairs(fresh) do
    local slice = kept[field]
    is_new = is_new or slice.is_new
    redis.call('HSET', WINDOW, field, table.concat({ digits(slice[1]), digits(slice[2]), digits(slice[3]) }, '|'))
  end
  if is_new then redis.call('PEXPIRE', WINDOW, life_ms(2 * rules.window_us)) end
end
if sequence > last then
  local sum, kept, fresh, old, of
  local is_out = probe ~= '' and not voided and redis.call('ZSCORE', PROBES, probe)
  if is_out and kind >= 0 then
    trial = { trial[1] + 1, trial[2] + kind % 2, trial[3] + math.floor(kind / 2) }
    changed = true
    judge()
  end
  folds = known == generation
  if folds and (state == 'closed' or state == 'metrics_only') then
    sum, kept, fresh, old = fold()
    of = generation
    local reason_to_open = state == 'closed' and why(sum)
    if reason_to_open and (rules.quorum == 1 or count_votes() >= rules.quorum) then open(reason_to_open, sum) end
  end
  save()
  if is_out then redis.call('ZREM', PROBES, probe) end
  if of == generation then keep_window(kept, fresh, old) end
  keep_node()
else
  save()
end
tell(channel)
return { now_us, folds and 1 or 0, unpack(snapshot()) }
