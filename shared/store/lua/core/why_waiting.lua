-- Reads everything that may keep one pending run waiting. ARGV: 1 now  2 id of the run
-- Answers {state of its execution or '', 1 if its queue is paused, how many are ahead of it in the queue or '', 1 if it
-- is external, {gate, held, at most ('' for any number), its place among those that wait, id of a run that holds it or
-- '', since when (us) or ''}…}. Of executions that hold a gate the oldest is shown, by its latest run; for a slot that
-- is held otherwise only the time is known.
-- flags: no-writes
-- uses: clock execution gates records
local r = load_sound(ARGV[2])
if not r then return {'', 0, '', 0} end
local x = execution_of(ARGV[2], r)
local state = redis.call('HGET', P .. ':exec:' .. x, 'state') or ''
local ahead = redis.call('ZRANK', P .. ':queue:' .. r[F.queue], ARGV[2])
local answer = {state, redis.call('SISMEMBER', P .. ':queues:paused', r[F.queue]), ahead or '', r[F.external]}
if state ~= 'waiting' then return answer end
for _, gate in ipairs(gates_of(x)) do
  local at, most, run, since = P .. ':limit:' .. gate[1], gate_max(gate), '', ''
  local holder = redis.call('ZRANGE', at .. ':holders', 0, 0)[1]
  if holder then
    run = redis.call('LRANGE', P .. ':exec-runs:' .. holder, -1, -1)[1] or holder
  else
    since = redis.call('ZRANGE', P .. ':slots:' .. gate[1], 0, 0, 'WITHSCORES')[2] or ''
  end
  local place = redis.call('ZRANK', at .. ':waiters', x)
  answer[#answer + 1] = {gate[1], taken_at(gate), most < math.huge and text(most) or '', place or '', run, since}
end
return answer
