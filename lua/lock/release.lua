--- lock.release -- let go: of the lock, of one hold of it, or of a place in the queue; hand it to the next waiter.
-- A waiter that gives up releases its token as well: the lock may have been granted to it meanwhile.
-- KEYS[1] lock      hash    <prefix>rs1:{<name>}:lock
-- KEYS[2] queue     zset    <prefix>rs1:{<name>}:queue
-- KEYS[3] wait      hash    <prefix>rs1:{<name>}:wait
-- ARGV[1] owner     token   as given to lock.acquire
-- ARGV[2] hold      token|''   the hold to let go; '' = all
-- ARGV[3] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  released  int     1 = it was held until now, or the last release was this one; 0 = it was not (a lost lease, a waiter)
-- RETURN  holds     int     holds that the owner still has
-- RETURN  at_us     int     the time at which this was decided
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   a key holds another type
-- REPEAT  safe      says 1 again until the next release, by whomever; then 0
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
local owner, hold = ARGV[1], ARGV[2]
if #KEYS ~= 3 then return rsarg('KEYS', 'must name the lock, its queue and its wait hash') end
if #ARGV ~= 3 then return rsarg('ARGV', 'must hold owner, hold, now_us') end
if not is_token(owner) then return rsarg('owner', 'must be a token') end
if hold ~= '' and not is_token(hold) then return rsarg('hold', "must be a token or ''") end
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
-- >>> _lib/racers
-- Tells one of those who race for it that it is free. It asks again if it does not get it; one who gives up
-- instead, having been told, passes the word on.
local function wake_racer()
  local cursor = '0'
  repeat -- in steps: there may be thousands of them
    local page = redis.call('HSCAN', WAIT, cursor, 'MATCH', '~*', 'COUNT', '100')
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local token = string.sub(page[2][i], 2)
      redis.call('HDEL', WAIT, page[2][i])
      if redis.call('PUBLISH', page[2][i + 1], token .. ' free') > 0 then return end
    end
  until cursor == '0'
end
-- <<< _lib/racers
local named = hold ~= '' and hold or owner
if lock.owner ~= owner then
  leave(owner)
  if known > 0 and redis.call('HDEL', WAIT, '~' .. owner) == 0 and not is_live() then wake_racer() end
  return { lock.previous == named and 1 or 0, 0, now_us }
end
local held, rest = is_live() and lock.claimed, {}
if hold ~= '' then
  local had = false
  for each in string.gmatch(lock.holds, '%S+') do
    if each == hold then had = true else rest[#rest + 1] = each end
  end
  if not had and lock.claimed then return { lock.previous == hold and 1 or 0, #rest, now_us } end
  if #rest > 0 and held then
    redis.call('HDEL', LOCK, 'previous') -- see below
    redis.call('HSET', LOCK, 'holds', table.concat(rest, ' '), 'previous', hold)
    return { 1, #rest, now_us }
  end
  held = held and had
end
leave(owner)
-- The first write of a release is one that passes when memory is full; those after it then pass too.
redis.call('HDEL', LOCK, 'owner', 'end_us', 'claimed', 'holds', 'mailbox', 'metadata')
lock.owner, lock.end_us = '', 0
redis.call('HSET', LOCK, 'previous', held and named or '')
keep()
if not hand_over('') and known > 0 then wake_racer() end
return { held and 1 or 0, 0, now_us }
