-- Script for wrk: sends the bodies of a file (one per line) in turn and prints the result as one line of JSON.
-- Arguments: the file, and the strategy that every reply must name.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   requests, place, unwanted = {}, 0, 0
   wanted = '"strategy":"' .. args[2] .. '"'
   for body in io.lines(args[1]) do
      table.insert(requests, wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body))
   end
end

function request()
   place = place % #requests + 1
   return requests[place]
end

function response(status, headers, body)
   if status ~= 200 or not body:find(wanted, 1, true) then
      unwanted = unwanted + 1
   end
end

function done(summary, latency)
   local unwanted = 0
   for _, thread in ipairs(threads) do
      unwanted = unwanted + thread:get("unwanted")
   end
   local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   io.write(string.format(
      '{"per_s": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "answers": %d, "unwanted": %d, "broken": %d}\n',
      summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      summary.requests, unwanted, broken))
end
