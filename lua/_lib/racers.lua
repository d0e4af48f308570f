-- Tells one of those who race for it that it is free. It asks again if it does not get it; one who gives up
-- instead, having been told, passes the word on.
local function wake_racer()
  for _, name in ipairs(redis.call('HKEYS', WAIT)) do
    local token = string.match(name, '^~(.+)$')
    if token then
      local box = redis.call('HGET', WAIT, name)
      redis.call('HDEL', WAIT, name)
      if redis.call('PUBLISH', box, token .. ' free') > 0 then return end
    end
  end
end
