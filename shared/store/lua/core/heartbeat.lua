-- Records that a worker process is alive, renews the leases of its runs, and answers requests to stop them.
-- ARGV: 1 now  2 worker  3 lease_us  4 gap_us  5 its own record (JSON) or '' when unchanged  6 source status
--       7 Dramatiq broker's id or ''  8… pairs: run id, token
-- Answers {known (0: send your record again), drain (1: requested), store id, and for each pair '' | 'stop' | 'kill' |
-- 'lost'}.
-- transitions: heartbeat
-- flags: allow-oom
-- uses: clock events records rescue_hold store_id
local worker, lease, gap_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local about, running, broker = ARGV[5], ARGV[6], ARGV[7]

note_contact(gap_us, lease)
if about ~= '' then
  if not redis.call('ZSCORE', P .. ':workers', worker) then event('worker.joined', '', '', '', worker) end
  redis.call('HSET', P .. ':worker:' .. worker, 'about', about, 'broker', broker)
end
local known = redis.call('HEXISTS', P .. ':worker:' .. worker, 'about')
if known == 1 then redis.call('ZADD', P .. ':workers', NOW, worker) end
local answer = {known, tonumber(redis.call('HGET', P .. ':worker:' .. worker, 'drain')) or 0, store_id()}
for i = 8, #ARGV, 2 do
  local r = load_sound(ARGV[i])
  if r and r[F.status] == running and r[F.token] == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', P .. ':leases', NOW + lease, ARGV[i])
    answer[#answer + 1] = r[F.stop_request]
  else
    answer[#answer + 1] = 'lost'
  end
end
return answer
