-- Creates and numbers runs: hash `numbers` has the last number of each task.
-- uses: clock definitions records states

-- Takes the numbers of n new runs of a task, and answers the last. It comes before any write of the runs, because it
-- fails when one of these keys was overwritten.
local function take_numbers(task, n)
  local last = redis.call('HINCRBY', P .. ':numbers', task, n)
  redis.pcall('ZADD', P .. ':history', 0, task)   -- or else with the task's next run
  return last
end

-- The same in the middle of a script, which must not fail: without the key, it counts from the greatest number in use.
local function take_numbers_anyhow(task, n)
  local counted, last = pcall(take_numbers, task, n)
  if counted then return last end
  local greatest = 0
  for _, state in ipairs(STATES) do
    local key = P .. ':ix:t:' .. task .. ':' .. state .. ':created'
    greatest = math.max(greatest, tonumber(redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]) or 0)
  end
  return greatest + n
end

-- Creates n runs of one step from record r, after the `from` runs that exist; id_at(i) is the id of the i-th,
-- only[i + 1] its replica if not i itself. `last` is the number of the last one, if the numbers were taken before.
local function make_runs(x, x_text, r, from, n, only, listed, id_at, last)
  local task, made = r[F.task], {}
  last = last or take_numbers_anyhow(task, n)
  ref_definition(r[F.definition], n)
  r[F.created_us] = NOW
  for i = from, from + n - 1 do
    local id = id_at(i)
    r[F.replica_index], r[F.number] = only[i + 1] or i, last - n + 1 + i - from
    r[F.execution] = id == x and '' or x_text
    if listed then redis.call('RPUSH', P .. ':exec-runs:' .. x, id) end
    if r[F.external_id] ~= '' then redis.call('SADD', P .. ':external:' .. r[F.external_id], id) end
    save(id, r)
    index(id, r)
    made[#made + 1] = id
  end
  return made
end
