-- The state of each task's newest run: 'pending', 'running', an end reason, or '' without a run. ARGV: task names.
-- flags: no-writes
-- uses: states
local answer = {}
for _, task in ipairs(ARGV) do
  local newest, found = 0, ''
  for _, state in ipairs(STATES) do
    local last = redis.call('ZREVRANGE', KEYS[1] .. ':ix:t:' .. task .. ':' .. state .. ':created', 0, 0, 'WITHSCORES')
    if last[1] and tonumber(last[2]) > newest then newest, found = tonumber(last[2]), state end
  end
  answer[#answer + 1] = found
end
return answer
