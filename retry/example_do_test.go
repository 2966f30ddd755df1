package retry_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seawall-go/seawall/retry"
)

// Do retries work that is not one HTTP request.
func ExampleDo() {
	attempts := 0
	balance, err := retry.Do(context.Background(), nil, func(context.Context) (int, error) {
		attempts++
		if attempts < 2 {
			return 0, errors.New("deadlock detected")
		}
		return 42, nil
	})
	fmt.Println(balance, err, "after", attempts, "attempts")
	// Output: 42 <nil> after 2 attempts
}

// Permanent marks an error that another attempt would not change.
func ExamplePermanent() {
	_, err := retry.Do(context.Background(), nil, func(context.Context) (int, error) {
		return 0, retry.Permanent(errors.New("no such account"))
	})
	fmt.Println(err)
	// Output: retry: told-not-to (attempt 1): no such account
}
