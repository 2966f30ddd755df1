package service_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
)

// A scenario reports whether a promise is broken with a server of this config.
type scenario func(t *testing.T, c service.Config) (broken bool)

// failedThenRetried is a run that a failpoint ends after its effect, and a retry, which may have
// an effect again.
func failedThenRetried(w history.Window, a history.Action, retries time.Duration) func(history.Way) scenario {
	return func(way history.Way) scenario {
		return func(t *testing.T, c service.Config) bool {
			t.Helper()
			f := open(t, c)
			require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: w, Action: a, Way: way}))
			f.send(way, "k", 5)
			return f.soon(retries, func() bool {
				f.send(way, "k", 5)
				return len(f.effects(way, "k")) > 1
			})
		}
	}
}

// soon reports whether something holds within a time. It is for what must not happen, too.
func (f *fixture) soon(d time.Duration, holds func() bool) bool {
	for end := time.Now().Add(d); ; {
		if holds() {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// replacement returns a server without a bug beside another one.
func replacement(t *testing.T, c service.Config) *fixture {
	t.Helper()
	c.Bug, c.Name = "", c.Name+"-2"
	return open(t, c)
}

// pausedBeside is a run that pauses after its effect, and a duplicate at another server.
func pausedBeside(buggyDuplicate bool) func(history.Way) scenario {
	return func(way history.Way) scenario {
		return func(t *testing.T, c service.Config) bool {
			t.Helper()
			first, second := open(t, c), replacement(t, c)
			if buggyDuplicate {
				first, second = second, first
			}
			require.Equal(t, http.StatusNoContent, first.arm(service.Arm{Window: history.AfterEffect, Action: history.Pause, Way: way}))
			done := make(chan bool)
			go func() {
				defer close(done)
				first.send(way, "k", 5)
			}()
			require.Eventually(t, func() bool { return len(first.history().Hits) == 1 }, patience, 10*time.Millisecond)
			for {
				second.send(way, "k", 5)
				select {
				case <-done:
					return len(first.effects(way, "k")) > 1
				case <-time.After(50 * time.Millisecond):
				}
			}
		}
	}
}

// stoppedBeside is a process that is stopped after its effect, replaced, and continued. It is
// broken if the two answers differ.
func stoppedBeside(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		p := launch(t, c)
		c.Provider = p.config.Provider
		other := replacement(t, c)
		require.Equal(t, http.StatusNoContent, p.arm(service.Arm{Window: history.AfterEffect, Action: history.Stop, Way: way}))
		stopped := make(chan answer, 1)
		go func() { stopped <- p.send(way, "k", 5) }()
		require.Eventually(t, func() bool { return len(p.history().Hits) == 1 }, patience, 10*time.Millisecond)
		second := other.until(http.StatusCreated, func() answer { return other.send(way, "k", 5) })
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
		first := <-stopped
		require.Equal(t, http.StatusCreated, first.status)
		return first.raw != second.raw
	}
}

// killedAfterReply is a process that dies when the client has its answer.
func killedAfterReply(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		p := launch(t, c)
		c.Provider = p.config.Provider
		other := replacement(t, c)
		require.Equal(t, http.StatusNoContent, p.arm(service.Arm{Window: history.AfterReply, Action: history.Kill, Way: way}))
		p.send(way, "k", 5)
		require.Error(t, p.cmd.Wait())
		other.until(http.StatusCreated, func() answer { return other.send(way, "k", 5) })
		return len(other.effects(way, "k")) > 1
	}
}

// keptForLong is a retry after more than the lease.
func keptForLong(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		f := open(t, c)
		f.write(way, "k", 5)
		return f.soon(2*service.Lease, func() bool {
			a := f.send(way, "k", 5)
			return a.status == http.StatusCreated && !a.replayed
		})
	}
}

func lostClaim(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		f := open(t, c)
		require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: history.AfterClaim, Action: history.Lose, Way: way}))
		return f.send(way, "k", 5).status == http.StatusTooManyRequests
	}
}

func otherAmount(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		f := open(t, c)
		f.write(way, "k", 5)
		return f.send(way, "k", 6).status == http.StatusCreated
	}
}

func otherPrincipal(way history.Way) scenario {
	return func(t *testing.T, c service.Config) bool {
		t.Helper()
		f := open(t, c)
		f.write(way, "k", 5)
		return post(t.Context(), f.url+"/w/"+string(way), `{"amount": 5}`, "bob", "k").body.Key == "alice/k"
	}
}

var scenarios = map[string]func(history.Way) scenario{
	"blind finish":                      stoppedBeside,
	"late finish accepted":              stoppedBeside,
	"lease as retention":                keptForLong,
	"reply before record":               killedAfterReply,
	"lease not renewed":                 pausedBeside(false),
	"running ignored":                   pausedBeside(true),
	"own token refused":                 lostClaim,
	"body not compared":                 otherAmount,
	"shared keys":                       otherPrincipal,
	"mark not stored":                   failedThenRetried(history.AfterEffect, history.Fail, 0),
	"mark after effect":                 failedThenRetried(history.AfterEffect, history.Fail, 0),
	"unknown is released":               failedThenRetried(history.AfterEffect, history.Fail, 0),
	"derived key of the attempt":        failedThenRetried(history.AfterEffect, history.Fail, 0),
	"sweep without a look":              failedThenRetried(history.AfterEffect, history.Fail, 2*service.Lease),
	"effect outside of the transaction": failedThenRetried(history.AfterEffect, history.Fail, 0),
	"commit repeated":                   failedThenRetried(history.AfterCommit, history.Lose, 0),
	"record outside of the transaction": failedThenRetried(history.AfterCommit, history.Lose, 0),
}

func TestBugBreaksAPromiseThatTheServiceKeepsWithoutIt(t *testing.T) {
	t.Parallel()
	for _, bug := range service.Bugs() {
		t.Run(bug.Name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, scenarios, bug.Name)
			require.NotEmpty(t, bug.What)
			broken := scenarios[bug.Name](bug.Way)
			c := start(t, bug.Store)
			require.False(t, broken(t, c), "without the bug")
			c = start(t, bug.Store)
			c.Bug = bug.Name
			require.True(t, broken(t, c), "with the bug")
		})
	}
}
