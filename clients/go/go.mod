module tollgate

go 1.19
