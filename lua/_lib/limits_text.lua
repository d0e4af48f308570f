-- What was set as limits, '' if nothing. Somebody may have written there by hand: clients that decode must not choke.
local function limits_text(found)
  if not found then return '' end
  if #found > 1024 then return '?' end
  return (string.gsub(found, '[^ -~]', '?'))
end
