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
