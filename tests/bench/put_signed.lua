-- wrk: PUTs with the heads that are in a file, each ended by NUL, and each once. Arguments: the file, bytes of each body.
local heads, body, at = "", "", 1

function init(args)
    local file = assert(io.open(args[1], "rb"))
    heads = file:read("*a")
    file:close()
    body = string.rep("x", tonumber(args[2]))
end

function request()
    local last = assert(string.find(heads, "\0", at, true), "the file has too few requests")
    local head = string.sub(heads, at, last - 1)
    at = last + 1
    return head .. body
end
