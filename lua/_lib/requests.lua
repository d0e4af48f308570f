-- The costs, one a request, follow the charge flag; a request names `width` keys. Checked before anything is read.
if #KEYS == 0 or #KEYS % width ~= 0 or #KEYS > most then
  return rsarg('KEYS', 'must name ' .. width .. ' a request, 1 to ' .. most .. ' in all')
end
if #ARGV ~= charge_at + #KEYS / width + 1 then return rsarg('ARGV', 'must hold one cost a request, then now_us') end
local charge = ARGV[charge_at]
if charge ~= '0' and charge ~= '1' then return rsarg('charge', 'must be 0 or 1') end
charge = charge == '1'
for i = charge_at + 1, #ARGV - 1 do
  if ARGV[i] ~= '1' and not integer(ARGV[i], 1, 1000000000000000) then
    return out_of_range('cost', 1, 1000000000000000)
  end
end
-- The reply is one line: a client reads a string of numbers several times as fast as an array of them.
local outcome = format('%d', 4294967296) == '4294967296' and '%d %d %d' or '%.0f %.0f %.0f' -- C's long may have 32 bits
