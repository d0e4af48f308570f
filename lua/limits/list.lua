--- limits.list -- a page of the keys that have limits of their own. Changes nothing.
-- From the cursor '0' on until it is '0' again; what is there all the while is listed, now and then twice.
-- KEYS[1] limits    hash    <prefix>rs1:{<name>}:limits, as limits.set wrote it
-- ARGV[1] cursor    int[0..9007199254740991]   0 at first, then that of the reply before
-- ARGV[2] count     int[1..1000]   how many to look at, more or less
-- ARGV[3] now_us    int[0..4503599627370496]|''   '' = the server's clock; decides nothing here
-- RETURN  cursor    string  of the next page, 0 = this was the last
-- RETURN per item  key      string   whose limits
-- RETURN per item  limits   string   as limits.read replies them
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      only reads
-- FLAGS   readonly operator
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
-- >>> _lib/limits_text
-- What was set as limits, '' if nothing. Somebody may have written there by hand: clients that decode must not choke.
local function limits_text(found)
  if not found then return '' end
  if #found > 1024 then return '?' end
  return (string.gsub(found, '[^ -~]', '?'))
end
-- <<< _lib/limits_text
if #KEYS ~= 1 then return rsarg('KEYS', 'must name the limits') end
if #ARGV ~= 3 then return rsarg('ARGV', 'must hold cursor, count, now_us') end
if not integer(ARGV[1], 0, 9007199254740991) then return out_of_range('cursor', 0, 9007199254740991) end
if not integer(ARGV[2], 1, 1000) then return out_of_range('count', 1, 1000) end
if type(redis.pcall('HLEN', KEYS[1])) ~= 'number' then return redis.error_reply('RSSTATE the key of the limits holds another type') end
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reply, fields = { page[1] }, page[2]
for i = 1, #fields, 2 do
  if fields[i] ~= '' then
    reply[#reply + 1] = fields[i]
    reply[#reply + 1] = limits_text(fields[i + 1])
  end
end
return reply
