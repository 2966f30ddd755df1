package idempotenttest_test

import (
	"testing"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/idempotenttest"
	"github.com/seawall-go/seawall/internal/idemtest"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestReferenceStoreConforms(t *testing.T) {
	t.Parallel()
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := new(idemtest.Clock)
		return idemtest.NewReference(clock.Now), clock.Advance
	})
}

func TestStoreWithPollerConforms(t *testing.T) {
	t.Parallel()
	idempotenttest.Run(t, func(*testing.T) (idempotent.Store, func(time.Duration)) {
		clock := new(idemtest.Clock)
		return idemtest.NewPolled(clock.Now, 10*time.Millisecond), clock.Advance
	})
}

func TestBoundedStoreConforms(t *testing.T) {
	t.Parallel()
	runFull(t, "")
}
