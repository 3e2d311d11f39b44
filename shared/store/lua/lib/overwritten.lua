-- A command on a key whose content another program may have overwritten with a value of another type. That content is
-- lost either way; without it the command succeeds, and a script does not stop half-way.
local function replacing(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...)
end
