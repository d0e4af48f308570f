-- Fixed window. The key is a string 'start_us:used'; a window starts at its first hit and ends window_us later.
local fixed_window = {
  max_count = 1000000000000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { start = 0, used = 0 } end
    local start, used = string.match(text, '^(%d+):(%d+)$')
    start, used = integer(start, 0, 9007199254740991), integer(used, 0, 9007199254740991)
    return start and used and { start = start, used = used }
  end,
  wait = function(limit, state, cost)
    if state.used > 0 and now_us - state.start >= limit.window_us then state.used = 0 end
    return cost > limit.capacity - state.used and state.start + limit.window_us - now_us or 0
  end,
  take = function(_, state, cost)
    if state.used == 0 then state.start = now_us end
    state.used = state.used + cost
  end,
  view = function(limit, state)
    local left = limit.capacity - state.used
    return left > 0 and left or 0, state.used > 0 and state.start + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    redis.call('SET', key, digits(state.start) .. ':' .. digits(state.used), 'PX',
      life_ms(state.start + limit.window_us - now_us))
  end,
}
