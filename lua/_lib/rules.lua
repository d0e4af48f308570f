-- Reads m groups (algorithm, count, window_us, burst) from ARGV[first] on.
local algorithms = {
  gcra = gcra, sliding_log = sliding_log, sliding_window = sliding_window, fixed_window = fixed_window,
}
local function read_rules(m, first)
  local rules = {}
  for j = 1, m do
    local at = first + 4 * (j - 1)
    local algorithm = algorithms[ARGV[at]]
    if not algorithm then
      return nil, rsarg('algorithm', 'must be gcra, sliding_log, sliding_window or fixed_window')
    end
    if algorithm ~= gcra and ARGV[at + 3] ~= '0' then
      return nil, rsarg('burst', 'must be 0 where the algorithm is not gcra')
    end
    local count, window_us, burst = read_limit(at + 1, algorithm.max_count, algorithm == gcra)
    if not count then return nil, window_us end
    rules[j] = { algorithm = algorithm, limit = algorithm.limit(count, window_us, burst) }
  end
  return rules
end
