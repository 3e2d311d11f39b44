-- Forgets a namespace and the jobs in it, at most ARGV[3] jobs a call. ARGV: 1 now  2 name  3 batch
-- Answers 1 when all is gone, 0: call again.
-- flags: allow-oom
-- uses: clock newest jobs
local jobs = redis.call('ZRANGE', P .. ':jobs:' .. ARGV[2], 0, tonumber(ARGV[3]) - 1)
for _, task in ipairs(jobs) do drop_job(task) end
if #jobs == tonumber(ARGV[3]) then return 0 end
redis.call('DEL', P .. ':namespace:' .. ARGV[2])
redis.call('ZREM', P .. ':namespaces', ARGV[2])
return 1
