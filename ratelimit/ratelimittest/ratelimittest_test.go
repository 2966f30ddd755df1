package ratelimittest_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/ratelimittest"
)

// faults are the faults that Run must find in the limiter of these tests.
var faults = []string{
	"a peek takes", "a denial takes", "a cost over the burst is taken", "a negative cost gives", "nothing comes back", "more than the burst comes back",
	"Retry-After is rounded down", "Retry-After is rounded up twice", "rule and key run together", "a new plan fills the bucket",
	"a new plan empties the bucket", "a denial keeps the old plan", "a denial of several takes", "only the first of several counts", "two concurrent calls take the same units",
	"a peek creates a bucket", "a cost over the burst creates a bucket", "a bucket is forgotten when it is full by its last plan", "a denial does not extend a bucket's life",
	"a denial is remembered for every plan", "a denial of several keeps the old plan", "a denial of several gives", "several are taken one by one",
	"a cost is cut to 32 bits", "a key is cut to 255 bytes", "spaces at the end of a key are cut", "into may be too long",
	"an error holds the key", "a denial of several loses fractions", "one bucket twice with two costs", "the clock ticks every millisecond",
	"the clock is kept in 14 digits", "integers overflow",
	"a debt is not charged", "a debt is cut to an empty bucket", "a refund in debt is lost", "a refund creates a bucket",
	"an adjustment by 0 creates a bucket", "an adjustment changes the plan", "an adjustment is cut to the burst", "an adjustment rewinds the clock",
	"an adjustment loses fractions", "an adjustment of any size", "an adjustment of any limit", "one of two concurrent adjustments is lost",
	"a debt does not extend a bucket's life", "an error of an adjustment holds the key", "a reset does nothing", "a reset empties the bucket",
	"a reset is of all keys of the rule", "a reset creates a bucket", "a name may have two limits", "a name may be used once",
}

const (
	envFault = "RATELIMITTEST_FAULT"
	none     = "none"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestRunFindsEachFault(t *testing.T) {
	t.Parallel()
	for _, fault := range append([]string{none}, faults...) {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			if fault == "a cost is cut to 32 bits" && strconv.IntSize == 32 {
				t.Skip("an int has 32 bits")
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestFaultyLimiter$", "-test.timeout=1m", "-test.failfast")
			cmd.Env = append(os.Environ(), envFault+"="+fault)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if found := errors.As(err, &exit); found != (fault != none) {
				t.Errorf("found a fault: %v, %v\n%s", found, err, out)
			}
		})
	}
}

func TestFaultyLimiter(t *testing.T) {
	t.Parallel()
	fault := os.Getenv(envFault)
	if fault == "" {
		fault = none
	}
	ratelimittest.Run(t, func(*testing.T) (ratelimit.Limiter, func(time.Duration)) {
		l := &exact{fault: fault, buckets: map[[2]string]bucket{}, denied: map[[2]string]time.Duration{}}
		if fault == "several are taken one by one" {
			return oneByOne{l}, l.advance
		}
		return l, l.advance
	})
}
