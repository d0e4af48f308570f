-- A token: 1 to 128 characters of A-Z a-z 0-9 _ . : -
local function is_token(text)
  return text ~= nil and #text <= 128 and find(text, '^[%w_.:-]+$') ~= nil
end
