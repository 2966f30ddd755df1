module github.com/seawall-go/seawall/tests/clienttest

go 1.26.0

require (
	github.com/seawall-go/seawall v0.0.0
	github.com/seawall-go/seawall/examples/docsapi v0.0.0
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

replace (
	github.com/seawall-go/seawall => ../..
	github.com/seawall-go/seawall/examples/docsapi => ../../examples/docsapi
	github.com/seawall-go/seawall/idempotent/redisstore => ../../idempotent/redisstore
	github.com/seawall-go/seawall/idempotent/sqlstore => ../../idempotent/sqlstore
	github.com/seawall-go/seawall/ratelimit/redislimit => ../../ratelimit/redislimit
)
