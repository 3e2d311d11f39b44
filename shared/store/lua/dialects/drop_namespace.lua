-- Deletes a namespace and its jobs that were last reported before the first of these calls, at most ARGV[3] a call. A
-- namespace with newer jobs stays, with these.
-- ARGV: 1 now  2 name  3 batch  4 the time of the first call, '' in that
-- Answers {1 when all is deleted, 0: call again; the time of the first call}.
-- flags: allow-oom
-- uses: clock jobs
local namespace, batch, since = ARGV[2], tonumber(ARGV[3]), ARGV[4] ~= '' and ARGV[4] or text(NOW)
local key = P .. ':jobs:' .. namespace
local jobs = redis.call('ZRANGEBYSCORE', key, '-inf', since, 'LIMIT', 0, batch)
for _, task in ipairs(jobs) do
  if redis.call('HGET', P .. ':job:' .. task, 'namespace') == namespace then drop_job(task) end
  redis.call('ZREM', key, task)   -- also an entry whose job is gone, or elsewhere
end
if #jobs == batch then return {0, since} end
if redis.call('EXISTS', key) == 0 then
  redis.call('DEL', P .. ':namespace:' .. namespace)
  redis.call('ZREM', P .. ':namespaces', namespace)
end
return {1, since}
