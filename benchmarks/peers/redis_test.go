package peers_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/redistest"
)

// callers is how many goroutines use Redis at the same time.
const callers = 64

// connect returns a client with a connection for each caller, so that no side waits for one. It
// heeds the deadlines of contexts, as docs/REDIS.md recommends.
func connect(tb testing.TB, server *redistest.Server) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: callers, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// redisSide is one way to do the job of a row with Redis. prepare gets an empty server.
type redisSide struct {
	name    string
	prepare func(b *testing.B, client *redis.Client) (run func(*testing.B))
}

// compareOnRedis runs the sides on the same server, one after the other, as compare does.
func compareOnRedis(b *testing.B, sides []redisSide) {
	server := redistest.Start(b)
	if os.Getenv("BENCH_REVERSE") != "" {
		slices.Reverse(sides)
	}
	for _, s := range sides {
		client := connect(b, server)
		require.NoError(b, client.FlushAll(b.Context()).Err())
		run := s.prepare(b, client)
		b.Run(s.name, func(b *testing.B) {
			before, processor := statistics(b, client), processorTime()
			b.ReportAllocs()
			b.ResetTimer()
			run(b)
			b.StopTimer()
			b.ReportMetric(float64(processorTime()-processor)/float64(b.N), "cpu-ns/op")
			statistics(b, client).report(b, before)
		})
	}
}

// usage is what a server has done since it started.
type usage struct{ processor, reads float64 }

func (u usage) report(b *testing.B, before usage) {
	b.ReportMetric((u.processor-before.processor)*1e9/float64(b.N), "server-ns/op")
	b.ReportMetric((u.reads-before.reads-1)/float64(b.N), "trips/op") // one read is ours
}

// statistics asks the server for its processor time, in seconds, and for how many times it has
// read from a connection. A command or a pipeline that was sent in one piece is read once.
func statistics(tb testing.TB, client *redis.Client) usage {
	info, err := client.Info(context.Background(), "cpu", "stats").Result()
	require.NoError(tb, err)
	field := func(name string) float64 {
		_, after, _ := strings.Cut(info, "\n"+name+":")
		value, _, _ := strings.Cut(after, "\r")
		return must(strconv.ParseFloat(value, 64))
	}
	return usage{field("used_cpu_user") + field("used_cpu_sys"), field("total_reads_processed")}
}
