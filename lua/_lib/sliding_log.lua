-- Exact sliding log: a ring of 7-byte stamps in one string. 29 bytes of header: 'L', then capacity, head (the
-- slot written next), live count and newest stamp, 7 bytes each. Slot i lies at 29 + 7i. The ring doubles as
-- it fills, up to the limit, and never shrinks, so that a limit may change from call to call.
local function stamp(state, i) -- of the i-th oldest live one, from 0
  local at = 29 + (state.head - state.live + i) % state.size * 7
  local text = redis.call('GETRANGE', state.key, digits(at), digits(at + 6))
  return #text == 7 and unpack_at(text, 1) or 0
end
-- Lets go what has left the window: a gallop from the oldest, then bisection between its last two steps.
local function forget(state, edge)
  if state.live == 0 or stamp(state, 0) > edge then return end
  local gone = state.live
  if state.newest > edge then
    local low, step = 0, 1
    while low + step < gone and stamp(state, low + step) <= edge do low, step = low + step, step * 2 end
    local high = low + step < gone and low + step or gone - 1
    while high - low > 1 do
      local middle = floor((low + high) / 2)
      if stamp(state, middle) <= edge then low = middle else high = middle end
    end
    gone = high
  end
  state.live = state.live - gone
end
local function grow(limit, state, need)
  local key, first, live = state.key, 29 + (state.head - state.live) % state.size * 7, ''
  if state.live > 0 then
    local till = 29 + state.head * 7
    if first < till then live = redis.call('GETRANGE', key, digits(first), digits(till - 1))
    else
      live = redis.call('GETRANGE', key, digits(first), digits(28 + state.size * 7))
      if till > 29 then live = live .. redis.call('GETRANGE', key, '29', digits(till - 1)) end
    end
  end
  state.size = math.min(math.max(need * 2, 64), math.max(limit.capacity, need))
  state.head = state.live % state.size
  redis.call('SET', key, string.rep('\0', 29) .. live, 'PX', life_ms(limit.window_us))
end
local sliding_log = {
  max_count = 10000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = redis.pcall('GETRANGE', key, '0', '28')
    if type(text) ~= 'string' then return nil end
    if text == '' then return { key = key, size = 0, head = 0, live = 0, newest = 0 } end
    if #text < 29 or byte(text, 1) ~= 76 then return nil end
    local size, head, live, newest = unpack_at(text, 2), unpack_at(text, 9), unpack_at(text, 16), unpack_at(text, 23)
    if size < 1 or size > 10000000 or head >= size or live > size or newest > 9007199254740991 then return nil end
    return { key = key, size = size, head = head, live = live, newest = newest }
  end,
  wait = function(limit, state, cost)
    local at = state.newest > now_us and state.newest or now_us
    if state.seen ~= at then
      forget(state, at - limit.window_us)
      state.seen = at
    end
    local excess = state.live + cost - limit.capacity
    if excess <= 0 then return 0 end
    return stamp(state, excess - 1) + limit.window_us - now_us
  end,
  take = function(limit, state, cost)
    local need = state.live + cost
    if need > state.size then grow(limit, state, need) end
    state.newest = state.newest > now_us and state.newest or now_us
    state.seen = state.newest
    local one, room = pack(state.newest), state.size - state.head
    local fit = cost < room and cost or room
    redis.call('SETRANGE', state.key, digits(29 + state.head * 7), fit == 1 and one or string.rep(one, fit))
    if cost > fit then redis.call('SETRANGE', state.key, '29', string.rep(one, cost - fit)) end
    state.head, state.live = (state.head + cost) % state.size, need
  end,
  view = function(limit, state)
    local left = limit.capacity - state.live
    return left > 0 and left or 0, state.live > 0 and state.newest + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    redis.call('SETRANGE', key, '0', 'L' .. pack(state.size) .. pack(state.head) .. pack(state.live) .. pack(state.newest))
    redis.call('PEXPIRE', key, life_ms(state.newest + limit.window_us - now_us))
  end,
}
