--- semaphore.release -- let go of a lease, or of a place in the queue; hand over what is free to the next waiters.
-- A waiter that gives up releases its token as well: it may have been granted meanwhile, and those behind it may fit.
-- KEYS[1] semaphore hash    <prefix>rs1:{<name>}:semaphore
-- KEYS[2] leases    zset    <prefix>rs1:{<name>}:semaphore-leases
-- KEYS[3] queue     zset    <prefix>rs1:{<name>}:semaphore-queue
-- KEYS[4] wait      hash    <prefix>rs1:{<name>}:semaphore-wait
-- ARGV[1] owner     token   as given to semaphore.acquire
-- ARGV[2] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  released  int     1 = it was held until now, or is one of the last 32 released; 0 = it was not (a lost lease, a waiter)
-- RETURN  holds     int     leases that are there now, those granted but not claimed included
-- RETURN  at_us     int     the time at which this was decided
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      says 1 again until 32 others were released; then 0
-- FLAGS   write frees
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
local owner = ARGV[1]
if #KEYS ~= 4 then return rsarg('KEYS', 'must name the semaphore, its leases, its queue and its wait hash') end
if #ARGV ~= 2 then return rsarg('ARGV', 'must hold owner, now_us') end
if not is_token(owner) then return rsarg('owner', 'must be a token') end
-- >>> _lib/queue
-- Those who wait: a zset in order of arrival, and a hash of what is known of each: token -> 'alive_until|mailbox'
-- and what else its script adds, '!mailbox' -> one that left a grant unanswered, '~token' -> mailbox of one who races and
-- is not in the queue. They are the last two KEYS.
local CLAIM_US = 1000000 -- at least twice the longest wait_us of a poller, or no poller is ever served
local BOX_ALIVE_US = 30000000
local QUEUE, WAIT = KEYS[#KEYS - 1], KEYS[#KEYS]
local waiting, known = redis.pcall('ZCARD', QUEUE), redis.pcall('HLEN', WAIT)
local is_queue = type(waiting) == 'number' and type(known) == 'number'
local time_us = now_us -- what the times of waiters are compared with
local function leave(token)
  if waiting > 0 and redis.call('ZREM', QUEUE, token) == 1 then
    redis.call('HDEL', WAIT, token)
    waiting = waiting - 1
  end
end
local function condemn(box) -- until it calls again
  redis.call('HSET', WAIT, '!' .. box, '1')
  redis.call('PEXPIRE', WAIT, life_ms(BOX_ALIVE_US + 60000000))
end
local boxes = {} -- the mailboxes tried in this call; one that was not reached is not tried again
local function is_condemned(box) return redis.call('HEXISTS', WAIT, '!' .. box) == 1 end
local function reached(box, message)
  if boxes[box] == false then return false end
  boxes[box] = (boxes[box] or not is_condemned(box)) and redis.call('PUBLISH', box, message) > 0
  return boxes[box]
end
-- Goes through the first 1000 waiters, ten and then a hundred at a time: the dead leave, the others (and the caller
-- `me`, who is here) are each given to offer(token, mailbox, rest of the record, alive until). It replies 'next'; or
-- 'stop'; or 'tell' when nobody else is served: then one waiter of another mailbox, if there is one among the next
-- twenty, is told to look again when the claims are over.
local function walk(me, offer)
  local at, seen, most, chunk, telling = 0, 0, 1000, 10, false
  while waiting > 0 and seen < most do
    local tokens = redis.call('ZRANGE', QUEUE, digits(at), digits(at + chunk - 1))
    if #tokens == 0 then return end
    local records, before = redis.call('HMGET', WAIT, unpack(tokens)), waiting
    for i, token in ipairs(tokens) do
      local alive_until, box, rest = string.match(records[i] or '0|', '^(%d+)|([^|]*)(.*)$')
      local alive = tonumber(alive_until) > time_us
      seen = seen + 1
      if not telling then
        if alive or token == me then
          local answer = offer(token, box, rest, tonumber(alive_until))
          if answer == 'stop' then return end
          if answer == 'tell' then telling, most = true, seen + 20 end
        else
          leave(token)
        end
      end
      if telling and alive and box ~= '' and boxes[box] == nil
        and reached(box, token .. ' ' .. digits(CLAIM_US + 1000)) then return end
    end
    at, chunk = at + #tokens - (before - waiting), telling and 20 or 100
  end
end
-- <<< _lib/queue
-- >>> _lib/semaphore
-- One semaphore: a hash (sum of the weights and number of leases held, last fence, ..., and of each lease '@token' ->
-- 'end|ttl|weight|fence|claimed|mailbox|metadata'), a zset token -> a time before which the lease does not end, and
-- those who wait, with 'weight|limit'. A renewal changes the hash alone, so the zset says only when to look; for one
-- that shortens a lease, early_us says so.
local SEMAPHORE, LEASES = KEYS[1], KEYS[2]
for i = 1, 3 do
  for j = i + 1, 4 do
    if KEYS[i] == KEYS[j] then return rsarg('KEYS', 'must be four different keys') end
  end
end
local found = redis.pcall('HMGET', SEMAPHORE, 'sum', 'held', 'fence', 'seen_us', 'shift_us', 'until_us', 'early_us',
  '@' .. owner)
local indexed = redis.pcall('ZCARD', LEASES)
if not found[1] and found.err or type(indexed) ~= 'number' or not is_queue then
  return redis.error_reply('RSSTATE a key of the semaphore holds another type')
end
local sum, held, fence = tonumber(found[1] or 0), tonumber(found[2] or 0), tonumber(found[3] or 0)
local shift_us, until_us, early_us = tonumber(found[5] or 0), tonumber(found[6] or 0), tonumber(found[7] or math.huge)
local changed = false
-- Its own time never goes back: where the server's clock does, it goes on from where it was last seen, and so no lease
-- outlives its length.
time_us = math.max(now_us + shift_us, tonumber(found[4] or 0))
if time_us > now_us + shift_us then
  shift_us = time_us - now_us
  redis.call('HDEL', SEMAPHORE, 'shift_us') -- passes when memory is full, and what follows it then passes too
  redis.call('HSET', SEMAPHORE, 'shift_us', digits(shift_us))
end
local function parse(text)
  local ends, length, share, number, claimed, box, about =
    string.match(text, '^(%d+)|(%d+)|(%d+)|(%d+)|([01])|([^|]*)|(.*)$')
  return { end_us = tonumber(ends), ttl_us = tonumber(length), weight = tonumber(share), fence = tonumber(number),
    claimed = claimed == '1', mailbox = box, metadata = about }
end
local function life() return life_ms(math.max(until_us - time_us, 60000000)) end
local function save()
  redis.call('PEXPIRE', SEMAPHORE, life()) -- first, because it passes when memory is full; and last, for a new hash
  redis.call('HSET', SEMAPHORE, 'sum', digits(sum), 'held', digits(held), 'fence', digits(fence), 'seen_us',
    digits(time_us), 'shift_us', digits(shift_us), 'until_us', digits(until_us))
  redis.call('PEXPIRE', SEMAPHORE, life())
  if held > 0 then redis.call('PEXPIRE', LEASES, life()) end
end
local function put(token, lease) -- the fence outlives the lease, so that the next one is higher
  changed, until_us = true, math.max(until_us, lease.end_us + math.max(lease.ttl_us, 60000000))
  redis.call('HSET', SEMAPHORE, '@' .. token, table.concat({ digits(lease.end_us), digits(lease.ttl_us),
    digits(lease.weight), digits(lease.fence), lease.claimed and '1' or '0', lease.mailbox, lease.metadata }, '|'))
  redis.call('ZADD', LEASES, digits(lease.end_us), token)
end
local function add(token, lease)
  fence, sum, held = math.max(fence + 1, now_us), sum + lease.weight, held + 1
  lease.fence, lease.end_us = fence, time_us + lease.ttl_us
  put(token, lease)
end
local function drop(token, lease)
  changed, sum, held = true, sum - lease.weight, held - 1
  redis.call('ZREM', LEASES, token)
  redis.call('HDEL', SEMAPHORE, '@' .. token)
end
-- The zset anew from the hash.
local function rebuild()
  redis.call('DEL', LEASES)
  redis.call('HDEL', SEMAPHORE, 'early_us')
  sum, held, early_us, changed = 0, 0, math.huge, true
  local fields = redis.call('HGETALL', SEMAPHORE)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '@' then
      local lease = parse(fields[i + 1])
      sum, held = sum + lease.weight, held + 1
      redis.call('ZADD', LEASES, digits(lease.end_us), string.sub(fields[i], 2))
    end
  end
  save()
end
-- One of the two keys was lost (evicted, or the zset had ended because nothing but renewals came), or a lease has ended
-- before the zset says so.
if held ~= indexed or early_us <= time_us then rebuild() end
-- Drops up to 100 leases that have ended; whoever left a grant unanswered is not granted again before it calls.
local function sweep()
  local tokens = held > 0 and redis.call('ZRANGEBYSCORE', LEASES, '-inf', digits(time_us), 'LIMIT', '0', '100') or {}
  for _, token in ipairs(tokens) do
    local lease = parse(redis.call('HGET', SEMAPHORE, '@' .. token))
    if lease.end_us > time_us then -- renewed
      redis.call('ZADD', LEASES, digits(lease.end_us), token)
    else
      drop(token, lease)
      if not lease.claimed and lease.mailbox ~= '' and token ~= owner then condemn(lease.mailbox) end
    end
  end
end
-- Whether a waiter who cannot be served yet still counts: one who has not called for a while is asked to.
local ASK_US = 2000000
local function is_there(token, box, alive_until)
  if box == '' then return true end -- a poller that stops polling is taken for dead soon
  if alive_until - BOX_ALIVE_US + ASK_US > time_us then return not is_condemned(box) end
  return reached(box, token .. ' 1000')
end
-- Grants, in order of arrival and at most 100, what is free to the waiters who can be reached; the first who is not
-- served because too little is free stops it. False if it was stopped: then nobody else may take what is free.
-- At the caller `me` take() is called instead, which says whether there was room.
local function hand_over(me, take)
  local granted, open = 0, true
  walk(me, function(token, box, rest, alive_until)
    local share, most = string.match(rest, '^|(%d+)|(%d+)$')
    local room
    if token == me then room = take() else room = sum + tonumber(share) <= tonumber(most) end
    if not room then
      if token ~= me and not is_there(token, box, alive_until) then return 'next' end
      open = false
      return granted > 0 and 'tell' or 'stop'
    elseif token == me or box ~= '' and not reached(box, token .. ' grant') then
      return 'next'
    end
    leave(token)
    add(token, { ttl_us = CLAIM_US, weight = tonumber(share), claimed = false, mailbox = box, metadata = '' })
    granted = granted + 1
    if granted < 100 then return 'next' end
    open = false
    return 'tell'
  end)
  return open
end
-- <<< _lib/semaphore
local function previous() -- the last tokens released, the last first; and whether this one is among them
  local others, had = {}, false
  for token in string.gmatch(redis.call('HGET', SEMAPHORE, 'previous') or '', '%S+') do
    if token == owner then had = true elseif #others < 31 then others[#others + 1] = token end
  end
  return others, had
end
-- The first write of a release is one that passes when memory is full; those after it then pass too.
local mine, queued = found[8] and parse(found[8]), waiting
leave(owner)
local others, had = previous()
local released = false
if mine then
  drop(owner, mine)
  released = mine.claimed and mine.end_us > time_us
  if released then table.insert(others, 1, owner) end
  if released or had then redis.call('HSET', SEMAPHORE, 'previous', table.concat(others, ' ')) end
elseif waiting == queued then
  return { had and 1 or 0, held, now_us }
end
sweep()
hand_over('')
save()
return { released and 1 or 0, held, now_us }
