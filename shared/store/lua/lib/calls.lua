-- For what cannot be told from the state that it left: a call that comes again, because its answer was lost, is
-- answered as it was the first time. `answer:<call>` expires after two minutes, which is longer than anybody repeats a
-- call.
-- uses: clock
local function answer_before(call) return redis.call('GET', P .. ':answer:' .. call) end

local function keep_answer(call, answer) redis.call('SET', P .. ':answer:' .. call, answer, 'PX', 120000) end
