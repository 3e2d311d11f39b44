-- Deliveries that consumers have not acknowledged: hash `offers`, slot (a connection) → turn (16 characters), execution
-- (16 bytes), consumer; sorted set `offered`, slot by when the delivery is taken back.
-- uses: clock records
local function offer_of(slot)
  local packed = redis.call('HGET', P .. ':offers', slot)
  if not packed then return nil end
  return {turn = string.sub(packed, 1, 16), execution = string.sub(packed, 17, 32), consumer = string.sub(packed, 33)}
end

local function drop_offer(slot)
  redis.call('HDEL', P .. ':offers', slot)
  redis.call('ZREM', P .. ':offered', slot)
end

-- The newest run of the offered execution, if the consumer has it and it has not started.
local function unacknowledged_run(offer)
  if redis.call('SISMEMBER', P .. ':in-flight:' .. offer.consumer, offer.execution) == 0 then return nil end
  local head = redis.call('LRANGE', P .. ':exec-runs:' .. offer.execution, -1, -1)[1] or offer.execution
  local r = load(head)
  return r and r[F.status] == S.pending and r[F.worker] == offer.consumer and head or nil
end
