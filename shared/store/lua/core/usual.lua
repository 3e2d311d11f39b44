-- Lists how long the successes among the last ended runs of tasks took.
-- ARGV: 1 now  2 how many of the last  3… tasks    Answers for each task {duration (us)…}, without those of runs that
-- have no start.
-- flags: no-writes
-- uses: clock states
local most = tonumber(ARGV[2])

local function durations(task)
  local at, numbers, own = P .. ':ix:t:' .. task .. ':', {}, {}
  for _, reason in ipairs(REASONS) do
    local last = redis.call('ZREVRANGE', at .. reason .. ':created', 0, most - 1, 'WITHSCORES')
    for i = 1, #last, 2 do
      local number = tonumber(last[i + 1])
      numbers[#numbers + 1] = number
      if reason == R.success then own[#own + 1] = {last[i], number} end
    end
  end
  table.sort(numbers, function(a, b) return a > b end)
  local from, found = numbers[most] or 0, {}
  for _, run in ipairs(own) do
    local took = run[2] >= from and tonumber(redis.call('ZSCORE', at .. R.success .. ':duration', run[1]) or 0) or 0
    if took > 0 then found[#found + 1] = took end
  end
  return found
end

local answer = {}
for i = 3, #ARGV do answer[#answer + 1] = durations(ARGV[i]) end
return answer
