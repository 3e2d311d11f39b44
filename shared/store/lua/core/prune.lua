-- Forgets the oldest ended runs of a task beyond keep_runs of each end reason or older than keep_us: record, log and every
-- index entry go together, of at most ARGV[5] runs a call so that nobody waits for it.
-- ARGV: 1 now  2 task  3 keep_runs  4 keep_us  5 batch  6 a run id to forget regardless of age, or ''
--       7 number of the run to go on behind, at first 0
-- Answers {how many, number to go on behind or '' when that was all}; of a single one 1, or 0 when it is gone, -1 when it
-- is live, -2 when its execution still needs it.
-- transitions: prune
-- flags: allow-oom
-- uses: clock events execution plan records states
local task, batch = ARGV[2], tonumber(ARGV[5])
local at = P .. ':ix:t:' .. task .. ':'
local function forget(id, r)
  local dedupe_key = redis.call('HGET', P .. ':meta:' .. id, 'dedupe_key')
  if dedupe_key then redis.call('DEL', P .. ':dedupe:' .. dedupe_key) end
  unindex(id, r)
  redis.call('DEL', P .. ':run:' .. id, P .. ':log:' .. id, P .. ':logz:' .. id, P .. ':meta:' .. id)
  redis.pcall('ZREM', P .. ':compact', id)
  local x = execution_of(id, r)
  redis.call('LREM', P .. ':exec-runs:' .. x, 1, id)
  if redis.call('EXISTS', P .. ':exec-runs:' .. x) == 0 then   -- it was the last one
    local target = redis.call('HGET', P .. ':plan:' .. x, 'task') or target_of(r)
    redis.call('ZREM', P .. ':executions:all', x)
    redis.call('ZREM', P .. ':executions:t:' .. target, x)
    drop_plan(x)
    redis.call('DEL', P .. ':texts:' .. x)
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
  for other in string.gmatch(redis.call('HGET', P .. ':meta:' .. id, 'retained_for') or '', string.rep('.', 16)) do
    if redis.call('EXISTS', P .. ':exec:' .. other) == 1 then return true end
  end
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then return false end
  if redis.call('HEXISTS', P .. ':plan:' .. x, 'rest') == 1 then return true end   -- others are made after its plan
  return ((r[F.via] or '') ~= '' and x == id)
    or ((r[F.step] or -1) >= 0 and redis.call('HEXISTS', P .. ':plan:' .. x, 'needed:' .. text(r[F.step])) == 1)
end
local function let_go_of_a_removed_task()
  if redis.call('HEXISTS', P .. ':tasks', task) == 1 then return end
  for _, state in ipairs(STATES) do
    if redis.call('EXISTS', at .. state .. ':created') == 1 then return end
  end
  redis.call('ZREM', P .. ':history', task)
  redis.call('HDEL', P .. ':numbers', task)
  redis.call('HDEL', P .. ':retired', task)
end
if ARGV[6] ~= '' then
  local r = load(ARGV[6])
  if not r then return 0 end
  if r[F.status] ~= S.ended then return -1 end
  if is_needed(ARGV[6], r) then return -2 end
  forget(ARGV[6], r)
  event('run.deleted', task, ARGV[6], execution_of(ARGV[6], r))
  let_go_of_a_removed_task()
  return 1
end
-- Each reason's runs from the oldest on; `left` is how many there are from there on, and what is kept of them is the newest.
local rows = {}
for _, reason in ipairs(REASONS) do
  local created = at .. reason .. ':created'
  local heads = redis.call('ZRANGEBYSCORE', created, '(' .. ARGV[7], '+inf', 'WITHSCORES', 'LIMIT', 0, batch)
  if #heads > 0 then rows[#rows + 1] = {heads = heads, i = 1, left = redis.call('ZCOUNT', created, '(' .. ARGV[7], '+inf')} end
end
local function oldest_row()
  local found, least
  for _, row in ipairs(rows) do
    local number = tonumber(row.heads[row.i + 1])
    if number and (not least or number < least) then found, least = row, number end
  end
  return found, least
end
local looked_at, seen_to, forgotten = 0, '', 0
while looked_at < batch do
  local row, number = oldest_row()
  if not row then
    seen_to = ''
    break
  end
  local id = row.heads[row.i]
  local is_whole, r = pcall(load, id)
  if is_whole and r and row.left <= tonumber(ARGV[3]) and r[F.end_us] > NOW - tonumber(ARGV[4]) then
    row.heads = {}   -- the others of its reason are newer
  else
    if is_whole and r and not is_needed(id, r) then   -- what is no record holds up no other
      forget(id, r)
      forgotten = forgotten + 1
    end
    row.i, row.left, looked_at, seen_to = row.i + 2, row.left - 1, looked_at + 1, text(number)
  end
end
let_go_of_a_removed_task()
return {forgotten, seen_to}
