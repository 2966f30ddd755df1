package redisstore_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// BenchmarkRenew renews the leases of 1,000 running records. By default, a lease of 30 seconds is
// renewed every 10 seconds, so 1,000 runs need 100 renewals per second.
func BenchmarkRenew(b *testing.B) {
	s := redisstore.New(client(b, redistest.Start(b).Addr), nil)
	owners := make([]idempotent.Owner, 1000)
	for i := range owners {
		owners[i] = begun(b, s).Owner()
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Renew(b.Context(), owners[next.Add(1)%1000], lease); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRun is what a request costs that runs: Acquire and Finish with a response of 1 KiB. It
// reports the memory that Redis needs for a running and for a finished record.
func BenchmarkRun(b *testing.B) {
	server := redistest.Start(b)
	s := redisstore.New(client(b, server.Addr), nil)
	end := done(string(make([]byte, 1024)))
	b.ReportAllocs()
	for b.Loop() {
		c := newClaim()
		if _, err := s.Acquire(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		if err := s.Finish(b.Context(), c.Owner(), end); err != nil {
			b.Fatal(err)
		}
	}
	usage := func(c idempotent.Claim) float64 {
		n, err := strconv.Atoi(do(b, server, "MEMORY", "USAGE", "idempotent:"+c.ID.String(), "SAMPLES", "0"))
		require.NoError(b, err)
		return float64(n)
	}
	c := begun(b, s)
	b.ReportMetric(usage(c), "B/running")
	require.NoError(b, s.Finish(b.Context(), c.Owner(), end))
	b.ReportMetric(usage(c)-1024, "B/finished-response")
}

// BenchmarkReplay is what a replay costs: one Acquire that returns a response of 1 KiB.
func BenchmarkReplay(b *testing.B) {
	s := redisstore.New(client(b, redistest.Start(b).Addr), nil)
	c := begun(b, s)
	require.NoError(b, s.Finish(b.Context(), c.Owner(), done(string(make([]byte, 1024)))))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Acquire(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListUnknown walks through 10,000 records of which one is unknown.
func BenchmarkListUnknown(b *testing.B) {
	s := redisstore.New(client(b, redistest.Start(b).Addr), nil)
	for range 10_000 {
		begun(b, s)
	}
	unknownRecord(b, s)
	for b.Loop() {
		list, err := s.ListUnknown(b.Context(), idempotent.ID{}, 0)
		if err != nil || len(list) != 1 {
			b.Fatal(len(list), err)
		}
	}
}
