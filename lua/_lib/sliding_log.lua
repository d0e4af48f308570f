-- Exact sliding log: a ring of 7-byte stamps in one string, after a header of 31 bytes: 'L', slots of the ring (3
-- bytes), oldest live stamp (7), when the key may expire (7), head = the slot written next (3), live stamps (3),
-- newest stamp (7). Slot i lies at 31 + 7i. An ordinary hit writes its slot and the last 13 bytes of the header.
-- The ring doubles as it fills, up to the limit, so that a limit may change from call to call.
local function pack3(x) return char(floor(x / 65536), floor(x / 256) % 256, x % 256) end
local function join3(a, b, c) return (a * 256 + b) * 256 + c end
local function stamp(state, i) -- of the i-th oldest live one, from 0
  local at = 31 + (state.head - state.live + i) % state.size * 7
  local text = redis.call('GETRANGE', state.key, digits(at), digits(at + 6))
  return #text == 7 and unpack_at(text, 1) or 0
end
local function let_go(state, gone, oldest)
  state.live = state.live - gone
  state.oldest = oldest or state.live > 0 and stamp(state, 0) or 0
  state.whole = true
end
-- Lets go what has left the window: a gallop from the oldest, then bisection between its last two steps.
local function forget(state, edge)
  if state.live == 0 or state.oldest > edge then return end
  if state.newest <= edge then return let_go(state, state.live, 0) end
  local low, high, step, oldest = 0, state.live - 1, 1, state.newest
  while high - low > 1 do
    local middle = step and low + step < high and low + step or floor((low + high) / 2)
    local seen = stamp(state, middle)
    if seen > edge then
      high, oldest, step = middle, seen, nil
    else
      low, step = middle, step and step * 2
    end
  end
  let_go(state, high, oldest)
end
local function header(state)
  return 'L' .. pack3(state.size) .. pack(state.oldest) .. pack(state.expires)
    .. pack3(state.head) .. pack3(state.live) .. pack(state.newest)
end
-- True where PEXPIRE is due. An eighth of the window more than is needed spares most hits one; under a clock that is
-- not the server's it is always due.
local function extend(limit, state)
  local end_us = state.newest + limit.window_us
  if state.expires >= end_us then return ARGV[#ARGV] ~= '' end
  state.expires, state.whole = end_us + math.ceil(limit.window_us / 8), true
  return true
end
local function live_stamps(state)
  if state.live == 0 then return '' end
  local first, head = 31 + (state.head - state.live) % state.size * 7, 31 + state.head * 7
  if first < head then return redis.call('GETRANGE', state.key, digits(first), digits(head - 1)) end
  local text = redis.call('GETRANGE', state.key, digits(first), digits(30 + state.size * 7))
  return head == 31 and text or text .. redis.call('GETRANGE', state.key, '31', digits(head - 1))
end
local sliding_log = {
  max_count = 10000000,
  limit = function(count, window_us) return { capacity = count, window_us = window_us } end,
  load = function(key)
    local text = redis.pcall('GETRANGE', key, '0', '30')
    if type(text) ~= 'string' then return nil end
    if text == '' then return { key = key, size = 0, oldest = 0, expires = 0, head = 0, live = 0, newest = 0 } end
    if #text < 31 or byte(text, 1) ~= 76 then return nil end
    local s1, s2, s3, o1, o2, o3, o4, o5, o6, o7, e1, e2, e3, e4, e5, e6, e7 = byte(text, 2, 18)
    local h1, h2, h3, l1, l2, l3, n1, n2, n3, n4, n5, n6, n7 = byte(text, 19, 31)
    local state = {
      key = key, size = join3(s1, s2, s3), oldest = join(o1, o2, o3, o4, o5, o6, o7),
      expires = join(e1, e2, e3, e4, e5, e6, e7), head = join3(h1, h2, h3), live = join3(l1, l2, l3),
      newest = join(n1, n2, n3, n4, n5, n6, n7),
    }
    if state.size < 1 or state.size > 10000000 or state.head >= state.size or state.live > state.size
      or state.newest > 9007199254740991 or state.oldest > state.newest then return nil end
    return state
  end,
  wait = function(limit, state, cost)
    forget(state, now_us - limit.window_us)
    local excess = state.live + cost - limit.capacity
    if excess <= 0 then return 0 end
    return (excess == 1 and state.oldest or stamp(state, excess - 1)) + limit.window_us - now_us
  end,
  take = function(limit, state, cost, at_us)
    local need, key = state.live + cost, state.key
    if state.newest < at_us then state.newest = at_us end
    if state.live == 0 then state.oldest = state.newest end
    local one = pack(state.newest)
    if state.live == 0 or need > state.size then
      local stamps = live_stamps(state) .. string.rep(one, cost)
      state.size = math.min(math.max(need * 2, 64), math.max(limit.capacity, need))
      state.head, state.live = need % state.size, need
      extend(limit, state)
      redis.call('SET', key, header(state) .. stamps, 'PX', life_ms(state.expires - now_us))
      state.saved = true
      return
    end
    local room = state.size - state.head
    local fit = cost < room and cost or room
    redis.call('SETRANGE', key, digits(31 + state.head * 7), fit == 1 and one or string.rep(one, fit))
    if cost > fit then redis.call('SETRANGE', key, '31', string.rep(one, cost - fit)) end
    state.head, state.live, state.saved = (state.head + cost) % state.size, need, false
  end,
  view = function(limit, state)
    local left = limit.capacity - state.live
    return left > 0 and left or 0, state.live > 0 and state.newest + limit.window_us - now_us or 0
  end,
  save = function(key, limit, state)
    if state.saved then return end
    if extend(limit, state) then redis.call('PEXPIRE', key, life_ms(state.expires - now_us)) end
    if state.whole then
      redis.call('SETRANGE', key, '0', header(state))
    else
      redis.call('SETRANGE', key, '18', pack3(state.head) .. pack3(state.live) .. pack(state.newest))
    end
  end,
}
