-- Stores one task of the API in the catalog, unless a task that it was checked against has changed.
-- ARGV: 1 now  2 name  3 hash  4 body  5 signature  6 schedule ('' for none)
--       7 expected hashes (msgpack {task: hash, '' for none}), the task's own among them
-- Answers 'added', 'changed', 'unchanged', 'owned_by_file' or 'stale' (a hash differs).
-- uses: catalog clock
local name, hash, body, signature, schedule = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local expected = cmsgpack.unpack(ARGV[7])
local before = entry_of(name)
if before and before[1] == hash and before[2] == 'api' then return 'unchanged' end
local compared = 0
for other, known in pairs(expected) do
  local entry = entry_of(other)
  if (entry and entry[1] or '') ~= known then return 'stale' end
  compared = compared + 1
end
local verdict = put_task('api', name, hash, body, signature, schedule)
if compared > 1 then redis.call('INCR', P .. ':api-tasks-version') end
announce_schedules()
return verdict
