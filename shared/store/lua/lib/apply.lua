-- Replaces the catalog's tasks by those of a file: see core/apply.lua for the arguments and answers.
-- uses: applied catalog clock limits
local function apply_tasks()
  local source, removes, limits, number = ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5]
  local about, may_unsign = ARGV[6] ~= '' and cmsgpack.unpack(ARGV[6]), ARGV[7] == '1'
  local named, removed = {}, {}
  if about and is_applied(about) then return {'repeated'} end
  if number ~= '' and tonumber(number) ~= applied_number() then return {'stale'} end
  local did = {added = {}, changed = {}, unchanged = {}, owned_by_file = {}}
  for i = 8, #ARGV, 5 do
    local name = ARGV[i]
    named[name] = true
    local list = did[put_task(source, name, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], may_unsign)]
    list[#list + 1] = name
  end
  if removes then
    local all = redis.call('HGETALL', P .. ':tasks')
    for i = 1, #all, 2 do
      local entry = cmsgpack.unpack(all[i + 1])
      if entry[2] == source and not named[all[i]] then
        drop_task(all[i], entry)
        removed[#removed + 1] = all[i]
      end
    end
  end
  if limits ~= '' then
    local touched, wanted = {}, cmsgpack.unpack(limits)
    for _, name in ipairs(redis.call('HKEYS', P .. ':limits:file')) do touched[name] = true end
    redis.call('DEL', P .. ':limits:file')
    for name, max in pairs(wanted) do
      redis.call('HSET', P .. ':limits:file', name, max)
      touched[name] = true
    end
    for name in pairs(touched) do settle_limit(name) end
  end
  if about then note_applied(about) end
  announce_schedules()
  return {did.added, did.changed, removed, did.unchanged, did.owned_by_file}
end
