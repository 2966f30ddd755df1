package retry_test

import (
	"fmt"
	"net/url"

	"github.com/seawall-go/seawall/retry"
)

func ExampleOrigin() {
	u, err := url.Parse("https://API.Example.com/v1/resources?limit=10")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(retry.Origin(u))
	// Output: https://api.example.com:443
}
