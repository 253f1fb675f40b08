-- wrk: PUTs of new objects. Arguments: the path they begin with, bytes of each.
local path, n = "", 0

function init(args)
    path = args[1]
    wrk.method = "PUT"
    wrk.body = string.rep("x", tonumber(args[2]))
end

function request()
    n = n + 1
    return wrk.format(nil, path .. n)
end
