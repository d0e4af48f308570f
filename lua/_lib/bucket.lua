-- The text of a gcra key: 'tat', or while something is lent 'tat/lent', where lent is the end of the loan that ends last.
local function read_bucket(text)
  local tat = text == '' and 0 or integer(text, 0, 9007199254740992)
  if tat or not text then return tat, 0 end
  local first, second = string.match(text, '^(%d+)/(%d+)$')
  local lent = integer(second, 0, 9007199254740992)
  return lent and integer(first, 0, 9007199254740992), lent
end
local function write_bucket(key, tat, lent)
  local text = digits(tat)
  if lent > now_us then text = text .. '/' .. digits(lent) end
  redis.call('SET', key, text, 'PX', life_ms(tat - now_us))
end
