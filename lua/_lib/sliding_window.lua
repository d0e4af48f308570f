-- Sliding window of sub-buckets, the oldest counted whole: never over the limit, late by less than one
-- sub-bucket (window_us / 60). The key is a string: 'W', the units in all buckets (7 bytes), then from the
-- oldest on (the last microsecond of the bucket, 7 bytes; its units, 7 bytes). A bucket carries its own end,
-- so the window may change from call to call.
local sliding_window = {
  max_count = 1000000000000000,
  limit = function(count, window_us)
    return { capacity = count, window_us = window_us, width = math.ceil(window_us / 60) }
  end,
  load = function(key)
    local text = text_of(key)
    if not text then return nil end
    if text == '' then return { total = 0, first = 1, buckets = '' } end
    if byte(text, 1) ~= 87 or #text < 22 or (#text - 8) % 14 ~= 0 or unpack_at(text, 2) > 1000000000000000 then return nil end
    return { total = unpack_at(text, 2), first = 1, buckets = string.sub(text, 9) }
  end,
  wait = function(limit, state, cost)
    local at = state.first
    while at < #state.buckets and unpack_at(state.buckets, at) + limit.window_us <= now_us do
      state.total = state.total - unpack_at(state.buckets, at + 7)
      at = at + 14
    end
    state.first = at
    local excess, wait = state.total + cost - limit.capacity, 0
    while excess > 0 and at < #state.buckets do
      wait = unpack_at(state.buckets, at) + limit.window_us - now_us
      excess = excess - unpack_at(state.buckets, at + 7)
      at = at + 14
    end
    return wait
  end,
  take = function(limit, state, cost, at_us)
    local newest = #state.buckets - 13
    -- A clock that went back, or a window that grew shorter, adds to the newest bucket: it leaves later, never earlier.
    if newest >= state.first and unpack_at(state.buckets, newest) >= at_us then
      local units = unpack_at(state.buckets, newest + 7) + cost
      state.buckets = string.sub(state.buckets, 1, newest + 6) .. pack(units)
    else
      local last_us = (floor(at_us / limit.width) + 1) * limit.width - 1
      state.buckets = state.buckets .. pack(last_us) .. pack(cost)
    end
    state.total = state.total + cost
  end,
  view = function(limit, state)
    local left = limit.capacity - state.total
    local reset = state.total > 0 and unpack_at(state.buckets, #state.buckets - 13) + limit.window_us - now_us or 0
    return left > 0 and left or 0, reset
  end,
  save = function(key, limit, state)
    redis.call('SET', key, 'W' .. pack(state.total) .. string.sub(state.buckets, state.first), 'PX',
      life_ms(unpack_at(state.buckets, #state.buckets - 13) + limit.window_us - now_us))
  end,
}
