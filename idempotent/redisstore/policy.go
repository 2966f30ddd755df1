package redisstore

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// checkPolicy looks once, in the background, whether the server of a record may evict records. All
// keys have a time to live, so every policy but noeviction can choose running ones.
func (s *Store) checkPolicy(ctx context.Context, id idempotent.ID) {
	if s.checked.Swap(true) {
		return
	}
	go func() {
		defer func() { _ = recover() }() // a logger that panics must not end the process
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		reply, err := s.runner.Run(ctx, memoryScript, []string{s.key(id)}, nil)
		if err != nil {
			return // INFO may be forbidden
		}
		info, _ := reply.(string)
		limit, policy := infoField(info, "maxmemory"), infoField(info, "maxmemory_policy")
		if limit == "" || limit == "0" || policy == "" || policy == "noeviction" {
			return
		}
		cmp.Or(s.logger, slog.Default()).LogAttrs(ctx, slog.LevelWarn,
			"redisstore: Redis may evict running records, and a write can then happen twice: set maxmemory-policy to noeviction",
			slog.String("maxmemory_policy", policy), slog.String("maxmemory", limit))
	}()
}

// infoField returns the value of a field of an INFO reply. It is empty if there is none.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
