--- idempotency.begin -- begin the work of a key, unless it is under way, or done: then its result comes back.
-- The one who gets outcome 1 does the work, and ends with idempotency.complete, or with idempotency.abandon. Its lease
-- is lengthened by idempotency.heartbeat. When it ends without a word, the next caller takes over: outcome 1 again, and
-- `unknown` says of how many attempts before nobody knows what they did. Everybody else waits, or comes again; who gives
-- a mailbox receives '<token> free' there when the attempt under way has ended, and asks again. The fence is
-- max(last + 1, now_us) at each attempt.
-- KEYS[1] record    hash    <prefix>rs1:{<key>}:idempotency:<guard>:<tenant>
-- ARGV[1] token     token   of this attempt, unique, chosen by the caller
-- ARGV[2] fingerprint string[1..128]   digest of the request: a key that comes with another is refused
-- ARGV[3] lease_us  int[1000..31622400000000]   how long the attempt is under way without a heartbeat
-- ARGV[4] keep_us   int[1000..31622400000000]   how long the key is known after the attempt has ended
-- ARGV[5] mailbox   token|''   channel on which I am told when to ask again; '' = I am not
-- ARGV[6] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  outcome   int     1 new: do the work; 0 in progress; 2 replay: it is done; 3 mismatch: another fingerprint has this key
-- RETURN  fence     int     fencing token of the attempt under way, or of the last one
-- RETURN  lease_us  int     what is left of the lease of the attempt under way; 0 = there is none
-- RETURN  unknown   int     earlier attempts that ended without a word, or said that they do not know
-- RETURN  expires_us int    for how long yet the key is known, unless something happens to it
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  place     string  of a replay: here, base64, elsewhere or nowhere, as idempotency.complete was told; else ''
-- RETURN  response  string  of a replay: what idempotency.complete was given; else ''
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      the same token is the same attempt; a repeat that arrives after its abandon begins anew, for one lease
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
if #ARGV ~= 6 then return rsarg('ARGV', 'must hold token, fingerprint, lease_us, keep_us, mailbox, now_us') end
local token, fingerprint, mailbox = ARGV[1], ARGV[2], ARGV[5]
if not is_token(token) then return rsarg('token', 'must be a token') end
if fingerprint == '' or #fingerprint > 128 then return rsarg('fingerprint', 'must be 1 to 128 bytes') end
local lease_us = integer(ARGV[3], 1000, 31622400000000)
if not lease_us then return out_of_range('lease_us', 1000, 31622400000000) end
local keep_us = integer(ARGV[4], 1000, 31622400000000)
if not keep_us then return out_of_range('keep_us', 1000, 31622400000000) end
if mailbox ~= '' and not is_token(mailbox) then return rsarg('mailbox', "must be a token or ''") end
-- >>> _lib/idempotency
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
-- <<< _lib/idempotency
local MOST_WAITERS = 1000 -- who comes after them is not told, and looks by itself
local is_live = is_there and not is_done and record.token ~= '' and record.end_us > now_us
local function reply(outcome, place, response)
  local left_us = is_live and record.end_us - now_us or 0
  return { outcome, record.fence, left_us, record.unknown, expires_us, now_us, place or '', response or '' }
end
if is_there and record.fingerprint ~= fingerprint then return reply(3) end
if is_there and is_done then
  local result = redis.call('HMGET', RECORD, 'place', 'response')
  return reply(2, result[1], result[2])
end
if is_live and record.token ~= token then
  if mailbox ~= '' and redis.call('HLEN', RECORD) < MOST_WAITERS then
    redis.call('HSET', RECORD, '~' .. token, mailbox)
  end
  return reply(0)
end
if not is_there then
  if found[1] then redis.call('DEL', RECORD) end -- what was kept long enough
elseif record.token ~= '' and record.token ~= token then
  record.unknown = record.unknown + 1
end
if not is_live then record.fence = math.max(record.fence + 1, now_us) end
record.end_us, is_live, expires_us = now_us + lease_us, true, lease_us + keep_us
redis.call('HSET', RECORD, 'token', token, 'fingerprint', fingerprint, 'fence', digits(record.fence), 'end_us',
  digits(record.end_us), 'lease_us', digits(lease_us), 'keep_us', digits(keep_us), 'unknown', digits(record.unknown))
redis.call('HDEL', RECORD, '~' .. token, 'previous')
keep(expires_us)
return reply(1)
