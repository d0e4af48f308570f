--- partition.read -- who owns which partitions, under which epochs. Changes nothing.
-- A member whose lease has ended is replied until a beat of another has given its partitions back.
-- KEYS[1] group     hash    <prefix>rs1:{<group>}:partitions
-- ARGV[1] seen      int[0..9007199254740991]   version of the last reply that came, 0 at first
-- ARGV[2] now_us    int[0..4503599627370496]|''   '' = the server's clock
-- RETURN  at_us     int     the time at which this was read
-- RETURN  version   int     as in partition.beat; 0 = there is no such group, or it was lost
-- RETURN  partitions int    how many there are; 0 likewise
-- RETURN  idle      int     how many of them nobody owns
-- RETURN per item  member   string   one who is there, in the order of joining; no items at all where version is what was seen
-- RETURN per item  address  string   where it is reached
-- RETURN per item  stays    int      0 = it is about to leave
-- RETURN per item  left_us  int      what is left of its lease; 0 = it has ended
-- RETURN per item  share    int      how many it should own
-- RETURN per item  owned    string   what it owns: 17:epoch 18:epoch, separated by spaces
-- ERROR   RSARG     an argument is malformed
-- ERROR   RSSTATE   the key holds another type
-- REPEAT  safe      only reads
-- FLAGS   readonly
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
local seen = integer(ARGV[1], 0, 9007199254740991)
if #ARGV ~= 2 then return rsarg('ARGV', 'must hold seen, now_us') end
if not seen then return out_of_range('seen', 0, 9007199254740991) end
local reply = { now_us, group.version, group.partitions, group.idle }
if group.version == seen then return reply end
for _, name in ipairs(all()) do
  local each, owned = members[name], {}
  if each then
    local numbers = cut(list(name), math.huge)
    for i, epoch in ipairs(epochs(numbers)) do owned[i] = numbers[i] .. ':' .. (epoch or '0') end
    for _, word in ipairs({ name, each.address, each.stays, math.max(0, each.end_us - time_us), each.share,
      table.concat(owned, ' ') }) do
      reply[#reply + 1] = word
    end
  end
end
return reply
