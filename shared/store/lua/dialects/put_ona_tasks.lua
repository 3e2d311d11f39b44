-- Puts tasks into the catalog and lists them in an environment, all or none: new tasks, or those that have not changed
-- since they were read.
-- ARGV: 1 now  2 expected hashes (msgpack {task: hash, '' for none})
--       3… per task: id, record (msgpack {task, environment, reference, arrival, created at, …}; the last two are 0 for
--         a new one), the record that was read ('' for a new one), hash, body, signature, schedule
-- Answers 'done', 'exists' (a new one's reference is taken), 'stale' (a hash or a record differs) or 'owned_by_file'.
-- uses: catalog clock ona_tasks
local items = {}
for i = 3, #ARGV, 7 do items[#items + 1] = {unpack(ARGV, i, i + 6)} end
local written = 0   -- tasks that are as wanted already: if all are, this is a repeated call
for _, item in ipairs(items) do
  local known = redis.call('HGET', P .. ':ona:tasks', item[1]) or ''
  local entry = entry_of(cmsgpack.unpack(item[2])[1])
  -- An id belongs to one task only, so a new one that exists is the same task.
  if known ~= '' and (item[3] == '' or known == item[2]) and entry and entry[1] == item[4] then
    written = written + 1
  elseif known ~= item[3] then
    return 'stale'
  end
end
if written == #items then return 'done' end
local compared = 0
for name, hash in pairs(cmsgpack.unpack(ARGV[2])) do
  local entry = entry_of(name)
  if (entry and entry[1] or '') ~= hash then return 'stale' end
  compared = compared + 1
end
for _, item in ipairs(items) do
  local r = cmsgpack.unpack(item[2])
  local entry = entry_of(r[1])
  if entry and entry[2] == 'file' then return 'owned_by_file' end
  if item[3] == '' and redis.call('HEXISTS', P .. ':ona:refs', r[2] .. '/' .. r[3]) == 1 then return 'exists' end
end
for _, item in ipairs(items) do
  local r = cmsgpack.unpack(item[2])
  put_task('api', r[1], item[4], item[5], item[6], item[7])
  if r[4] == 0 then r[4], r[5] = redis.call('INCR', P .. ':counter'), NOW end
  list_ona_task(item[1], cmsgpack.pack(r))
end
if compared > 1 then redis.call('INCR', P .. ':api-tasks-version') end
announce_schedules()
return 'done'
