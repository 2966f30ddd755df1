package ratelimit_test

import (
	"math"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// shedder holds requests in a Shed until end is called.
type shedder struct {
	t     *testing.T
	h     http.Handler
	until chan struct{}
}

func newShedder(t *testing.T, capacity int, o *ratelimit.ShedOptions) *shedder {
	s := &shedder{t: t, until: make(chan struct{})}
	class := func(r *http.Request) ratelimit.Class {
		n, err := strconv.Atoi(r.Header.Get("X-Class"))
		require.NoError(t, err)
		return ratelimit.Class(n)
	}
	s.h = ratelimit.Shed(capacity, class, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-s.until
		ok(w, r)
	}))
	return s
}

// admits sends a request, which stays if it is admitted, and reports whether it was.
func (s *shedder) admits(c ratelimit.Class) bool {
	refused := make(chan int, 1)
	go func() {
		w := serve(s.h, request("X-Class", strconv.Itoa(int(c))))
		if w.Code != http.StatusOK {
			require.Equal(s.t, http.StatusServiceUnavailable, w.Code)
			require.Equal(s.t, "1", w.Header().Get("Retry-After"))
			require.Contains(s.t, w.Body.String(), `"code":"service_unavailable"`)
		}
		refused <- w.Code
	}()
	synctest.Wait()
	select {
	case <-refused:
		return false
	default:
		return true
	}
}

// fill sends requests of a class until one is refused, and returns how many were admitted.
func (s *shedder) fill(c ratelimit.Class) (n int) {
	for s.admits(c) {
		n++
	}
	return n
}

func (s *shedder) end(n int) {
	for range n {
		s.until <- struct{}{}
	}
	synctest.Wait()
}

func TestShedRefusesTheLowestClassFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, 100, nil)
		require.Equal(t, 60, s.fill(ratelimit.ClassLow))
		require.Equal(t, 20, s.fill(ratelimit.ClassNormal))
		require.Equal(t, 10, s.fill(ratelimit.ClassHigh))
		require.Equal(t, 10, s.fill(ratelimit.ClassCritical))
		for c := ratelimit.ClassLow; c <= ratelimit.ClassCritical; c++ {
			require.False(t, s.admits(c))
		}
		s.end(100)
		require.True(t, s.admits(ratelimit.ClassLow))
		s.end(1)
	})
}

func TestShedHasHysteresis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, 100, nil)
		require.Equal(t, 80, s.fill(ratelimit.ClassNormal))
		s.end(9) // 71 run
		require.False(t, s.admits(ratelimit.ClassNormal))
		s.end(1)
		require.True(t, s.admits(ratelimit.ClassNormal))
		require.Equal(t, 9, s.fill(ratelimit.ClassNormal))

		require.False(t, s.admits(ratelimit.ClassLow))
		s.end(29) // 51
		require.False(t, s.admits(ratelimit.ClassLow))
		s.end(1)
		require.True(t, s.admits(ratelimit.ClassLow))

		require.Equal(t, 49, s.fill(ratelimit.ClassCritical))
		s.end(1)
		require.True(t, s.admits(ratelimit.ClassCritical), "ClassCritical has no hysteresis")
		s.end(100)
	})
}

func TestShedWithoutAReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, 100, &ratelimit.ShedOptions{Reserve: -1, Hysteresis: -1})
		require.Equal(t, 75, s.fill(ratelimit.ClassLow))
		require.Equal(t, 25, s.fill(ratelimit.ClassNormal))
		require.False(t, s.admits(ratelimit.ClassCritical))
		s.end(1)
		require.True(t, s.admits(ratelimit.ClassNormal))
		s.end(100)
	})
}

func TestShedShares(t *testing.T) {
	t.Parallel()
	classes := [3]ratelimit.Class{ratelimit.ClassLow, ratelimit.ClassNormal, ratelimit.ClassHigh}
	for _, row := range []struct {
		options ratelimit.ShedOptions
		stop    [3]int // requests of the class that are admitted before it is refused
		resume  [3]int // requests that still run when it is admitted again
	}{
		{ratelimit.ShedOptions{}, [3]int{60, 80, 90}, [3]int{50, 70, 80}},
		{ratelimit.ShedOptions{Reserve: 0.5}, [3]int{37, 50, 75}, [3]int{27, 40, 65}},
		{ratelimit.ShedOptions{Reserve: 0.04}, [3]int{72, 96, 98}, [3]int{62, 86, 88}},
		{ratelimit.ShedOptions{Reserve: -1}, [3]int{75, 100, 100}, [3]int{65, 90, 90}},
		{ratelimit.ShedOptions{Hysteresis: 0.5}, [3]int{60, 80, 90}, [3]int{10, 30, 40}},
		{ratelimit.ShedOptions{Hysteresis: 0.02}, [3]int{60, 80, 90}, [3]int{58, 78, 88}},
		{ratelimit.ShedOptions{Hysteresis: -1}, [3]int{60, 80, 90}, [3]int{59, 79, 89}},
		{ratelimit.ShedOptions{Hysteresis: 0.99}, [3]int{60, 80, 90}, [3]int{0, 0, 0}},
		{ratelimit.ShedOptions{Reserve: 0.5, Hysteresis: 0.25}, [3]int{37, 50, 75}, [3]int{12, 25, 50}},
	} {
		for i, class := range classes {
			synctest.Test(t, func(t *testing.T) {
				s := newShedder(t, 100, &row.options)
				running := s.fill(class)
				require.Equal(t, row.stop[i], running, "%+v, class %d", row.options, class)
				for !s.admits(class) {
					s.end(1)
					running--
				}
				require.Equal(t, row.resume[i], running, "%+v, class %d", row.options, class)
				s.end(running + 1)
			})
		}
	}
}

func TestShedNeverPrefersALowerClass(t *testing.T) {
	t.Parallel()
	for _, capacity := range []int{1, 2, 3, 7, 100} {
		for _, o := range []*ratelimit.ShedOptions{nil, {Reserve: -1, Hysteresis: -1}, {Reserve: 0.99, Hysteresis: 0.99}, {Reserve: 0.5}} {
			synctest.Test(t, func(t *testing.T) {
				s := newShedder(t, capacity, o)
				running := 0
				for i := range 60 {
					below := false
					for c := ratelimit.ClassLow; c <= ratelimit.ClassCritical; c++ {
						admitted := s.admits(c)
						if admitted {
							s.end(1)
						}
						require.False(t, below && !admitted, "class %d is refused, and the one below is not", c)
						below = admitted
					}
					if i%3 != 2 && s.admits(ratelimit.Class(i%4)-1) {
						running++
					} else if running > 0 {
						s.end(1)
						running--
					}
					require.LessOrEqual(t, running, capacity)
				}
				s.end(running)
			})
		}
	}
}

// The largest int is a way to turn shedding off.
func TestShedOfTheLargestCapacityRefusesNothing(t *testing.T) {
	t.Parallel()
	for _, o := range []*ratelimit.ShedOptions{nil, {Reserve: -1, Hysteresis: -1}, {Reserve: 0.5, Hysteresis: 0.9}} {
		synctest.Test(t, func(t *testing.T) {
			s := newShedder(t, math.MaxInt, o)
			for range 10 {
				for c := ratelimit.ClassLow; c <= ratelimit.ClassCritical; c++ {
					require.True(t, s.admits(c), "class %d of %+v", c, o)
				}
			}
			s.end(40)
		})
	}
}

func TestShedClampsUnknownClasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShedder(t, 100, nil)
		require.Equal(t, 60, s.fill(-100))
		require.Equal(t, 40, s.fill(100))
		s.end(100)
	})
}

func TestShedSkip(t *testing.T) {
	t.Parallel()
	h := ratelimit.Shed(1, nil, &ratelimit.ShedOptions{
		RetryAfter: 3 * time.Second,
		Skip:       func(r *http.Request) bool { return r.URL.Path == "/health" },
	})
	var inner http.Handler
	outer := h(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))
	inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner = ok
		ok(w, r)
		refused := get(outer, "")
		require.Equal(t, 503, refused.Code)
		require.Equal(t, "3", refused.Header().Get("Retry-After"))
		health := request()
		health.URL.Path = "/health"
		require.Equal(t, 200, serve(outer, health).Code)
	})
	require.Equal(t, 200, get(outer, "").Code)
}
