-- Prints the counts of wrk as one line of JSON. With the arguments
--
--   unique FIELD       every request has another value of that field
--   ports FIELD PORTS  requests have one of the values PORTS (2,3,5) of that field, in turn

local MARK = "{count}"

local function have_unique(field)
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

local function have_ports(field, ports)
   local heads = {}
   for port in ports:gmatch("%d+") do
      wrk.headers[field] = port
      heads[#heads + 1] = wrk.format()
   end
   local count = 0
   request = function()
      count = count % #heads + 1
      return heads[count]
   end
end

function init(args)
   if args[1] == "unique" then
      have_unique(args[2])
   elseif args[1] == "ports" then
      have_ports(args[2], args[3])
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
