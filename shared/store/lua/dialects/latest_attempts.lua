-- Reads the newest run of executions, and some fields of their first run's metadata.
-- ARGV: 1 now  2 fields (msgpack list; empty: all, as pairs)  3… executions
-- Answers for each {run, record, values…} or false.
-- flags: no-writes
-- uses: clock texts
local fields, answer = cmsgpack.unpack(ARGV[2]), {}
for i = 3, #ARGV do
  local x = ARGV[i]
  local head = redis.call('LRANGE', P .. ':exec-runs:' .. x, -1, -1)[1] or x
  local record, metadata = redis.call('GET', P .. ':run:' .. head), P .. ':meta:' .. x
  local found = record and {head, whole(record)} or false
  if record then
    local values = #fields == 0 and redis.call('HGETALL', metadata) or redis.call('HMGET', metadata, unpack(fields))
    for _, value in ipairs(values) do
      found[#found + 1] = value
    end
  end
  answer[i - 2] = found
end
return answer
