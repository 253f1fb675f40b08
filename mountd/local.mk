# mountd
