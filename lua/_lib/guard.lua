-- A guarded value and its mark, the highest fence that has come to it; the caller's own is ARGV[1].
if #KEYS ~= 2 or KEYS[1] == KEYS[2] then return rsarg('KEYS', 'must name the value and its mark, two different keys') end
local VALUE, MARK = KEYS[1], KEYS[2]
local fence = integer(ARGV[1], 1, 9007199254740991)
if not fence then return out_of_range('fence', 1, 9007199254740991) end
if type(redis.pcall('STRLEN', VALUE)) ~= 'number' then return redis.error_reply('RSSTATE the value holds another type') end
local text = text_of(MARK)
local mark = text == '' and 0 or integer(text, 1, 9007199254740991)
if not mark then return redis.error_reply('RSSTATE the mark holds something else than a fence') end
-- The first write of a script: when memory is full it is what fails, and once it passed, the rest passes too.
local function raise_mark()
  if fence > mark then redis.call('SET', MARK, digits(fence)) end
end
