module github.com/seawall-go/seawall/idempotent/sqlstore

go 1.26.0

require github.com/seawall-go/seawall v0.0.0

replace github.com/seawall-go/seawall => ../..
