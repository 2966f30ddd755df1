package brownout

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// An upstream is the server of an arm.
type upstream struct {
	plan plan
	jobs chan job
	log  *os.File
}

type job struct {
	at   int64 // when it arrived
	done chan struct{}
}

// upstream serves until the process ends.
func (c config) upstream() error {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", c.Addr)
	if err != nil {
		return err
	}
	p, err := awaitPlan()
	if err != nil {
		return err
	}
	u := &upstream{plan: p, jobs: make(chan job, queue), log: log}
	for range workers {
		go u.work()
	}
	return (&http.Server{Handler: u, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// work processes requests, one at a time. It counts from when the last one should have ended, so
// that an upstream on a machine that wakes it late has the same capacity.
func (u *upstream) work() {
	var free int64
	for j := range u.jobs {
		begin := max(free, j.at)
		takes := int64(service)
		if u.plan.Slow && begin >= u.plan.From && begin < u.plan.To {
			takes *= slowdown
		}
		free = begin + takes
		sleepUntil(free)
		close(j.done)
	}
}

// ServeHTTP queues the request, and waits until it is processed, even if its client has gone. A
// request is logged when it arrives, so that no end of the process loses it.
func (u *upstream) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	j := job{history.Now(), make(chan struct{})}
	waiting := len(u.jobs)
	select {
	case u.jobs <- j:
		u.arrived(j.at, waiting)
		<-j.done
	default:
		u.arrived(j.at, waiting)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// arrived logs a request with one system call. Without its log, a run proves nothing.
func (u *upstream) arrived(at int64, waiting int) {
	if _, err := fmt.Fprintf(u.log, "%d %d\n", at, waiting); err != nil {
		panic(err)
	}
}
