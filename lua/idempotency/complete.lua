--- idempotency.complete -- the work of a key is done: keep its result, for everybody who comes with that key.
-- Refused when another attempt has taken over meanwhile. An attempt whose lease has ended is not refused as long as
-- nobody has: the work was done. Where the record is lost (evicted, flushed) it is written anew.
-- KEYS[1] record    hash    <prefix>rs1:{<key>}:idempotency:<guard>:<tenant>
-- ARGV[1] token     token   of the attempt, as given to idempotency.begin
-- ARGV[2] fingerprint string[1..128]   as given to idempotency.begin
-- ARGV[3] keep_us   int[1000..31622400000000]   how long from now the key is known
-- ARGV[4] place     enum here|base64|elsewhere|nowhere   of the result: here, as it is, or as text in base64; where the response says, in a store of the caller's own; or it is not kept
-- ARGV[5] response  string[0..1048576]   the result, or its name elsewhere
-- ARGV[6] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  stored    int     1 this attempt's result is what everybody gets; 0 refused, and nothing changed
-- RETURN  at_us     int     the time at which this was decided
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      the result that was stored first stays
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
if #ARGV ~= 6 then return rsarg('ARGV', 'must hold token, fingerprint, keep_us, place, response, now_us') end
local token, fingerprint, place, response = ARGV[1], ARGV[2], ARGV[4], ARGV[5]
local PLACES = { here = true, base64 = true, elsewhere = true, nowhere = true }
if not is_token(token) then return rsarg('token', 'must be a token') end
if fingerprint == '' or #fingerprint > 128 then return rsarg('fingerprint', 'must be 1 to 128 bytes') end
local keep_us = integer(ARGV[3], 1000, 31622400000000)
if not keep_us then return out_of_range('keep_us', 1000, 31622400000000) end
if not PLACES[place] then return rsarg('place', 'must be here, base64, elsewhere or nowhere') end
if #response > 1048576 then return rsarg('response', 'must be at most 1048576 bytes') end
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
-- >>> _lib/idempotency_wake
-- Tells all who wait: they ask again.
local function wake()
  local cursor = '0'
  repeat -- in steps: there may be a thousand of them
    local page = redis.call('HSCAN', RECORD, cursor, 'MATCH', '~*', 'COUNT', '100')
    cursor = page[1]
    for i = 1, #page[2], 2 do
      redis.call('HDEL', RECORD, page[2][i])
      redis.call('PUBLISH', page[2][i + 1], string.sub(page[2][i], 2) .. ' free')
    end
  until cursor == '0'
end
-- <<< _lib/idempotency_wake
if is_there and record.token ~= token then return { 0, now_us } end
if is_there and is_done then return { 1, now_us } end
-- These pass when memory is full, and what follows them then passes too: what was done must be known.
if is_there then redis.call('HDEL', RECORD, 'end_us') else redis.call('DEL', RECORD) end
redis.call('HSET', RECORD, 'token', token, 'fingerprint', fingerprint, 'fence', digits(record.fence), 'keep_us',
  digits(keep_us), 'unknown', digits(record.unknown), 'done_us', digits(math.max(now_us, 1)), 'place', place, 'response',
  response)
wake()
keep(keep_us)
return { 1, now_us }
