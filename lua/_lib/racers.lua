-- Tells one of those who race for it that it is free. It asks again if it does not get it; one who gives up
-- instead, having been told, passes the word on.
local function wake_racer()
  local cursor = '0'
  repeat -- in steps: there may be thousands of them
    local page = redis.call('HSCAN', WAIT, cursor, 'MATCH', '~*', 'COUNT', '100')
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local token = string.sub(page[2][i], 2)
      redis.call('HDEL', WAIT, page[2][i])
      if redis.call('PUBLISH', page[2][i + 1], token .. ' free') > 0 then return end
    end
  until cursor == '0'
end
