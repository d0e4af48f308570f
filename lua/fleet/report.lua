--- fleet.report -- tell of one replica: how it is now, and the requests that ended since its last report.
-- A replica reports every few seconds. What it says of itself takes the place of what it said before; its requests are
-- added to those of the others, in the slice (a tenth of the window) of the time at which they ended. Of a sequence
-- number not above its last nothing is taken over. It counts as alive until ttl_us after its last report.
-- The bucket of a latency of v microseconds: v itself below 64; else 32 s + floor(v / 2^s), s = floor(log2 v) - 5. Its
-- middle is off by 1/64 of v at the most.
-- KEYS[1] replicas  hash    <prefix>rs1:{<group>}:fleet
-- KEYS[2] window    hash    <prefix>rs1:{<group>}:fleet-window
-- ARGV[1] replica   token   who reports: a name that no other process has had, nor this one before a restart
-- ARGV[2] sequence  int[1..9007199254740991]   of the report; the same when it is sent again
-- ARGV[3] ttl_us    int[1000..3600000000]   how long it counts as alive without another report
-- ARGV[4] window_us int[1000..3600000000]   length of the window, the same for all of a group
-- ARGV[5] age_us    int[0..9007199254740991]   how long ago the last of the requests ended, about
-- ARGV[6] cpu_ppm   int[0..1000000000]|''   its CPU, in millionths of what it has; '' = not known
-- ARGV[7] queue     int[0..1000000000000000]|''   requests that wait in it; '' = not known
-- ARGV[8] observes  int[0..1]   1 = it tells of every request, so that none told is none there
-- ARGV[9] leaves    int[0..1]   1 = it ends, and is not alive any more
-- ARGV[10] failures int[0..1000000000]   requests that failed, of those below
-- ARGV[9+2i] bucket int[0..1023]   i=1..n   n=1..1024   of the latency
-- ARGV[10+2i] count int[0..1000000000]   i=1..n   requests of that latency; 0 where there is nothing to tell
-- ARGV[2n+11] now_us int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was taken over
-- RETURN  taken     int     1, or 0 for a repeat
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      by the replica's sequence number
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
local n = (#ARGV - 11) / 2
if n < 1 or n > 1024 or n ~= math.floor(n) then return rsarg('ARGV', 'must hold 10 words, 1 to 1024 pairs, now_us') end
local replica = ARGV[1]
if not is_token(replica) then return rsarg('replica', 'must be a token') end
local limits = { { 'sequence', 1, 9007199254740991 }, { 'ttl_us', 1000, 3600000000 }, { 'window_us', 1000, 3600000000 },
  { 'age_us', 0, 9007199254740991 }, { 'cpu_ppm', 0, 1000000000, true }, { 'queue', 0, 1000000000000000, true },
  { 'observes', 0, 1 }, { 'leaves', 0, 1 }, { 'failures', 0, 1000000000 } }
local words = {}
for i, limit in ipairs(limits) do
  local word = ARGV[i + 1]
  words[limit[1]] = integer(word, limit[2], limit[3])
  if not words[limit[1]] and not (limit[4] and word == '') then return out_of_range(limit[1], limit[2], limit[3]) end
end
local window_us = words.window_us
local slice_us = math.floor(window_us / 10)
local ended_us = math.max(0, now_us - words.age_us)
local slice = digits(ended_us - ended_us % slice_us)
local added, fields = {}, {}
local function add(name, count)
  if count == 0 then return end
  local field = slice .. '|' .. name
  if not added[field] then fields[#fields + 1] = field end
  added[field] = (added[field] or 0) + count
end
for i = 1, n do
  local bucket, count = integer(ARGV[9 + 2 * i], 0, 1023), integer(ARGV[10 + 2 * i], 0, 1000000000)
  if not bucket then return out_of_range('bucket', 0, 1023) end
  if not count then return out_of_range('count', 0, 1000000000) end
  add(digits(bucket), count)
end
add('failed', words.failures)
local kept = redis.call('HMGET', REPLICAS, replica, '')
local record, since_us = read_replica(kept[1]), read_since(kept[2], words.ttl_us)
if record and words.sequence <= record.sequence then return { now_us, 0 } end

local function forget(key, old)
  for i = 1, #old, 1000 do redis.call('HDEL', key, unpack(old, i, math.min(i + 999, #old))) end
end
-- Once a slice: what is out of the window, and who has been dead for longer than that (until then its number is kept).
local function sweep()
  local swept_us = integer(redis.call('HGET', WINDOW, 'swept_us'), 0, 4503599627370496)
  if swept_us and swept_us <= now_us and now_us < swept_us + slice_us then return end
  local old, names, dead = {}, redis.call('HKEYS', WINDOW), {}
  for _, name in ipairs(names) do
    local begin_us = string.match(name, '^(%d+)|')
    if begin_us and not is_recent(tonumber(begin_us), window_us) then old[#old + 1] = name end
  end
  local replicas = redis.call('HGETALL', REPLICAS)
  for i = 1, #replicas, 2 do
    local each = read_replica(replicas[i + 1])
    if replicas[i] ~= '' and not (each and is_recent(each.seen_us, each.ttl_us + window_us)) then
      dead[#dead + 1] = replicas[i]
    end
  end
  forget(WINDOW, old)
  forget(REPLICAS, dead)
  redis.call('HSET', WINDOW, 'swept_us', digits(now_us))
end
sweep()
redis.call('HSET', REPLICAS, '', digits(since_us) .. '|' .. digits(now_us), replica, table.concat({ digits(words.sequence), digits(now_us),
  words.leaves == 1 and '0' or digits(words.ttl_us), ARGV[8], ARGV[6], ARGV[7] }, '|'))
if #fields > 0 and is_recent(tonumber(slice), window_us) then
  local found, pairs_of = redis.call('HMGET', WINDOW, unpack(fields)), {}
  for i, field in ipairs(fields) do
    pairs_of[2 * i - 1] = field
    pairs_of[2 * i] = digits((integer(found[i], 0, 4503599627370496) or 0) + added[field])
  end
  redis.call('HSET', WINDOW, unpack(pairs_of))
end
local life = life_ms(7200000000) -- longer than any ttl or window
redis.call('PEXPIRE', REPLICAS, life)
redis.call('PEXPIRE', WINDOW, life)
return { now_us, 1 }
