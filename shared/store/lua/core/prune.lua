-- Removes the oldest ended runs of a task beyond keep_runs of each end reason or older than keep_us; or one run.
-- ARGV: 1 now  2 task  3 keep_runs  4 keep_us  5 most runs to look at in a call, so that other calls wait only briefly
--       6 id of the one run to remove whatever its age, or ''  7 number of the run to continue after, at first 0
-- Answers {how many, number to continue after or '' when that was all}; for one run 1, or 0 when it is gone, -1 when it
-- is live, -2 when its execution still needs it.
-- transitions: prune
-- flags: allow-oom
-- uses: clock events execution records run_removal states
local task, keep_runs, keep_us, batch = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local one, after = ARGV[6], '(' .. ARGV[7]

local at = P .. ':ix:t:' .. task .. ':'
local function tidy_removed_task()
  if redis.call('HEXISTS', P .. ':tasks', task) == 1 then return end
  for _, state in ipairs(STATES) do
    if redis.call('EXISTS', at .. state .. ':created') == 1 then return end
  end
  redis.call('ZREM', P .. ':history', task)
  redis.call('HDEL', P .. ':numbers', task)
  redis.call('HDEL', P .. ':retired', task)
end
if one ~= '' then
  local r = load(one)
  if not r then return 0 end
  if r[F.status] ~= S.ended then return -1 end
  if is_needed(one, r) then return -2 end
  remove_run(one, r)
  event('run.deleted', task, one, execution_of(one, r))
  tidy_removed_task()
  return 1
end
-- The runs of each end reason, oldest first. `left` is how many of them are not looked at yet; the newest are kept.
local rows = {}
for _, reason in ipairs(REASONS) do
  local created = at .. reason .. ':created'
  local heads = redis.call('ZRANGEBYSCORE', created, after, '+inf', 'WITHSCORES', 'LIMIT', 0, batch)
  if #heads > 0 then
    rows[#rows + 1] = {heads = heads, i = 1, left = redis.call('ZCOUNT', created, after, '+inf')}
  end
end
local function oldest_row()
  local found, least
  for _, row in ipairs(rows) do
    local number = tonumber(row.heads[row.i + 1])
    if number and (not least or number < least) then found, least = row, number end
  end
  return found, least
end
local looked_at, seen_to, removed = 0, '', 0
while looked_at < batch do
  local row, number = oldest_row()
  if not row then
    seen_to = ''
    break
  end
  local id = row.heads[row.i]
  local is_whole, r = pcall(load, id)
  if is_whole and r and row.left <= keep_runs and r[F.end_us] > NOW - keep_us then
    row.heads = {}   -- the others of its reason are newer
  else
    if is_whole and r and not is_needed(id, r) then   -- an unreadable record does not block the others
      remove_run(id, r)
      removed = removed + 1
    end
    row.i, row.left, looked_at, seen_to = row.i + 2, row.left - 1, looked_at + 1, text(number)
  end
end
tidy_removed_task()
return {removed, seen_to}
