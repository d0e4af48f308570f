-- For PEXPIRE, which only collects garbage: never 0, and an hour more under a clock that is not the server's.
local function life_ms(life_us)
  local ms = math.ceil(life_us / 1000)
  if ms < 1 then ms = 1 end
  if ARGV[#ARGV] ~= '' then ms = ms + 3600000 end
  return digits(ms)
end
