-- Answers of calls whose repeat cannot be recognised by the state that the first one left: a call that is repeated
-- because its answer was lost gets the first answer. `answer:<call>` expires after two minutes, longer than any client
-- repeats a call.
-- uses: clock
local function answer_before(call) return redis.call('GET', P .. ':answer:' .. call) end

local function keep_answer(call, answer) redis.call('SET', P .. ':answer:' .. call, answer, 'PX', 120000) end
