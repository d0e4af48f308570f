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
