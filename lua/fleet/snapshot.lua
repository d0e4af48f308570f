--- fleet.snapshot -- how a fleet is: the replicas that are alive, and the requests of the window. Changes nothing.
-- The window is the slice under way and the nine before it. The quantile is that of all requests together, by nearest
-- rank: the middle of the bucket in which the request of that rank is, off by 1/64 at the most.
-- KEYS[1] replicas  hash    <prefix>rs1:{<group>}:fleet
-- KEYS[2] window    hash    <prefix>rs1:{<group>}:fleet-window
-- ARGV[1] window_us int[1000..3600000000]   length of the window, as the replicas report it
-- ARGV[2] quantile_ppm int[1..1000000]   which quantile, in millionths: 990000 = the 99th percentile
-- ARGV[3] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was read
-- RETURN  requests  int     that ended within the window, of the dead too
-- RETURN  failures  int     of them
-- RETURN  quantile_us int   that quantile of their latencies; -1 = there were none
-- RETURN  observing int     replicas, of those alive, that tell of every request
-- RETURN  kept_us   int     for how long replicas have been kept: after a loss, a step of the clock, or a silence of all for longer than a ttl, not all may be back
-- RETURN per item  replica   string   one that is alive
-- RETURN per item  silent_us int   since its last report
-- RETURN per item  cpu_ppm   int   its CPU, in millionths of what it has; -1 = not known
-- RETURN per item  queue     int   requests that wait in it; -1 = not known
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
-- >>> _lib/fleet
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
-- <<< _lib/fleet
if #ARGV ~= 3 then return rsarg('ARGV', 'must hold window_us, quantile_ppm, now_us') end
local window_us, quantile_ppm = integer(ARGV[1], 1000, 3600000000), integer(ARGV[2], 1, 1000000)
if not window_us then return out_of_range('window_us', 1000, 3600000000) end
if not quantile_ppm then return out_of_range('quantile_ppm', 1, 1000000) end
local requests, failures, counts, recent = 0, 0, {}, {}
local fields = redis.call('HGETALL', WINDOW)
for i = 1, #fields, 2 do
  local begin, name = string.match(fields[i], '^(%d+)|(%w+)$')
  if begin and recent[begin] == nil then recent[begin] = is_recent(tonumber(begin), window_us) end
  if begin and recent[begin] then
    local count, bucket = integer(fields[i + 1], 0, 9007199254740991) or 0, integer(name, 0, 1023)
    if bucket then
      counts[bucket], requests = (counts[bucket] or 0) + count, requests + count
    elseif name == 'failed' then
      failures = failures + count
    end
  end
end
local quantile_us, rank, passed = -1, math.ceil(requests * quantile_ppm / 1000000), 0
for bucket = 0, requests > 0 and 1023 or -1 do
  passed = passed + (counts[bucket] or 0)
  if passed >= rank then
    local shift = math.max(0, math.floor(bucket / 32) - 1)
    quantile_us = (bucket - 32 * shift) * 2 ^ shift + math.floor(2 ^ shift / 2)
    break
  end
end
local observing, since_us, reply = 0, now_us, { now_us, requests, failures, quantile_us, 0, 0 }
local replicas = redis.call('HGETALL', REPLICAS)
for i = 1, #replicas, 2 do
  local each = read_replica(replicas[i + 1])
  if replicas[i] == '' then since_us = read_since(replicas[i + 1], math.huge) end
  if each and is_recent(each.seen_us, each.ttl_us) then
    observing = observing + each.observes
    reply[#reply + 1] = replicas[i]
    reply[#reply + 1] = math.max(0, now_us - each.seen_us)
    reply[#reply + 1] = each.cpu_ppm or -1
    reply[#reply + 1] = each.queue or -1
  end
end
reply[5], reply[6] = observing, now_us - since_us
return reply
