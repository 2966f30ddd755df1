package chaos_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
)

func TestSeedDecidesTheSchedule(t *testing.T) {
	t.Parallel()
	for _, total := range []time.Duration{time.Minute, 17 * time.Minute, time.Hour} {
		all := schedule(7, total)
		require.Equal(t, all, schedule(7, total))
		require.NotEqual(t, all, schedule(8, total))
		var sum time.Duration
		episodes := make(map[string]int)
		for _, e := range all {
			sum += e.lasts
			episodes[e.store]++
			require.Less(t, e.lasts, 2*longest)
			require.GreaterOrEqual(t, e.servers, 3)
			require.LessOrEqual(t, e.servers, 4)
		}
		require.InDelta(t, total, sum, float64(len(all))) // nanoseconds
		require.Len(t, episodes, 6)
		for store, n := range episodes {
			require.Equal(t, len(all)/6, n, store)
		}
	}
}

func TestRarestFailpointComesFirst(t *testing.T) {
	t.Parallel()
	arm := func(w history.Window, way history.Way) service.Arm {
		return service.Arm{Window: w, Action: history.Kill, Way: way}
	}
	claim, claimTx := arm(history.AfterClaim, history.Plain), arm(history.AfterClaim, history.FinishTx)
	mark, commit := arm(history.AfterMark, history.BeginEffect), arm(history.AfterCommit, history.FinishTx)
	deck := []service.Arm{claim, claimTx, mark, commit}
	for _, c := range []struct {
		name string
		hits map[service.Arm]int
		want service.Arm
	}{
		{"nothing was hit", nil, claim},
		{"never in its way", map[service.Arm]int{claim: 9, mark: 1, commit: 1}, claimTx},
		{"least in all ways", map[service.Arm]int{claim: 2, claimTx: 2, mark: 3, commit: 5}, mark},
		{"least in its way", map[service.Arm]int{claim: 4, claimTx: 1, mark: 5, commit: 5}, claimTx},
		{"also other stores' ways", map[service.Arm]int{claim: 1, claimTx: 1, mark: 1, commit: 2, arm(history.AfterMark, history.BeginEffectTx): 9}, claim},
	} {
		require.Equal(t, c.want, rarest(deck, c.hits), c.name)
	}
}

// A log has what a process has recorded, and its failures.
type log struct {
	mu      sync.Mutex
	periods []history.Period
	errs    []error
}

func (l *log) get() ([]history.Period, []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.periods, l.errs
}

// startProvider starts a process. Its lives after the given one do not start.
func startProvider(t *testing.T, last int) (*process, *log) {
	t.Helper()
	l, dir, addr := new(log), t.TempDir(), freeAddr(t)
	n := &nemesis{
		record: func(e history.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.periods = append(l.periods, *e.Period)
		},
		fail: func(err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.errs = append(l.errs, err)
		},
	}
	return newProcess(t, n, "p0", roleService, func(life int) string {
		if life > last {
			return "not a Config"
		}
		return service.Config{Role: "provider", Name: "p0", Dir: dir, Addr: addr}.String()
	}), l
}

// ends waits for the end of the last life.
func ends(t *testing.T, p *process) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
}

func TestKilledProcessLivesAgain(t *testing.T) {
	t.Parallel()
	p, l := startProvider(t, 100)
	p.strike(syscall.SIGKILL)
	require.Eventually(t, func() bool { return p.incarnation() == "p0.2" && p.isUp() }, patience, time.Millisecond)
	p.end()
	periods, errs := l.get()
	require.Empty(t, errs)
	require.Len(t, periods, 1, "the end of the episode is no fault")
	require.Equal(t, "p0.1", periods[0].Target)
	require.Equal(t, "kill", periods[0].Kind)
	require.Greater(t, periods[0].To, periods[0].From)
}

func TestStruckProcessIsStopped(t *testing.T) {
	t.Parallel()
	p, l := startProvider(t, 1)
	p.strike(syscall.SIGSTOP)
	require.True(t, p.isStopped())
	p.signal(syscall.SIGCONT)
	p.end()
	_, errs := l.get()
	require.Empty(t, errs)
}

func TestProcessThatEndsByItselfFailsTheEpisode(t *testing.T) {
	t.Parallel()
	p, l := startProvider(t, 100)
	require.NoError(t, p.stdin.Close()) // its parent seems to be gone
	require.Eventually(t, func() bool {
		_, errs := l.get()
		return len(errs) == 1
	}, patience, time.Millisecond)
	p.end()
	_, errs := l.get()
	require.ErrorContains(t, errs[0], "p0.1 has ended by itself")
}

func TestProcessThatDoesNotStartAgainFailsTheEpisode(t *testing.T) {
	t.Parallel()
	p, l := startProvider(t, 1)
	p.strike(syscall.SIGKILL)
	ends(t, p)
	require.False(t, p.isUp())
	_, errs := l.get()
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "p0 does not start")
}
