-- One lock: a hash (owner, fence, end of the lease, ...), a zset of waiters in order of arrival, and a hash
-- of what is known of each waiter: token -> 'alive_until|mailbox', '!mailbox' -> one that left a grant unanswered,
-- '~token' -> mailbox of one who races for it and is not in the queue.
local CLAIM_US = 1000000 -- at least twice the longest wait_us of a poller, or no poller is ever served
local LOCK, QUEUE, WAIT = KEYS[1], KEYS[2], KEYS[3]
if LOCK == QUEUE or LOCK == WAIT or QUEUE == WAIT then return rsarg('KEYS', 'must be three different keys') end
local found = redis.pcall('HMGET', LOCK, 'owner', 'fence', 'end_us', 'ttl_us', 'claimed', 'previous', 'holds')
local waiting, known = redis.pcall('ZCARD', QUEUE), redis.pcall('HLEN', WAIT)
if not found[1] and found.err or type(waiting) ~= 'number' or type(known) ~= 'number' then
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
local function leave(token)
  if waiting > 0 and redis.call('ZREM', QUEUE, token) == 1 then
    redis.call('HDEL', WAIT, token)
    waiting = waiting - 1
  end
end
local function grant(token, lease_us, claimed)
  lock.owner, lock.ttl_us, lock.claimed, lock.holds = token, lease_us, claimed, ''
  lock.fence = math.max(lock.fence + 1, now_us)
  lock.end_us = now_us + lease_us
  redis.call('HSET', LOCK, 'owner', token, 'fence', digits(lock.fence), 'end_us', digits(lock.end_us), 'ttl_us',
    digits(lease_us), 'claimed', claimed and '1' or '0', 'holds', '', 'mailbox', '', 'metadata', '')
  keep()
end
-- Gives the free lock to the first waiter who is alive and can be reached; returns its token, or nil. `me` is
-- the caller's token: it is here, so it needs no message. A poller ('' for a mailbox) is granted unseen and finds
-- out at its next poll; a mailbox must be subscribed. Each mailbox is tried once. The next waiter of another
-- mailbox is told to look again when the claim is over. At most 1000 waiters are looked at in one call.
local function hand_over(me)
  local tried, granted, at, seen, most = {}, nil, 0, 0, 1000
  local function reached(box, message)
    if tried[box] then return false end
    tried[box] = true
    return redis.call('HEXISTS', WAIT, '!' .. box) == 0 and redis.call('PUBLISH', box, message) > 0
  end
  while waiting > 0 and seen < most do
    local tokens = redis.call('ZRANGE', QUEUE, digits(at), digits(at + 99))
    if #tokens == 0 then return granted end
    local records = redis.call('HMGET', WAIT, unpack(tokens))
    for i, token in ipairs(tokens) do
      local alive_until, box = string.match(records[i] or '0|', '^(%d+)|(.*)$')
      local alive = tonumber(alive_until) > now_us
      seen, at = seen + 1, at + 1
      if granted then
        if alive and box ~= '' and reached(box, token .. ' ' .. digits(CLAIM_US + 1000)) then return granted end
      elseif token == me then
        return me
      elseif not alive then
        leave(token)
        at = at - 1
      elseif box == '' or reached(box, token .. ' grant') then
        grant(token, CLAIM_US, false)
        granted, most = token, seen + 100
      end
    end
  end
  return granted
end
