-- Reservations of a gcra key. STARTS says when each starts. OPEN holds, by token, of those that are not settled `tat` as
-- they left it plus '!', which is all that `tat` was lowered by until then; as '!token' what is owed for one that was
-- cancelled too early to give back; and as '!!' the least slack of those that are to start: of the older ones, which have
-- all started at `turn_us`, and of those since. Slack, too, counts '!' in. At `turn_us` the newer ones become the older.
if #KEYS ~= 3 then return rsarg('KEYS', 'must name the key, its reservations and their starts') end
local KEY, OPEN, STARTS = KEYS[1], KEYS[2], KEYS[3]
local count, window_us, burst = read_limit(1, 1000000000, true)
if not count then return window_us end
local token = ARGV[4]
if not is_token(token) then return rsarg('token', 'must be a token') end
local interval = math.ceil(window_us / count)
local full_us = burst * interval
-- Settled later than this after its start, a reservation gives nothing back; a debt is charged all the same.
local KEPT_US = full_us + 60000000
local MOST = 9007199254740992
local function load()
  local tat, lent = read_bucket(text_of(KEY))
  local known = redis.pcall('HMGET', OPEN, '!', token, '!!')
  local last = redis.pcall('ZREVRANGE', STARTS, '0', '0', 'WITHSCORES')
  if not tat or known.err or last.err then return nil end
  local state = { tat = math.max(tat, now_us), lowered = tonumber(known[1] or 0), reach_us = tonumber(known[2]) }
  state.lent_us = lent
  state.start_us, state.last_us = tonumber(redis.call('ZSCORE', STARTS, token)), tonumber(last[2] or 0)
  local turn_us, older, newer = string.match(known[3] or '', '^(%d+) (%d+) (%d+)$')
  state.turn_us, state.older, state.newer = tonumber(turn_us or 0), tonumber(older or MOST), tonumber(newer or MOST)
  -- Whoever is still to start has its units in `tat`. Where they are not there, the key was reset or lost.
  state.is_stale = state.last_us > now_us and state.tat <= state.last_us
  return state
end
local function save(state) write_bucket(KEY, state.tat, state.lent_us) end
local function forget_old()
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', STARTS, '-inf', digits(now_us - KEPT_US), 'LIMIT', '0', '16')) do
    redis.call('ZREM', STARTS, old)
    redis.call('HDEL', OPEN, old, '!' .. old)
  end
end
local function keep(last_us)
  local life = life_ms(math.max(last_us - now_us, 0) + KEPT_US)
  redis.call('PEXPIRE', OPEN, life)
  redis.call('PEXPIRE', STARTS, life)
end
