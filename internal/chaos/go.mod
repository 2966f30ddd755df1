module github.com/seawall-go/seawall/internal/chaos

go 1.26.0

require (
	github.com/redis/go-redis/v9 v9.23.0
	github.com/seawall-go/seawall v0.0.0
	github.com/seawall-go/seawall/ratelimit/redislimit v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/sony/gobreaker/v2 v2.4.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace (
	github.com/seawall-go/seawall => ../..
	github.com/seawall-go/seawall/idempotent/pgstore => ../../idempotent/pgstore
	github.com/seawall-go/seawall/idempotent/redisstore => ../../idempotent/redisstore
	github.com/seawall-go/seawall/idempotent/sqlstore => ../../idempotent/sqlstore
	github.com/seawall-go/seawall/ratelimit/redislimit => ../../ratelimit/redislimit
)
