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
