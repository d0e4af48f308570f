--- partition.beat -- stay in a group of replicas that share out partitions, or join it: renew, and take what is free.
-- One lease holds all that a member owns; it beats at a third of ttl_us. Each partition has one owner at the most, until
-- that gives it back or its lease ends. A member's share is 1/staying of all, rounded, the larger ones to those who hold
-- the most. Who holds more than its share picks as many, ends its work on them, and gives them back (partition.release);
-- who holds less takes of what is free. Of whose lease has ended, the next beat of anybody gives everything back.
-- A partition's epoch is max(last + 1, now_us) each time it is taken, and kept for max(ttl_us, 60 s) after the last lease.
-- A member of the same name whose lease had ended joins anew, and owns nothing of what it owned.
-- The message on the channel: key, version, the version before, shares, staying, idle, member, what became free
-- (17,18 or -), what that member has taken (17:epoch,18:epoch or -; after the former), its address; separated by spaces.
-- KEYS[1] group     hash    <prefix>rs1:{<group>}:partitions
-- ARGV[1] member    token   a name that no other process has had, nor this one before a restart
-- ARGV[2] stays     int[0..1]   1 = takes its share; 0 = is about to leave: takes nothing, its share is 0, and does not join
-- ARGV[3] partitions int[1..4096]   how many the group has, from 0 on; the same for all as long as one is alive
-- ARGV[4] ttl_us    int[1000..31622400000000]   lease length from now
-- ARGV[5] seen      int[0..9007199254740991]   changed of the last reply that came, 0 at first
-- ARGV[6] address   string[0..256]   where the member is reached; printable ASCII without spaces
-- ARGV[7] channel   token|''   where to publish a change, '' = nowhere; members and routers listen on <prefix>rs1:partitions
-- ARGV[8] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was decided
-- RETURN  joined    int     1 = by this call: the caller owned nothing when it came; 0 = it was there, or is not (stays = 0)
-- RETURN  version   int     of who owns what and who is there; rises with every change
-- RETURN  changed   int     version at which what the caller owns changed last; 0 = it is not there
-- RETURN  shares    int     version at which the shares were last made
-- RETURN  staying   int     members that share
-- RETURN  idle      int     partitions that nobody owns
-- RETURN  share     int     how many the caller should own
-- RETURN  held      int     how many it owns; more than share: give so many back
-- RETURN per item  partition int     owned by the caller; no items at all where changed is what was seen
-- RETURN per item  epoch     int     of it
-- ERROR   RSARG     an argument is malformed, or the group has another number of partitions, or 4096 members
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      counts from the later call; one that arrives after partition.leave joins anew, for one ttl_us
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
local NEVER_US = 9007199254740991
local name, address, channel = ARGV[1], ARGV[6], ARGV[7]
if #ARGV ~= 8 then return rsarg('ARGV', 'must hold member, stays, partitions, ttl_us, seen, address, channel, now_us') end
if not is_token(name) then return rsarg('member', 'must be a token') end
local stays, partitions = integer(ARGV[2], 0, 1), integer(ARGV[3], 1, 4096)
local ttl_us, seen = integer(ARGV[4], 1000, 31622400000000), integer(ARGV[5], 0, 9007199254740991)
if not stays then return out_of_range('stays', 0, 1) end
if not partitions then return out_of_range('partitions', 1, 4096) end
if not ttl_us then return out_of_range('ttl_us', 1000, 31622400000000) end
if not seen then return out_of_range('seen', 0, 9007199254740991) end
if #address > 256 or find(address, '[^!-~]') then return rsarg('address', 'must be at most 256 printable characters without spaces') end
if channel ~= '' and not is_token(channel) then return rsarg('channel', "must be a token or ''") end
local me = member(name)
local is_known = me
if group.early_us <= time_us then
  group.early_us = NEVER_US
  for _, each in ipairs(all()) do
    if members[each] and members[each].end_us <= time_us then drop(each)
    elseif members[each] then group.early_us = math.min(group.early_us, members[each].end_us) end
  end
  me = members[name]
end
for _, each in ipairs(group.partitions ~= partitions and all() or {}) do
  if members[each] then return rsarg('partitions', 'must be ' .. digits(group.partitions) .. ', as long as somebody is in the group') end
end
local joined = not me and stays == 1
if joined then
  if #all() >= 4096 then return rsarg('member', 'is one too many: a group has 4096 at the most') end
  changes()
  me = { stays = 1, share = 0, held = 0, changed = group.version }
  members[name], lists[name], reshared = me, '', true
  if not is_known then names[#names + 1] = name end
  if group.partitions ~= partitions then
    local numbers = {}
    for i = 1, partitions do numbers[i] = digits(i - 1) end
    group.partitions, group.idle, free = partitions, partitions, with('', numbers)
  end
end
if not me then
  if reshared then
    reshare()
    save(name)
    tell(channel, name, address)
  end
  return { now_us, 0, group.version, 0, group.shares, group.staying, group.idle, 0, 0 }
end
if me.stays ~= stays then
  changes()
  me.stays, reshared = stays, true
end
if reshared then reshare() end
me.end_us, me.ttl_us, me.address = time_us + ttl_us, ttl_us, address
group.early_us = math.min(group.early_us, me.end_us)
group.until_us = math.max(group.until_us, me.end_us + math.max(ttl_us, 60000000))
local room = math.min(me.share - me.held, group.idle)
if room > 0 then
  changes()
  local numbers
  numbers, free = cut(free or redis.call('HGET', GROUP, 'free') or '', room)
  local last = epochs(numbers)
  for i, number in ipairs(numbers) do
    local epoch = digits(math.max(tonumber(last[i] or 0) + 1, now_us))
    taken[i] = number .. ':' .. epoch
    put(number, epoch)
  end
  me.held, me.changed, group.idle = me.held + #numbers, group.version, group.idle - #numbers
  lists[name] = with(list(name), numbers)
end
if joined or room > 0 then put('=' .. name, list(name)) end
keep(name)
save(name)
tell(channel, name, address)
local reply = { now_us, joined and 1 or 0, group.version, me.changed, group.shares, group.staying, group.idle, me.share, me.held }
if me.changed ~= seen then
  local numbers = cut(list(name), math.huge)
  for i, epoch in ipairs(epochs(numbers)) do
    reply[8 + 2 * i], reply[9 + 2 * i] = tonumber(numbers[i]), tonumber(epoch)
  end
end
return reply
