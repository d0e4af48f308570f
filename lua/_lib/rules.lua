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
    local limit, malformed = read_limit(algorithm, at + 1, algorithm == gcra)
    if not limit then return nil, malformed end
    rules[j] = { algorithm = algorithm, limit = limit }
  end
  return rules
end
