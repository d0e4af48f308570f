-- Tells all who wait: they ask again.
local function wake()
  local cursor = '0'
  repeat -- in steps: there may be a thousand of them
    local page = redis.call('HSCAN', RECORD, cursor, 'MATCH', '~*', 'COUNT', '100')
    cursor = page[1]
    for i = 1, #page[2], 2 do
      redis.call('HDEL', RECORD, page[2][i])
      redis.call('PUBLISH', page[2][i + 1], string.sub(page[2][i], 2) .. ' free')
    end
  until cursor == '0'
end
