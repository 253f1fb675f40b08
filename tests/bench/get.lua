-- wrk: GETs of so many objects in turn. Arguments: the path they begin with, their number.
local path, number, n = "", 1, 0

function init(args)
    path, number = args[1], tonumber(args[2])
end

function request()
    n = (n + 1) % number
    return wrk.format(nil, path .. n)
end
