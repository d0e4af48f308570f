-- A fleet: the replicas ('replica' -> 'sequence|seen_us|ttl_us|observes|cpu_ppm|queue', ttl_us 0 of one that has left;
-- '' -> 'since_us|last_us' of all), and what all saw within the window ('begin of a slice|bucket' and 'begin of a slice|failed' -> requests).
local REPLICAS, WINDOW = KEYS[1], KEYS[2]
if #KEYS ~= 2 or REPLICAS == WINDOW then return rsarg('KEYS', 'must name the replicas and the window, two different keys') end
if type(redis.pcall('HLEN', REPLICAS)) ~= 'number' or type(redis.pcall('HLEN', WINDOW)) ~= 'number' then
  return redis.error_reply('RSSTATE a key of the fleet holds another type')
end
-- Less than so long ago; where the clock went back, also what is ahead by less than that.
local function is_recent(at_us, span_us) return at_us > now_us - span_us and at_us < now_us + span_us end
-- Since when replicas have been kept; now, where they were lost, or the clock went back, or all were silent for longer
-- than silence_us, and who is alive is in doubt.
local function read_since(text, silence_us)
  local since, last = string.match(text or '', '^(%d+)|(%d+)$')
  if not since or tonumber(last) > now_us or tonumber(last) + silence_us < now_us then return now_us end
  return math.min(tonumber(since), now_us)
end
local function read_replica(text)
  local sequence, seen, ttl, observes, cpu, queue =
    string.match(text or '', '^(%d+)|(%d+)|(%d+)|([01])|(%d*)|(%d*)$')
  if not sequence then return nil end
  return { sequence = tonumber(sequence), seen_us = tonumber(seen), ttl_us = tonumber(ttl), observes = tonumber(observes),
    cpu_ppm = tonumber(cpu), queue = tonumber(queue) }
end
