module github.com/seawall-go/seawall/internal/benchmarks

go 1.26.0

require (
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/hashicorp/go-retryablehttp v0.7.8
	github.com/seawall-go/seawall v0.0.0
	github.com/stretchr/testify v1.12.1
)

require github.com/hashicorp/go-cleanhttp v0.5.2 // indirect

replace github.com/seawall-go/seawall => ../..
