-- The task file that was applied last: hash `applied` (number, digest, by, at, modified, call), and sorted set
-- `applied:files`, the digests of the newest thousand files by the number under which each was applied.
-- about: {call = id of this call, digest, by, modified}, and to restore them after the store was wiped: number, at,
-- files ({digest: number}), paused ({task…}).
-- uses: clock
local function applied_number() return tonumber(redis.call('HGET', P .. ':applied', 'number')) or 0 end

local function is_applied(about) return redis.call('HGET', P .. ':applied', 'call') == about.call end

local function note_applied(about)
  local number = about.number or applied_number() + 1
  redis.call('HSET', P .. ':applied', 'number', number, 'digest', about.digest, 'by', about.by,
    'at', about.at or text(NOW), 'modified', about.modified, 'call', about.call)
  for digest, before in pairs(about.files or {}) do redis.call('ZADD', P .. ':applied:files', before, digest) end
  redis.call('ZADD', P .. ':applied:files', number, about.digest)
  redis.call('ZREMRANGEBYRANK', P .. ':applied:files', 0, -1001)
  for _, task in ipairs(about.paused or {}) do
    if redis.call('HEXISTS', P .. ':tasks', task) == 1 then redis.call('SADD', P .. ':paused', task) end
  end
end
