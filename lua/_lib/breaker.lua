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
