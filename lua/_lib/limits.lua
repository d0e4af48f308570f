-- count, window_us and, where there is one, burst from ARGV[at] on; or nil and the error.
local function read_limit(at, max_count, has_burst)
  local count = integer(ARGV[at], 1, max_count)
  if not count then return nil, out_of_range('count', 1, max_count) end
  local window_us = integer(ARGV[at + 1], 1, 315576000000000)
  if not window_us then return nil, out_of_range('window_us', 1, 315576000000000) end
  if not has_burst then return count, window_us end
  local burst = integer(ARGV[at + 2], 1, 1000000000)
  if not burst then return nil, out_of_range('burst', 1, 1000000000) end
  if burst * math.ceil(window_us / count) > 4503599627370496 then
    return nil, rsarg('burst', 'times ceil(window_us / count) must be at most 4503599627370496')
  end
  return count, window_us, burst
end
