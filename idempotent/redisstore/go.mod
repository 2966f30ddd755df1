module github.com/seawall-go/seawall/idempotent/redisstore

go 1.26.0

replace github.com/seawall-go/seawall => ../..
