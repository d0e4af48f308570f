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
