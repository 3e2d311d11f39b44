-- Makes the tasks of a file the catalog, in one step. Tasks made through the API stay; a file's task replaces one of theirs,
-- and theirs never one of the file's: that is kept.
-- ARGV: 1 now  2 source ('file' | 'api')  3 '1' to remove the source's tasks that are not named
--       4 limits (msgpack {name: max}) or '' to leave them  5… per task: name, hash, body, signature, schedule ('' for none)
-- Answers {added…}, {changed…}, {removed…}, {unchanged…}, {kept…}.
-- uses: clock records events execution environments catalog
local source, named, removed = ARGV[2], {}, {}
local did = {added = {}, changed = {}, unchanged = {}, kept = {}}
for i = 5, #ARGV, 5 do
  local name = ARGV[i]
  named[name] = true
  local list = did[put_task(source, name, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])]
  list[#list + 1] = name
end
if ARGV[3] == '1' then
  local all = redis.call('HGETALL', P .. ':tasks')
  for i = 1, #all, 2 do
    local entry = cmsgpack.unpack(all[i + 1])
    if entry[2] == source and not named[all[i]] then
      drop_task(all[i], entry)
      removed[#removed + 1] = all[i]
    end
  end
end
if ARGV[4] ~= '' then
  local touched = {}
  for _, name in ipairs(redis.call('HKEYS', P .. ':limits')) do
    if redis.call('HEXISTS', P .. ':limits:api', name) == 0 then
      redis.call('HDEL', P .. ':limits', name)
      touched[name] = true
    end
  end
  for name, max in pairs(cmsgpack.unpack(ARGV[4])) do
    redis.call('HSET', P .. ':limits', name, max)
    touched[name] = true
  end
  for name in pairs(touched) do admit('limit:' .. name) end   -- there may be more room now
end
tell_scheduler()
return {did.added, did.changed, removed, did.unchanged, did.kept}
