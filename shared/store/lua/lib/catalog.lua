-- The catalog: hash `tasks`, task → msgpack {definition's hash, source, applied at, schedule}. A definition
-- (`def:<hash>`) counts its references and is deleted with the last.
-- uses: clock definitions events gates on_task_removed wakeups
local schedules = 0   -- number of changed schedules: with any, the scheduler has to read the catalog again

local function entry_of(name)
  local packed = redis.call('HGET', P .. ':tasks', name)
  return packed and cmsgpack.unpack(packed)
end

-- Answers 'added', 'changed', 'unchanged' or 'owned_by_file' (only the file changes it). An empty signature replaces
-- the one of an unchanged definition only if may_unsign.
local function put_task(source, name, hash, body, signature, schedule, may_unsign)
  local before, verdict = entry_of(name), 'unchanged'
  if before and before[2] == 'file' and source ~= 'file' then return 'owned_by_file' end
  if signature == '' and not may_unsign then signature = redis.call('HGET', P .. ':def:' .. hash, 'signature') or '' end
  redis.call('HSET', P .. ':def:' .. hash, 'body', body, 'signature', signature)
  if not before or before[1] ~= hash or before[2] ~= source then
    if schedule ~= '' or (before and before[4] ~= '') then schedules = schedules + 1 end
    ref_definition(hash, 1)
    redis.call('HSET', P .. ':tasks', name, cmsgpack.pack({hash, source, text(NOW), schedule}))
    if before then unref_definition(before[1]) end
    if source == 'file' then on_task_removed(name) end
    verdict = before and 'changed' or 'added'
    -- The new definition may keep fewer runs.
    if redis.call('ZSCORE', P .. ':history', name) then redis.pcall('SADD', P .. ':prune-candidates', name) end
    event('task.changed', name, '', '', hash)
    note_max(name, body)
    admit('task:' .. name)   -- its max_concurrent may be greater now
    redis.call('HDEL', P .. ':retired', name)
  end
  if verdict ~= 'unchanged' or string.find(body, '"secrets":', 1, true) then note_secrets(name, body) end
  if schedule == '' then
    redis.call('HDEL', P .. ':ticks', name)
  elseif not before or before[4] ~= schedule then
    redis.call('HSET', P .. ':ticks', name, text(NOW))   -- a new schedule has no missed ticks
  end
  return verdict
end

local function drop_task(name, entry)
  redis.call('HDEL', P .. ':tasks', name)
  redis.call('HDEL', P .. ':ticks', name)
  redis.call('SREM', P .. ':paused', name)
  redis.pcall('SADD', P .. ':prune-candidates', name)
  if redis.call('ZSCORE', P .. ':history', name) then note_bounds(name, entry[1]) end
  redis.call('HDEL', P .. ':maxima', name)
  unref_definition(entry[1])
  on_task_removed(name)
  note_secrets(name, '')
  if entry[4] ~= '' then schedules = schedules + 1 end
  event('task.removed', name, '', '')
end

local function announce_schedules()
  if schedules == 0 then return end
  redis.call('INCR', P .. ':catalog')
  wake_scheduler()
end
