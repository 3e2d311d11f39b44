-- Creates or changes a namespace. ARGV: 1 now  2 name  3 owner or '' to leave it  4 description or '' to leave it
-- Answers its fields.
-- uses: clock jobs
local name, owner, description = ARGV[2], ARGV[3], ARGV[4]
put_namespace(name, owner, description)
return redis.call('HGETALL', P .. ':namespace:' .. name)
