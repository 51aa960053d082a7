-- What wrk sends for scripts/bench, and how it reports.
--
-- BENCH_AUTHORIZATIONS: a file with an Authorization header a line. They take turns. An empty line alone: none.
-- BENCH_DELAY_MS: the mean time between an answer and the next request of its connection; none when absent.
-- BENCH_ONCE: each line is sent once, and the report comes when each has its answer.
-- BENCH_REFUSED: the answers with 401 are counted.
-- BENCH_KEEP: a file that gets the access token of every answer, a line each.
-- BENCH_TOKENS: such a file. Its tokens stand for {token} in the body, each in one request; when there are no more, the
-- report says so.
local ffi = require("ffi")
ffi.cdef("typedef struct { long s, ns; } jeton_time; int clock_gettime(int clock, jeton_time *time);")

local authorizations = {}
for line in io.lines(os.getenv("BENCH_AUTHORIZATIONS")) do
    authorizations[#authorizations + 1] = line
end
local delay_ms = tonumber(os.getenv("BENCH_DELAY_MS") or "")
local once = os.getenv("BENCH_ONCE")

wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
if authorizations[1] ~= "" then wrk.headers["Authorization"] = authorizations[1] end

local function microseconds()
    local now = ffi.new("jeton_time")
    ffi.C.clock_gettime(1, now) -- CLOCK_MONOTONIC
    return tonumber(now.s) * 1e6 + tonumber(now.ns) / 1e3
end

local began
if #authorizations > 1 then
    local requests, turn = {}, -1 -- wrk takes one to look at before it starts
    function init()
        for place, authorization in ipairs(authorizations) do
            wrk.headers["Authorization"] = authorization
            requests[place] = wrk.format()
        end
    end

    function request()
        turn = turn + 1
        if turn == 1 then began = microseconds() end
        return requests[(turn - 1) % #requests + 1]
    end
end

exhausted = 0
local tokens = os.getenv("BENCH_TOKENS")
if tokens then
    local next_token, body = io.lines(tokens), wrk.body
    wrk.body = body:gsub("{token}", "") -- for the one to look at
    function request()
        local token = next_token()
        if not token then
            exhausted = 1
            next_token = io.lines(tokens)
            token = next_token()
        end
        return wrk.format(nil, nil, nil, (body:gsub("{token}", token)))
    end
end

if once then
    local sent = 0
    function delay()
        sent = sent + 1
        return sent <= #authorizations and 0 or 1e9
    end
elseif delay_ms then
    -- Spread widely: connections that one batch of the ledger answers together shall not stay together.
    function delay()
        return math.floor(2 * delay_ms * math.random() + math.random())
    end
end

refused = 0
if once or os.getenv("BENCH_REFUSED") then
    local answers, other = 0, 0
    function response(status)
        answers = answers + 1
        if status == 401 then refused = refused + 1 end
        if status ~= 200 then other = other + 1 end
        if once and answers == #authorizations then
            io.write(string.format('\nRESULT {"answers":%d,"us":%d,"non_2xx":%d,"broken":0}\n',
                answers, microseconds() - began, other))
            io.flush()
        end
    end
end

local keep = os.getenv("BENCH_KEEP")
if keep then
    local kept = io.open(keep, "w")
    function response(_, _, body)
        kept:write(body:match('"access_token":"([^"]+)"'), "\n")
    end
end

local threads = {}
function setup(thread)
    threads[1] = thread
end

function done(summary, latency)
    local errors = summary.errors
    if once then return end
    io.write(string.format(
        '\nRESULT {"answers":%d,"us":%d,"p50":%d,"p99":%d,"non_2xx":%d,"refused":%d,"exhausted":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, threads[1]:get("refused"), threads[1]:get("exhausted"), errors.connect + errors.read + errors.write + errors.timeout))
end
