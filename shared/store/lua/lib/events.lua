-- One entry of the `events` stream for whoever watches, and a ring on the channel that watchers listen to. By `pcall`,
-- as every write that no run depends on: a key that somebody else wrote to must not stop a script half-way, of which
-- Redis would roll nothing back.
-- uses: clock
local function event(kind, task, run, execution, data)
  redis.pcall('XADD', P .. ':events', 'MAXLEN', '~', 10000, '*',
    'type', kind, 'task', task, 'run', run, 'execution', execution, 'data', data or '')
  redis.call('PUBLISH', P .. ':channel:events', '')
end
