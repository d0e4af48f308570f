-- One key of idempotency: a hash of the attempt under way, of what was left of it, or of its result; and of those who
-- wait for it, '~token' -> mailbox. A record whose time to be kept is over is none.
local RECORD = KEYS[1]
if #KEYS ~= 1 then return rsarg('KEYS', 'must name the record') end
local found = redis.pcall('HMGET', RECORD, 'token', 'fingerprint', 'fence', 'end_us', 'lease_us', 'keep_us', 'unknown',
  'done_us', 'previous')
if not found[1] and found.err then return redis.error_reply('RSSTATE the record holds another type') end
local record = {
  token = found[1] or '', fingerprint = found[2] or '', fence = tonumber(found[3] or 0), end_us = tonumber(found[4] or 0),
  lease_us = tonumber(found[5] or 0), keep_us = tonumber(found[6] or 0), unknown = tonumber(found[7] or 0),
  done_us = tonumber(found[8] or 0), previous = found[9] or '',
}
local is_done = record.done_us > 0
local expires_us = math.min((is_done and record.done_us or record.end_us) - now_us, is_done and 0 or record.lease_us)
  + record.keep_us
local is_there = found[1] ~= false and expires_us > 0
if is_there and not is_done and record.end_us > now_us + record.lease_us then -- the clock went back: no lease outlives its length
  record.end_us = now_us + record.lease_us
  redis.call('HDEL', RECORD, 'end_us') -- passes when memory is full, and what follows it then passes too
  redis.call('HSET', RECORD, 'end_us', digits(record.end_us))
end
if not is_there then record.unknown = 0 end
local function keep(life_us) redis.call('PEXPIRE', RECORD, life_ms(life_us)) end
