-- The text of a string key; '' where there is none; nil where the key holds another type.
local function text_of(key)
  local text = redis.pcall('GET', key)
  if not text then return '' end
  return type(text) == 'string' and text or nil
end
