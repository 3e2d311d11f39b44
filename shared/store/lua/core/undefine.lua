-- Removes one task of the API from the catalog, if none of its runs is live and no task that might depend on it was
-- defined since the catalog was read.
-- ARGV: 1 now  2 name  3 `api-tasks-version` as it was read  4 id of this call
-- Answers {'removed'}, {'gone'}, {'owned_by_file'}, {'stale'} or {'live', how many, number of one of its runs or 0}.
-- uses: calls catalog clock
local name, version, call = ARGV[2], ARGV[3], ARGV[4]
if answer_before(call) then return {'removed'} end
local entry = entry_of(name)
if not entry then return {'gone'} end
if entry[2] ~= 'api' then return {'owned_by_file'} end
if (redis.call('GET', P .. ':api-tasks-version') or '0') ~= version then return {'stale'} end
local live, number = redis.call('SCARD', P .. ':plans:' .. name), 0
for _, state in ipairs({S.pending, S.running}) do
  local runs = P .. ':ix:t:' .. name .. ':' .. state .. ':created'
  live = live + redis.call('ZCARD', runs)
  number = redis.call('ZRANGE', runs, 0, 0, 'WITHSCORES')[2] or number
end
if live > 0 then return {'live', live, number} end
drop_task(name, entry)
announce_schedules()
keep_answer(call, 'removed')
return {'removed'}
