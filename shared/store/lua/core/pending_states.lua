-- Finds out why pending runs wait. ARGV: 1 now  2 how long a worker's heartbeat counts (us)  3… run ids
-- Answers {now, for each run: 'due' (later) | 'blocked' (its execution waits at a limit) | 'no_worker' (none serves its
-- queue) | 'queued' | '' when it does not wait any more}.
-- flags: no-writes
-- uses: clock execution records
local served = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. ':workers', '(' .. text(NOW - tonumber(ARGV[2])), '+inf')) do
  local about, drain = unpack(redis.call('HMGET', P .. ':worker:' .. worker, 'about', 'drain'))
  local sound, w = pcall(cjson.decode, about or '')
  if sound and type(w) == 'table' and type(w.queues) == 'table' and drain ~= '1' and (w.unfit or '') == '' then
    for _, queue in ipairs(w.queues) do served[queue] = true end
  end
end

local function why(id)
  local r = load_sound(id)
  if not r or r[F.status] ~= S.pending then return '' end
  if r[F.due_us] > NOW then return 'due' end
  if redis.call('HGET', P .. ':exec:' .. execution_of(id, r), 'state') == 'waiting' then return 'blocked' end
  return (r[F.external] == 1 or served[r[F.queue]]) and 'queued' or 'no_worker'
end

local answer = {text(NOW)}
for i = 3, #ARGV do answer[#answer + 1] = why(ARGV[i]) end
return answer
