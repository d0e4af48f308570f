--- partition.leave -- give back everything that a member owns, and forget it. Those who stay share anew.
-- The message on the channel is that of partition.beat, with nothing taken.
-- KEYS[1] group     hash    <prefix>rs1:{<group>}:partitions
-- ARGV[1] member    token   as given to partition.beat
-- ARGV[2] channel   token|''   where to publish a change, '' = nowhere; members and routers listen on <prefix>rs1:partitions
-- ARGV[3] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  left      int     1 = by this call, 0 = it was not there
-- RETURN  freed     int     how many partitions it owned until now
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      the second call finds nobody
-- FLAGS   write frees
-- >>> _lib/integer
-- Strict decimal integers: tonumber alone would take 'inf', 'nan', '0x10', ' 5 ' and '1e3'.
local find, format = string.find, string.format
local function integer(text, low, high)
  if text and text ~= '' and #text <= 16 and not find(text, '%D') then
    local value = tonumber(text)
    if value >= low and value <= high then return value end
  end
  return nil
end
-- tostring(1755123456789012) would be '1.755123456789e+15'. '%d' is the fastest, and cut where C's long has 32 bits.
local function digits(x)
  local text = format('%d', x)
  if x <= 2147483647 or #text > 11 then return text end
  return format('%.0f', x)
end
local function rsarg(name, rule) return redis.error_reply('RSARG ' .. name .. ' ' .. rule) end
local function out_of_range(name, low, high)
  return rsarg(name, 'must be an integer from ' .. digits(low) .. ' to ' .. digits(high))
end
-- <<< _lib/integer
-- >>> _lib/clock
-- now_us is the last argument: '' = the server's clock; a number is taken as it is (2^52 at most,
-- so that now_us plus any length this contract admits stays an exact double).
local now_us
if ARGV[#ARGV] == '' then
  local time = redis.call('TIME')
  now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  now_us = integer(ARGV[#ARGV], 0, 4503599627370496)
end
if not now_us then return rsarg('now_us', "must be '' or an integer from 0 to 4503599627370496") end
-- <<< _lib/clock
-- >>> _lib/life
-- For PEXPIRE, which only collects garbage: never 0, and an hour more under a clock that is not the server's.
local function life_ms(life_us)
  local ms = math.ceil(life_us / 1000)
  if ms < 1 then ms = 1 end
  if ARGV[#ARGV] ~= '' then ms = ms + 3600000 end
  return digits(ms)
end
-- <<< _lib/life
-- >>> _lib/token
-- A token: 1 to 128 characters of A-Z a-z 0-9 _ . : -
local function is_token(text)
  return text ~= nil and #text <= 128 and find(text, '^[%w_.:-]+$') ~= nil
end
-- <<< _lib/token
-- >>> _lib/partition
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
-- <<< _lib/partition
-- >>> _lib/partition_change
-- Changes of a group are made in memory, and written and told at the end.
local before, free, reshared = group.version, nil, false
local writes, gone, freed, taken = {}, {}, {}, {}
local function put(field, text)
  writes[#writes + 1] = field
  writes[#writes + 1] = text
end
local function changes() if group.version == before then group.version = math.max(before + 1, now_us) end end
local function with(text, numbers)
  return #numbers == 0 and text or text .. ' ' .. table.concat(numbers, ' ')
end
local function give_back(numbers)
  if #numbers == 0 then return end
  changes()
  free = with(free or redis.call('HGET', GROUP, 'free') or '', numbers)
  group.idle = group.idle + #numbers
  for _, number in ipairs(numbers) do freed[#freed + 1] = number end
end
local function drop(name)
  changes()
  give_back(cut(list(name), math.huge))
  members[name], lists[name], reshared = false, nil, true
  gone[#gone + 1] = '@' .. name
  gone[#gone + 1] = '=' .. name
end
-- Everybody's share: as equal as can be, and the larger ones to those who hold the most, so that the fewest move.
local function reshare()
  local staying = {}
  for _, name in ipairs(all()) do
    local each = members[name]
    if each then
      each.name, each.was = name, each.share
      if each.stays == 1 then staying[#staying + 1] = each else each.share = 0 end
    end
  end
  table.sort(staying, function(a, b)
    if a.held ~= b.held then return a.held > b.held end
    return a.name < b.name
  end)
  local least = math.floor(group.partitions / #staying)
  local larger = group.partitions - least * #staying
  for i, each in ipairs(staying) do each.share = i <= larger and least + 1 or least end
  group.shares, group.staying = group.version, #staying
end
local function keep(name)
  local each = members[name]
  put('@' .. name, table.concat({ digits(each.end_us), digits(each.ttl_us), digits(each.stays), digits(each.share),
    digits(each.held), digits(each.changed), each.address }, '|'))
end
-- The first write passes when memory is full, and then the rest passes too.
local function save(name)
  local alive = {}
  for _, each in ipairs(reshared and all() or {}) do
    if members[each] then
      alive[#alive + 1] = each
      if each ~= name and members[each].share ~= members[each].was then keep(each) end
    end
  end
  if reshared then put('members', with('', alive)) end
  if free then put('free', free) end
  group.shift_us, group.seen_us = time_us - now_us, time_us
  for _, word in ipairs(WORDS) do put(word, digits(group[word])) end
  local life = life_ms(math.max(group.until_us - time_us, 60000000))
  redis.call('PEXPIRE', GROUP, life)
  for i = 1, #gone, 1000 do redis.call('HDEL', GROUP, unpack(gone, i, math.min(i + 999, #gone))) end
  for i = 1, #writes, 1000 do redis.call('HSET', GROUP, unpack(writes, i, math.min(i + 999, #writes))) end
  redis.call('PEXPIRE', GROUP, life)
end
local function tell(channel, name, address)
  if channel == '' or group.version == before then return end
  redis.call('PUBLISH', channel, table.concat({ GROUP, digits(group.version), digits(before), digits(group.shares),
    digits(group.staying), digits(group.idle), name, #freed > 0 and table.concat(freed, ',') or '-',
    #taken > 0 and table.concat(taken, ',') or '-', address }, ' '))
end
-- <<< _lib/partition_change
local name, channel = ARGV[1], ARGV[2]
if #ARGV ~= 3 then return rsarg('ARGV', 'must hold member, channel, now_us') end
if not is_token(name) then return rsarg('member', 'must be a token') end
if channel ~= '' and not is_token(channel) then return rsarg('channel', "must be a token or ''") end
local me = member(name)
if not me then return { now_us, 0, 0 } end
all()
drop(name)
reshare()
save(name)
tell(channel, name, me.address)
return { now_us, 1, #freed }
