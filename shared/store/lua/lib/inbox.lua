-- Runs that a consumer outside fetches over a connection of its own, while they wait: sorted set `external-queue:<task>`, executions
-- by the time they are due. Channel `channel:external-queue:<task>` rings when there is one more.
local function put_into_inbox(x, r)
  redis.call('ZADD', P .. ':external-queue:' .. r[F.task], math.max(r[F.due_us], r[F.created_us]), x)
  redis.call('PUBLISH', P .. ':channel:external-queue:' .. r[F.task], '')
end
