-- Creates or changes a job in an existing namespace. ARGV: 1 now  2 job (dialects/lib/jobs.lua, msgpack)
-- Answers its fields; none when there is no such namespace.
-- uses: clock jobs
local job = cmsgpack.unpack(ARGV[2])
if redis.call('EXISTS', P .. ':namespace:' .. job[2]) == 0 then return {} end
put_job(job, NOW)
return redis.call('HGETALL', P .. ':job:' .. job[1])
