-- One entry of the `events` stream for whoever watches, and a ring on the channel that watchers listen to.
local function event(kind, task, run, execution, data)
  redis.call('XADD', P .. ':events', 'MAXLEN', '~', 10000, '*',
    'type', kind, 'task', task, 'run', run, 'execution', execution, 'data', data or '')
  redis.call('PUBLISH', P .. ':channel:events', '')
end
