package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seawall-go/seawall/ratelimit"
)

// A Memory also works without HTTP, for example in a job that sends mail.
func ExampleMemory_Take() {
	limiter := ratelimit.NewMemory(nil)
	for range 3 {
		d, err := limiter.Take(context.Background(), ratelimit.Charge{
			Rule:  "mail",
			Key:   "account:acct_1",
			Limit: ratelimit.PerHour(2),
			Cost:  1,
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter.Round(time.Minute))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 30m0s
}

// TakeAll charges two buckets. If one of them denies its charge, neither is charged.
func ExampleMemory_TakeAll() {
	limiter := ratelimit.NewMemory(nil)
	charges := []ratelimit.Charge{
		{Rule: "account", Key: "acct_1", Limit: ratelimit.PerHour(100), Cost: 60},
		{Rule: "service", Limit: ratelimit.PerHour(100), Cost: 60},
	}
	decisions := make([]ratelimit.Decision, len(charges))
	for _, account := range []string{"acct_1", "acct_2"} {
		charges[0].Key = account
		if err := limiter.TakeAll(context.Background(), charges, decisions); err != nil {
			fmt.Println(err)
			return
		}
		for i, d := range decisions {
			fmt.Println(charges[i].Rule, d.Allowed, d.Remaining)
		}
	}
	// Output:
	// account true 40
	// service true 40
	// account true 100
	// service false 40
}

// With RefuseWhenFull, a full Memory refuses new keys instead of evicting a bucket.
func ExampleMemoryOptions() {
	limiter := ratelimit.NewMemory(&ratelimit.MemoryOptions{
		MaxKeys:        2,
		RefuseWhenFull: true,
	})
	for _, key := range []string{"a", "b", "c", "a"} {
		d, err := limiter.Take(context.Background(), ratelimit.Charge{
			Rule: "login", Key: key, Limit: ratelimit.PerHour(5), Cost: 1,
		})
		fmt.Println(key, d.Allowed, errors.Is(err, ratelimit.ErrFull))
	}
	fmt.Printf("%+v\n", limiter.Stats())
	// Output:
	// a true false
	// b true false
	// c false true
	// a true false
	// {Keys:2 Evicted:0 Refused:1}
}
