--- lock.acquire -- take the lock if it is free and nobody waits before `owner`; renew it if `owner` holds it.
-- A lock that is not held goes to its waiters in order of arrival; a newcomer gets it only when nobody who is alive
-- and can be reached waits among the first 1000. One that claims too late begins anew at the end of the queue.
-- A waiter calls again after wait_us, or when its mailbox receives '<owner> grant' (the lock is granted: call now,
-- within 1 s, to claim it) or '<owner> <us>' (look again in that many microseconds). A waiter with a mailbox is
-- forgotten after 30 s without a call, a poller after 2.5 s. Who does not queue gets a lock that is free when nobody
-- waits for it; with a channel it receives '<owner> free', one of all such at a time, when a release leaves it free.
-- A lease ends by its end_us; the fence is max(last + 1, now_us), kept for max(ttl, 60 s) after the lease: it rises
-- for ever unless the keys are lost and the clock went back by more than the time since the last grant.
-- KEYS[1] lock      hash    <prefix>rs1:{<name>}:lock
-- KEYS[2] queue     zset    <prefix>rs1:{<name>}:queue
-- KEYS[3] wait      hash    <prefix>rs1:{<name>}:wait
-- ARGV[1] owner     token   of this acquisition, unique, chosen by the caller
-- ARGV[2] ttl_us    int[1000..31622400000000]   lease length
-- ARGV[3] mailbox   token|''   channel on which I am told of a grant; '' = I poll, '-' = I do not queue, '-<channel>' = I do not queue, but tell me when it is free
-- ARGV[4] hold      token|''   '' = plain; else this hold of a re-entrant owner: the lock is free when all holds are released
-- ARGV[5] metadata  string[0..1024]   what others may read about the holder
-- ARGV[6] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  acquired  int     1 held by owner now, 0 not
-- RETURN  fence     int     fencing token of the present holder, or of the last one
-- RETURN  wait_us   int     0, or when to look again
-- RETURN  rank      int     place in the queue from 0; -1 = not queued
-- RETURN  at_us     int     the time at which this was decided
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      the same owner and hold hold it once; a repeat that arrives after the release takes it anew, for one ttl
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
local owner, mailbox, hold, metadata = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
if #KEYS ~= 3 then return rsarg('KEYS', 'must name the lock, its queue and its wait hash') end
if #ARGV ~= 6 then return rsarg('ARGV', 'must hold owner, ttl_us, mailbox, hold, metadata, now_us') end
if not is_token(owner) then return rsarg('owner', 'must be a token') end
local ttl_us = integer(ARGV[2], 1000, 31622400000000)
if not ttl_us then return out_of_range('ttl_us', 1000, 31622400000000) end
if mailbox ~= '' and not is_token(mailbox) then return rsarg('mailbox', "must be a token or ''") end
if hold ~= '' and not is_token(hold) then return rsarg('hold', "must be a token or ''") end
if #metadata > 1024 then return rsarg('metadata', 'must be at most 1024 bytes') end
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
-- >>> _lib/lock
-- One lock: a hash (owner, fence, end of the lease, ...), and those who wait for it.
local LOCK = KEYS[1]
if LOCK == QUEUE or LOCK == WAIT or QUEUE == WAIT then return rsarg('KEYS', 'must be three different keys') end
local found = redis.pcall('HMGET', LOCK, 'owner', 'fence', 'end_us', 'ttl_us', 'claimed', 'previous', 'holds')
if not found[1] and found.err or not is_queue then
  return redis.error_reply('RSSTATE a key of the lock holds another type')
end
local lock = {
  owner = found[1] or '', fence = tonumber(found[2] or 0), end_us = tonumber(found[3] or 0),
  ttl_us = tonumber(found[4] or 0), claimed = found[5] == '1', previous = found[6] or '', holds = found[7] or '',
}
if lock.owner ~= '' and lock.end_us > now_us + lock.ttl_us then -- the clock went back: no lease outlives its length
  lock.end_us = now_us + lock.ttl_us
  redis.call('HDEL', LOCK, 'end_us') -- passes when memory is full, and what follows it then passes too
  redis.call('HSET', LOCK, 'end_us', digits(lock.end_us))
end
local function is_live() return lock.owner ~= '' and lock.end_us > now_us end
local function keep() -- the fence outlives the lease, so that the next one is higher
  local lease_us = is_live() and lock.end_us - now_us or 0
  redis.call('PEXPIRE', LOCK, life_ms(lease_us + math.max(lock.ttl_us, 60000000)))
end
local function grant(token, lease_us, claimed, holds, box, about)
  lock.owner, lock.ttl_us, lock.claimed, lock.holds = token, lease_us, claimed, holds
  lock.fence = math.max(lock.fence + 1, now_us)
  lock.end_us = now_us + lease_us
  redis.call('HSET', LOCK, 'owner', token, 'fence', digits(lock.fence), 'end_us', digits(lock.end_us), 'ttl_us',
    digits(lease_us), 'claimed', claimed and '1' or '0', 'holds', holds, 'mailbox', box, 'metadata', about)
  keep()
end
-- Gives the free lock to the first waiter who is alive and can be reached; returns its token, or nil. `me` is
-- the caller's token: it is here, so it needs no message. A poller ('' for a mailbox) is granted unseen and finds
-- out at its next poll; a mailbox must be subscribed.
local function hand_over(me)
  local winner
  walk(me, function(token, box)
    if token == me then
      winner = me
      return 'stop'
    elseif box ~= '' and not reached(box, token .. ' grant') then
      return 'next'
    end
    grant(token, CLAIM_US, false, '', '', '')
    winner = token
    return 'tell'
  end)
  return winner
end
-- <<< _lib/lock
-- >>> _lib/join
-- A waiter joins the queue, or shows that it is alive; a poller ('' for a mailbox) must show it more often.
local polls, waits = mailbox == '', string.sub(mailbox, 1, 1) ~= '-'
if waits and not polls then redis.call('HDEL', WAIT, '!' .. mailbox) end -- it calls, so it is alive
local function join(rest)
  local rank = redis.call('ZRANK', QUEUE, owner)
  if not rank then
    local last = redis.call('ZREVRANGE', QUEUE, '0', '0', 'WITHSCORES')
    redis.call('ZADD', QUEUE, digits(math.max(time_us, tonumber(last[2] or 0) + 1)), owner)
    rank = waiting
  end
  redis.call('HSET', WAIT, owner, digits(time_us + (polls and 2500000 or BOX_ALIVE_US)) .. '|' .. mailbox .. rest)
  local kept_ms = life_ms(BOX_ALIVE_US + 60000000)
  redis.call('PEXPIRE', QUEUE, kept_ms)
  redis.call('PEXPIRE', WAIT, kept_ms)
  return rank
end
-- When to look again: in turn, so that not all of them look at once.
local function look_us(lease_us, rank)
  return math.max(1000, math.min(lease_us + 1000 + rank * CLAIM_US, polls and 500000 or 10000000))
end
-- <<< _lib/join
local races = not waits and mailbox ~= '-'
local box = waits and mailbox or string.sub(mailbox, 2)
if races then redis.call('HDEL', WAIT, '!' .. box) end
local function hold_it()
  if not lock.claimed then leave(owner) end
  if races then redis.call('HDEL', WAIT, '~' .. owner) end
  local shared = lock.holds ~= '' and lock.holds ~= hold -- a hold does not cut the lease of the others
  lock.end_us = math.max(now_us + ttl_us, shared and lock.end_us or 0)
  lock.claimed, lock.ttl_us = true, lock.end_us - now_us
  if hold ~= '' and not string.find(' ' .. lock.holds .. ' ', ' ' .. hold .. ' ', 1, true) then
    lock.holds = lock.holds == '' and hold or lock.holds .. ' ' .. hold
  end
  keep() -- first, because it passes when memory is full, and what follows it in a script then passes too
  redis.call('HSET', LOCK, 'end_us', digits(lock.end_us), 'ttl_us', digits(lock.ttl_us), 'claimed', '1', 'holds', lock.holds,
    'mailbox', box, 'metadata', metadata)
  return { 1, lock.fence, 0, -1, now_us }
end
if lock.owner == owner and is_live() then return hold_it() end -- a claim, a renewal or a repeat

if not is_live() then
  if lock.owner ~= '' and not lock.claimed then -- the grant was left unanswered: that waiter is gone
    local silent = string.match(redis.call('HGET', WAIT, lock.owner) or '', '|(.+)$')
    leave(lock.owner)
    if silent and lock.owner ~= owner then condemn(silent) end
  end
  local winner = hand_over(owner)
  if not winner or winner == owner then
    leave(owner)
    if races then redis.call('HDEL', WAIT, '~' .. owner) end
    grant(owner, ttl_us, true, hold, box, metadata)
    return { 1, lock.fence, 0, -1, now_us }
  end
end
if races then
  redis.call('HSET', WAIT, '~' .. owner, box)
  redis.call('PEXPIRE', WAIT, life_ms(BOX_ALIVE_US + 60000000))
end
if not waits then return { 0, lock.fence, math.max(lock.end_us - now_us, 1000), -1, now_us } end
local rank = join('')
return { 0, lock.fence, look_us(lock.end_us - now_us, rank), rank, now_us }
