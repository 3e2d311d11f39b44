-- Removes an ended run: its record, log, metadata and index entries, with the last run of an execution also its plan
-- and texts.
-- uses: clock definitions execution plan records
local function remove_run(id, r)
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
  unref_definition(r[F.definition])
end

-- Whether a live execution needs an ended run: its first run has the metadata of another system, and later steps, also
-- those of a rerun from a failed step, may need the outputs of the others.
local function is_needed(id, r)
  local x = execution_of(id, r)
  for other in string.gmatch(redis.call('HGET', P .. ':meta:' .. id, 'retained_for') or '', string.rep('.', 16)) do
    if redis.call('EXISTS', P .. ':exec:' .. other) == 1 then return true end
  end
  if redis.call('EXISTS', P .. ':exec:' .. x) == 0 then return false end
  if redis.call('HEXISTS', P .. ':plan:' .. x, 'rest') == 1 then return true end   -- others are created from its plan
  return ((r[F.via] or '') ~= '' and x == id)
    or ((r[F.step] or -1) >= 0 and redis.call('HEXISTS', P .. ':plan:' .. x, 'needed:' .. text(r[F.step])) == 1)
end
