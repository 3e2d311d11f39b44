-- Reads records of runs with all their texts (lib/texts.lua).
-- ARGV: 1 now  2… run ids    Answers each record, or nil.
-- flags: no-writes
-- uses: clock texts
local answer = {}
for i = 2, #ARGV do answer[i - 1] = whole(redis.pcall('GET', P .. ':run:' .. ARGV[i])) end
return answer
