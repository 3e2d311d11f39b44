-- Namespaces and their jobs, as lineage clients know them; a job's key is its task.
-- uses: clock latest_values
local MOST_FIELDS = 200   -- of one job: its own and its facets

local function put_namespace(name, owner, description)
  local key = P .. ':namespace:' .. name
  if redis.call('HSETNX', key, 'created', text(NOW)) == 1 then
    redis.call('ZADD', P .. ':namespaces', 0, name)
    redis.call('HSET', key, 'owner', 'anonymous', 'updated', text(NOW))
  end
  if owner ~= '' then redis.call('HSET', key, 'owner', owner, 'updated', text(NOW)) end
  if description ~= '' then redis.call('HSET', key, 'description', description, 'updated', text(NOW)) end
end

-- job: {task, namespace, name, {field: value, …}}; a field keeps its latest value (dialects/lib/latest_values.lua).
local function put_job(job, at_us)
  local task, key = job[1], P .. ':job:' .. job[1]
  if redis.call('HSETNX', key, 'created', text(NOW)) == 1 then
    put_namespace(job[2], '', '')
    redis.call('HSET', key, 'namespace', job[2], 'name', job[3])
  end
  for field, value in pairs(job[4]) do keep_latest(key, field, at_us, value, MOST_FIELDS) end
  redis.call('HSET', key, 'updated', text(NOW))
  redis.call('ZADD', P .. ':jobs', NOW, task)
  redis.call('ZADD', P .. ':jobs:' .. job[2], NOW, task)
end

local function drop_job(task)
  local key = P .. ':job:' .. task
  local namespace = redis.call('HGET', key, 'namespace')
  if not namespace then return 0 end
  redis.call('ZREM', P .. ':jobs', task)
  redis.call('ZREM', P .. ':jobs:' .. namespace, task)
  return redis.call('DEL', key)
end
