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
