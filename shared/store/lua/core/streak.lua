-- Counts the runs of a task that ended alike in a row, up to one of them. Skipped runs in between do not count, unless
-- it is about them, because nothing ran.
-- ARGV: 1 now  2 task  3 end reason  4 number of the last run    Answers {how many, when the first was created or ''}.
-- flags: no-writes
-- uses: clock states
local own, number, after = ARGV[3], ARGV[4], '-inf'
local function at(reason) return P .. ':ix:t:' .. ARGV[2] .. ':' .. reason .. ':created' end
for _, reason in ipairs(REASONS) do
  if reason ~= own and reason ~= R.skipped then
    local last = redis.call('ZREVRANGEBYSCORE', at(reason), number, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if last and (after == '-inf' or tonumber(last) > tonumber(after)) then after = last end
  end
end
if after ~= '-inf' then after = '(' .. after end
local first = redis.call('ZRANGEBYSCORE', at(own), after, number, 'LIMIT', 0, 1)[1]
local since = first and redis.call('ZSCORE', P .. ':ix:all:' .. own .. ':created', first)
return {redis.call('ZCOUNT', at(own), after, number), since or ''}
