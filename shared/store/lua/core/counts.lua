-- Counts the runs of tasks in each state. ARGV: task names.
-- Answers for each task: pending, running, success, failed, stopped, timeout, crashed, skipped, log_overflow.
-- flags: no-writes
-- uses: states
local answer = {}
for _, task in ipairs(ARGV) do
  for _, state in ipairs(STATES) do
    answer[#answer + 1] = redis.call('ZCARD', KEYS[1] .. ':ix:t:' .. task .. ':' .. state .. ':created')
  end
end
return answer
