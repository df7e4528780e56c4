-- Prints the counts of wrk as one line of JSON. With the name of a header field as its argument, it
-- gives that field another value in every request.

local MARK = "{count}"

function init(args)
   local field = args[1]
   if not field then
      return
   end
   wrk.headers[field] = (wrk.headers[field] or "") .. MARK
   local head = wrk.format()
   local from, to = head:find(MARK, 1, true)
   local before, after = head:sub(1, from - 1), head:sub(to + 1)
   -- Two runs have no head in common either.
   local count, run = 1000000000, os.time() .. "-"
   request = function()
      count = count + 1
      return before .. run .. count .. after
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"count": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "longest": %d, ' ..
      '"failed_connects": %d, "failed_reads": %d, "failed_writes": %d, ' ..
      '"timeouts": %d, "bad_statuses": %d}\n',
      summary.requests, summary.duration, summary.bytes,
      latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
