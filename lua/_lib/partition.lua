-- One group: a hash. Of the whole it has the words below, 'members' (their names) and 'free' (the partitions that nobody
-- owns); of a member '@name' -> 'end_us|ttl_us|stays|share|held|changed|address' and '=name' -> its partitions; of a
-- partition that was ever owned its number -> its last epoch. In a list each word has a space before it.
-- Time never runs backwards here: where the clock steps back, the group's own goes on.
local GROUP = KEYS[1]
if #KEYS ~= 1 then return rsarg('KEYS', 'must name the group') end
local WORDS = { 'partitions', 'version', 'shares', 'idle', 'staying', 'early_us', 'until_us', 'seen_us', 'shift_us' }
local found = redis.pcall('HMGET', GROUP, unpack(WORDS))
if not found[1] and found.err then return redis.error_reply('RSSTATE the key of the group holds another type') end
local group = {}
for i = 1, #WORDS do group[WORDS[i]] = tonumber(found[i] or 0) end
local time_us = math.max(now_us + group.shift_us, group.seen_us)
local members, lists, names = {}, {}, nil
local function parse(text)
  local end_us, ttl_us, stays, share, held, changed, address =
    string.match(text or '', '^(%d+)|(%d+)|(%d)|(%d+)|(%d+)|(%d+)|(.*)$')
  return end_us and { end_us = tonumber(end_us), ttl_us = tonumber(ttl_us), stays = tonumber(stays),
    share = tonumber(share), held = tonumber(held), changed = tonumber(changed), address = address }
end
local function member(name)
  if members[name] == nil then members[name] = parse(redis.call('HGET', GROUP, '@' .. name) or nil) or false end
  return members[name]
end
-- The names of all, in the order in which they joined.
local function all()
  if names then return names end
  names = {}
  local fields = {}
  for name in string.gmatch(redis.call('HGET', GROUP, 'members') or '', '%S+') do
    names[#names + 1], fields[#fields + 1] = name, '@' .. name
  end
  local records = #fields > 0 and redis.call('HMGET', GROUP, unpack(fields)) or {}
  for i, name in ipairs(names) do
    if members[name] == nil then members[name] = parse(records[i] or nil) or false end
  end
  return names
end
local function list(name)
  if not lists[name] then lists[name] = redis.call('HGET', GROUP, '=' .. name) or '' end
  return lists[name]
end
-- The first n numbers of a list, and the rest of it.
local function cut(text, n)
  local first, at = {}, 1
  for number, after in string.gmatch(text, '(%d+)()') do
    if #first == n then break end
    first[#first + 1], at = number, after
  end
  return first, string.sub(text, at)
end
local function epochs(numbers)
  return #numbers > 0 and redis.call('HMGET', GROUP, unpack(numbers)) or {}
end
