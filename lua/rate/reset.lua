--- rate.reset -- forget what n keys have used: the next request of each finds its limit untouched.
-- Where reservations are made, name <key>:reservations and <key>:starts too.
-- KEYS[i] key       string   i=1..n   n=1..512   keys of rate.gcra, rate.sliding_log, rate.sliding_window, rate.fixed_window
-- ARGV[1] now_us    int[0..4503599627370496]|''   '' = the server's clock; decides nothing here
-- RETURN per item  was          int   1 = something was forgotten, 0 = there was nothing, -2 = the key holds something else, untouched
-- ERROR   RSARG     an argument is malformed
-- REPEAT  safe      the second call finds nothing
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
if #KEYS < 1 or #KEYS > 512 then return rsarg('KEYS', 'must name 1 to 512 keys') end
if #ARGV ~= 1 then return rsarg('ARGV', 'must hold now_us alone') end
if ARGV[1] ~= '' and not integer(ARGV[1], 0, 4503599627370496) then
  return rsarg('now_us', "must be '' or an integer from 0 to 4503599627370496")
end
local is_ours, reply = {}, {}
for i = 1, #KEYS do
  local role = string.match(KEYS[i], ':(%a+)$')
  local size
  if role == 'reservations' then size = redis.pcall('HLEN', KEYS[i])
  elseif role == 'starts' then size = redis.pcall('ZCARD', KEYS[i])
  else size = redis.pcall('STRLEN', KEYS[i]) end
  is_ours[i] = type(size) == 'number'
end
for i = 1, #KEYS do reply[i] = is_ours[i] and redis.call('DEL', KEYS[i]) or -2 end
return reply
