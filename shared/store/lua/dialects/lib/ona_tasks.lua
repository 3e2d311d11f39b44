-- Tasks of an environment, as Ona's API has them: `ona:tasks`, id → msgpack {task, environment, reference, arrival, …}
-- (see shared.store.dialects.ona_tasks), with the indexes `ona:names`, `ona:refs`, `ona:env:…` and `ona:all`. A task
-- that is removed from the catalog, or becomes the task file's, is removed here too.
-- fills: on_task_removed=unlist_ona_task
-- uses: clock
local function list_ona_task(id, record)
  local r = cmsgpack.unpack(record)
  redis.call('HSET', P .. ':ona:tasks', id, record)
  redis.call('HSET', P .. ':ona:names', r[1], id)
  redis.call('HSET', P .. ':ona:refs', r[2] .. '/' .. r[3], id)
  redis.call('ZADD', P .. ':ona:env:' .. r[2], r[4], id)
  redis.call('ZADD', P .. ':ona:all', r[4], id)
end

local function unlist_ona_task(name)
  local id = redis.call('HGET', P .. ':ona:names', name)
  if not id then return end
  local r = cmsgpack.unpack(redis.call('HGET', P .. ':ona:tasks', id))
  redis.call('HDEL', P .. ':ona:tasks', id)
  redis.call('HDEL', P .. ':ona:names', name)
  redis.call('HDEL', P .. ':ona:refs', r[2] .. '/' .. r[3])
  redis.call('ZREM', P .. ':ona:env:' .. r[2], id)
  redis.call('ZREM', P .. ':ona:all', id)
end
