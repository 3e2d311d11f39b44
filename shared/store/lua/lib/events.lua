-- Adds one entry to the stream `events`, and publishes to the channel of its readers. By `pcall`, as every write that
-- no run depends on: an overwritten key must not stop a script half-way, because Redis rolls nothing back.
-- uses: clock
local function event(kind, task, run, execution, data)
  redis.pcall('XADD', P .. ':events', 'MAXLEN', '~', 10000, '*',
    'type', kind, 'task', task, 'run', run, 'execution', execution, 'data', data or '')
  redis.call('PUBLISH', P .. ':channel:events', '')
end
