-- Generic cell rate algorithm (ITU-T I.371). The key is a string with one integer, the theoretical arrival
-- time `tat` in microseconds: a hit moves it on by cost * interval, and it may run ahead of now by
-- burst * interval. interval = ceil(window_us / count), so the rate is never above count per window.
local gcra = {
  max_count = 1000000000,
  limit = function(count, window_us, burst)
    local interval = math.ceil(window_us / count)
    return { capacity = burst, interval = interval, full_us = burst * interval }
  end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { tat = 0 } end
    local tat = integer(text, 0, 9007199254740992)
    return tat and { tat = tat }
  end,
  wait = function(limit, state, cost)
    local start = state.tat > now_us and state.tat or now_us
    local wait = start + cost * limit.interval - limit.full_us - now_us
    return wait > 0 and wait or 0
  end,
  take = function(limit, state, cost)
    state.tat = (state.tat > now_us and state.tat or now_us) + cost * limit.interval
  end,
  view = function(limit, state)
    local debt = state.tat > now_us and state.tat - now_us or 0
    local left = math.floor((limit.full_us - debt) / limit.interval)
    return left > 0 and left or 0, debt
  end,
  save = function(key, _, state)
    redis.call('SET', key, digits(state.tat), 'PX', life_ms(state.tat - now_us))
  end,
}
