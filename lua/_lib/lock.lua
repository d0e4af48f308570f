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
