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
