package service_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// isDeadly reports whether the action ends or stops the process.
func isDeadly(a history.Action) bool { return a == history.Kill || a == history.Stop }

// armsOf returns the arms that a test in one process tries with a store. The ways that charge are
// the same with every store that has leases. A pause with SQLite's lock stops all others.
func armsOf(store string) (list []service.Arm) {
	ways := charging
	if store == stores.PostgreSQL || store == stores.SQLite {
		ways = transactional
	}
	for _, way := range ways {
		for _, a := range service.Failpoints(way) {
			slow := a.Action == history.Pause || a.Action == history.Overrun
			if !isDeadly(a.Action) && a.Suits(store) && (store != stores.SQLite || !slow) {
				list = append(list, a)
			}
		}
	}
	return list
}

// hits reports whether the arm has hit a key.
func hits(h *history.History, a service.Arm, key string) bool {
	return slices.ContainsFunc(h.Hits, func(h history.Hit) bool {
		return h.Key == "alice/"+key && h.Way == a.Way && h.Window == a.Window && h.Action == a.Action && h.At > 0
	})
}

func TestEveryFailpointOfARunCanBeReached(t *testing.T) {
	t.Parallel()
	for _, store := range allStores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c := start(t, store)
			c.Provider = serve(t, service.Config{Role: "provider", Name: "provider", Dir: c.Dir})
			arms := armsOf(store)
			work := make(chan service.Arm, len(arms))
			for _, a := range arms {
				work <- a
			}
			close(work)
			workers := 16 // many pause
			if store == stores.SQLite {
				workers = 1
			}
			var wg sync.WaitGroup
			for i := range workers {
				c := c
				c.Name = fmt.Sprintf("s%d.1", i)
				f := open(t, c)
				wg.Go(func() {
					for a := range work {
						if status := f.arm(a); status != http.StatusNoContent {
							t.Errorf("%+v: %d", a, status)
						}
						f.sendUntilHit(a.Way, keyFor(a))
					}
				})
			}
			wg.Wait()
			h := (&fixture{t, c, ""}).history()
			for _, a := range arms {
				require.True(t, hits(h, a, keyFor(a)), "%+v", a)
			}
			require.Len(t, h.Hits, len(arms))
		})
	}
}

// keyFor returns a key for an arm.
func keyFor(a service.Arm) string {
	return strings.ReplaceAll(fmt.Sprintf("%s-%s-%s", a.Way, a.Window, a.Action), " ", "-")
}

func TestDeadlyFailpointEndsTheProcess(t *testing.T) {
	t.Parallel()
	for _, store := range []string{stores.Redis, stores.PostgreSQL} {
		c := start(t, store)
		c.Provider = serve(t, service.Config{Role: "provider", Name: "provider", Dir: c.Dir})
		for i, way := range waysOf(store) {
			for j, a := range service.Failpoints(way) {
				if a.Action != history.Kill || store == stores.PostgreSQL && !way.Transactional() {
					continue
				}
				t.Run(fmt.Sprintf("%s %s %s", store, way, a.Window), func(t *testing.T) {
					t.Parallel()
					c := c
					c.Name = fmt.Sprintf("s%d.%d", i, j)
					p := launch(t, c)
					require.Equal(t, http.StatusNoContent, p.arm(a))
					p.send(way, keyFor(a), 5)
					require.Error(t, p.cmd.Wait())
					require.Equal(t, syscall.SIGKILL, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
					require.True(t, hits(p.history(), a, keyFor(a)))
				})
			}
		}
	}
}
