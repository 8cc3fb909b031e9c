-- wrk --script load.lua URL -- PATH TOKENS
-- Sends GET PATH with one of the tokens after the other, one a line in the file TOKENS; an empty line is no token.

local requests = {}
local count = 0
local position = 0

function init(arguments)
  for token in io.lines(arguments[2]) do
    local headers = {["accept"] = "application/json", ["user-agent"] = "wrk"}
    if token ~= "" then
      headers["authorization"] = "Bearer " .. token
    end
    count = count + 1
    requests[count] = wrk.format("GET", arguments[1], headers)
  end
  -- Whoever asks for a moment only begins elsewhere each time.
  math.randomseed(os.time())
  position = math.random(count)
end

function request()
  position = position % count + 1
  return requests[position]
end
