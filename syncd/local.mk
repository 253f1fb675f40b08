# syncd
