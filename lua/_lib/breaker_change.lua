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
