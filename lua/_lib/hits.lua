-- Decides requests under one limit, each to its end before the next: a key named twice counts twice.
local function hits(algorithm, limit)
  local load, wait, take, view, save = algorithm.load, algorithm.wait, algorithm.take, algorithm.view, algorithm.save
  local reply = { digits(now_us) }
  for i = 1, #KEYS do
    local key, cost, retry_us, left, reset_us = KEYS[i], tonumber(ARGV[charge_at + i]), -2, 0, 0
    local state = load(key)
    if state then
      local never = cost > limit.capacity
      retry_us = wait(limit, state, never and 0 or cost)
      if never then
        retry_us = -1
      elseif charge and retry_us == 0 then
        take(limit, state, cost, now_us)
        save(key, limit, state)
      end
      left, reset_us = view(limit, state)
    end
    reply[i + 1] = format(outcome, retry_us, left, reset_us)
  end
  return table.concat(reply, ' ')
end
