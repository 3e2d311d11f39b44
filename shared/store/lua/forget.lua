-- Forgets the oldest ended runs of a task beyond keep_runs or older than keep_us: record, log and every index entry go
-- together, of at most ARGV[5] runs a call so that nobody waits for it.
-- ARGV: 1 now  2 task  3 keep_runs  4 keep_us  5 batch  6 a run id to forget regardless of age, or ''
--       7 number of the run to go on behind, at first 0
-- Answers {how many, number to go on behind or '' when that was all}; of a single one 1, or 0 when it is gone, -1 when it
-- is live, -2 when its execution still needs it.
-- flags: allow-oom
-- uses: clock records events making execution plan
local task, batch = ARGV[2], tonumber(ARGV[5])
local at = P .. ':ix:t:' .. task .. ':'
local reasons = {'success', 'failed', 'stopped', 'timeout', 'crashed', 'skipped', 'log_overflow'}
local states = {'pending', 'running', unpack(reasons)}
local function forget(id, r)
  local once = redis.call('HGET', P .. ':annex:' .. id, 'once')
  if once then redis.call('DEL', P .. ':once:' .. once) end
  unindex(id, r)
  redis.call('DEL', P .. ':run:' .. id, P .. ':log:' .. id, P .. ':logz:' .. id, P .. ':annex:' .. id)
  redis.call('ZREM', P .. ':compact', id)
  local x = execution_of(id, r)
  redis.call('LREM', P .. ':exec-runs:' .. x, 1, id)
  if redis.call('EXISTS', P .. ':exec-runs:' .. x) == 0 then   -- it was the last one
    local target = redis.call('HGET', P .. ':plan:' .. x, 'task') or target_of(r)
    redis.call('ZREM', P .. ':executions:all', x)
    redis.call('ZREM', P .. ':executions:t:' .. target, x)
    drop_plan(x)
  end
  if r[F.external_id] ~= '' then redis.call('SREM', P .. ':external:' .. r[F.external_id], id) end
  if redis.call('HINCRBY', P .. ':def:' .. r[F.definition], 'refs', -1) <= 0 then
    redis.call('DEL', P .. ':def:' .. r[F.definition])
  end
end
-- Of a live execution: what another system knows of it stands with its first run, and what a step of its plan put out may
-- still have to be handed on, there or in an execution that goes on from it.
local function is_needed(id, r)
  local x = execution_of(id, r)
  for other in string.gmatch(redis.call('HGET', P .. ':annex:' .. id, 'lent') or '', string.rep('.', 16)) do
    if redis.call('EXISTS', P .. ':exec:' .. other) == 1 then return true end
  end
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then return false end
  if redis.call('HEXISTS', P .. ':plan:' .. x, 'rest') == 1 then return true end   -- others are made after its plan
  return ((r[F.via] or '') ~= '' and x == id)
    or ((r[F.step] or -1) >= 0 and redis.call('HEXISTS', P .. ':plan:' .. x, 'needed:' .. text(r[F.step])) == 1)
end
local function let_go_of_a_removed_task()
  if redis.call('HEXISTS', P .. ':tasks', task) == 1 then return end
  for _, state in ipairs(states) do
    if redis.call('EXISTS', at .. state .. ':created') == 1 then return end
  end
  redis.call('ZREM', P .. ':history', task)
  redis.call('HDEL', P .. ':numbers', task)
end
if ARGV[6] ~= '' then
  local r = load(ARGV[6])
  if not r then return 0 end
  if r[F.status] ~= 'ended' then return -1 end
  if is_needed(ARGV[6], r) then return -2 end
  forget(ARGV[6], r)
  event('run.deleted', task, ARGV[6], execution_of(ARGV[6], r))
  let_go_of_a_removed_task()
  return 1
end
local total, before, oldest, forgotten = 0, 0, {}, 0
for _, reason in ipairs(reasons) do
  local created = at .. reason .. ':created'
  total, before = total + redis.call('ZCARD', created), before + redis.call('ZCOUNT', created, '-inf', ARGV[7])
  local heads = redis.call('ZRANGEBYSCORE', created, '(' .. ARGV[7], '+inf', 'WITHSCORES', 'LIMIT', 0, batch)
  for i = 1, #heads, 2 do oldest[#oldest + 1] = {tonumber(heads[i + 1]), heads[i]} end
end
table.sort(oldest, function(a, b) return a[1] < b[1] end)
local seen_to = #oldest >= batch and text(oldest[batch][1]) or ''
for i = 1, math.min(batch, #oldest) do
  local id = oldest[i][2]
  local is_whole, r = pcall(load, id)
  if is_whole and (not r or (total - before - i < tonumber(ARGV[3]) and r[F.end_us] > NOW - tonumber(ARGV[4]))) then
    seen_to = ''
    break
  end
  if is_whole and not is_needed(id, r) then   -- what is no record holds up no other
    forget(id, r)
    forgotten = forgotten + 1
  end
end
let_go_of_a_removed_task()
return {forgotten, seen_to}
