-- Generic cell rate algorithm (ITU-T I.371). The key is a string with the theoretical arrival
-- time `tat` in microseconds: a hit moves it on by cost * interval, and it may run ahead of now by
-- burst * interval. interval = ceil(window_us / count), so the rate is never above count per window.
local gcra = {
  max_count = 1000000000,
  limit = function(count, window_us, burst)
    local interval = math.ceil(window_us / count)
    return { capacity = burst, interval = interval, full_us = burst * interval }
  end,
  load = function(key)
    local tat, lent = read_bucket(text_of(key))
    return tat and { tat = tat, lent = lent }
  end,
  wait = function(limit, state, cost)
    local start = state.tat > now_us and state.tat or now_us
    local wait = start + cost * limit.interval - limit.full_us - now_us
    return wait > 0 and wait or 0
  end,
  take = function(limit, state, cost, at_us)
    state.tat = (state.tat > at_us and state.tat or at_us) + cost * limit.interval
    if at_us > state.lent then state.lent = at_us end -- a refund must know how long something is lent
  end,
  view = function(limit, state)
    local debt = state.tat > now_us and state.tat - now_us or 0
    local left = math.floor((limit.full_us - debt) / limit.interval)
    return left > 0 and left or 0, debt
  end,
  save = function(key, _, state) write_bucket(key, state.tat, state.lent) end,
}
