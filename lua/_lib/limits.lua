-- Reads count, window_us and, where the algorithm has one, burst from ARGV[at], ARGV[at + 1], ...
local function read_limit(algorithm, at, has_burst)
  local count = integer(ARGV[at], 1, algorithm.max_count)
  if not count then return nil, out_of_range('count', 1, algorithm.max_count) end
  local window_us = integer(ARGV[at + 1], 1, 315576000000000)
  if not window_us then return nil, out_of_range('window_us', 1, 315576000000000) end
  if not has_burst then return algorithm.limit(count, window_us) end
  local burst = integer(ARGV[at + 2], 1, 1000000000)
  if not burst then return nil, out_of_range('burst', 1, 1000000000) end
  if burst * math.ceil(window_us / count) > 4503599627370496 then
    return nil, rsarg('burst', 'times ceil(window_us / count) must be at most 4503599627370496')
  end
  return algorithm.limit(count, window_us, burst)
end
