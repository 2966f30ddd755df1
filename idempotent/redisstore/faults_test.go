package redisstore_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// The server executes a call, and its reply is lost. The call is then an error, and a repeated call
// with the same token finds out what happened.
func TestLostReplyIsFoundOutByRepeatingTheCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	direct, s := redisstore.New(client(t, server.Addr), nil), redisstore.New(client(t, proxy.Addr), nil)
	warm := begun(t, direct)
	require.NoError(t, direct.Finish(t.Context(), warm.Owner(), done(""))) // so that Wait returns
	for _, call := range calls(direct, warm) {                             // loads the scripts
		_ = call(t.Context())
	}
	begun(t, s) // connects

	c, id := newClaim(), unknownRecord(t, direct)
	lose := func(id idempotent.ID, call func() error) map[string]string {
		t.Helper()
		dropped := proxy.DropReply(id.String())
		err := call()
		require.Error(t, err)
		require.NotErrorIs(t, err, idempotent.ErrLost)
		require.NotErrorIs(t, err, idempotent.ErrNotUnknown)
		<-dropped
		return fields(t, server, id)
	}

	record := lose(c.ID, func() error { _, err := s.Acquire(t.Context(), c); return err })
	require.Equal(t, "running", record["state"])
	require.Equal(t, c.Token.String(), record["token"])
	require.Equal(t, 1, wantVerdict(t, s, c, idempotent.VerdictAcquired).Attempt)

	record = lose(c.ID, func() error { return s.BeginEffect(t.Context(), c.Owner()) })
	require.Equal(t, "1", record["effect"])
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))

	record = lose(c.ID, func() error { return s.Finish(t.Context(), c.Owner(), done("response")) })
	require.Equal(t, "done", record["state"])
	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
	require.Equal(t, "response", string(wantVerdict(t, s, rival(c), idempotent.VerdictDone).Response))

	// Resolve has no token, so a client library must not repeat it: it would return ErrNotUnknown,
	// as if nothing had changed.
	record = lose(id, func() error { return s.Resolve(t.Context(), id, done("response")) })
	require.Equal(t, "done", record["state"])
}

// service is the handler of a service with effects, behind the middleware.
type service struct {
	http.Handler
	effects atomic.Int64
	run     func() // during the handler
}

func newService(s idempotent.Store, o idempotent.Options) *service {
	v := &service{}
	o.Logger = slog.New(slog.DiscardHandler)
	v.Handler = idempotent.New(s, idempotent.Global, &o)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		v.effects.Add(1)
		if v.run != nil {
			v.run()
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("charged"))
	}))
	return v
}

// The middleware repeats calls whose reply was lost. The handler does not run again.
func TestLostReplyCausesNoSecondEffect(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{"Acquire": "\r\n86400000000\r\n", "Finish": "\r\ndone\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			proxy := redistest.NewProxy(t, server.Addr)
			v := newService(redisstore.New(client(t, proxy.Addr), nil), idempotent.Options{})
			require.Equal(t, http.StatusCreated, post(t, v, "first", "").Code) // loads the scripts

			dropped := proxy.DropReply(lost)
			w := post(t, v, "key", "")
			<-dropped
			require.Equal(t, http.StatusCreated, w.Code)
			require.Empty(t, w.Header().Get("Idempotent-Replayed"))
			require.EqualValues(t, 2, v.effects.Load())
			w = post(t, v, "key", "")
			require.Equal(t, "charged", w.Body.String())
			require.Equal(t, "true", w.Header().Get("Idempotent-Replayed"))
			require.EqualValues(t, 2, v.effects.Load())
		})
	}
}

// With appendfsync always, a server that was killed still has all that it has confirmed.
func TestRestartKeepsRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	s := redisstore.New(client(t, server.Addr), nil)
	running, finished := begun(t, s), begun(t, s)
	open := unknownRecord(t, s)
	require.NoError(t, s.Finish(t.Context(), finished.Owner(), done("response")))
	server.Kill()
	_, err := s.Acquire(t.Context(), newClaim())
	require.Error(t, err)
	require.NoError(t, server.Run())

	eventually(t, func() bool { _, err := s.Acquire(t.Context(), rival(running)); return err == nil }, "a connection")
	wantVerdict(t, s, rival(running), idempotent.VerdictRunning)
	require.Equal(t, "response", string(wantVerdict(t, s, rival(finished), idempotent.VerdictDone).Response))
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, open, list[0].ID)
	require.NoError(t, s.Finish(t.Context(), running.Owner(), done("late")))
	require.Equal(t, "late", string(wantVerdict(t, s, rival(running), idempotent.VerdictDone).Response))
}

// The server restarts while a handler runs: the handler's end is recorded in the new one.
func TestRestartDuringARun(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	v := newService(redisstore.New(client(t, server.Addr), nil), idempotent.Options{StoreTimeout: 5 * time.Second})
	v.run = func() {
		server.Kill()
		if err := server.Run(); err != nil {
			t.Error(err)
		}
	}
	require.Equal(t, http.StatusCreated, post(t, v, "key", "").Code)
	w := post(t, v, "key", "")
	require.Equal(t, "charged", w.Body.String())
	require.Equal(t, "true", w.Header().Get("Idempotent-Replayed"))
	require.EqualValues(t, 1, v.effects.Load())
}

// A server that writes nothing to disk has forgotten everything.
func TestRestartWithoutPersistenceMakesEveryKeyNew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	server.Kill()
	require.NoError(t, server.Run())
	eventually(t, func() bool { return s.Renew(t.Context(), c.Owner(), lease) != nil }, "an answer")
	eventually(t, func() bool {
		return errors.Is(s.Renew(t.Context(), c.Owner(), lease), idempotent.ErrLost)
	}, "ErrLost")
	require.Equal(t, 1, wantVerdict(t, s, rival(c), idempotent.VerdictAcquired).Attempt)
}

func TestFlushedScriptCacheIsInvisible(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	for _, step := range []func() error{
		func() error { return s.Renew(t.Context(), c.Owner(), lease) },
		func() error { return s.BeginEffect(t.Context(), c.Owner()) },
		func() error { return s.Finish(t.Context(), c.Owner(), unknown) },
		func() error { return s.Resolve(t.Context(), c.ID, done("response")) },
		func() error { return s.Wait(t.Context(), c.ID) },
	} {
		do(t, server, "SCRIPT", "FLUSH")
		require.NoError(t, step())
	}
	do(t, server, "SCRIPT", "FLUSH")
	require.Equal(t, "response", string(wantVerdict(t, s, rival(c), idempotent.VerdictDone).Response))
}

// calls are the operations of a store on a record.
func calls(s *redisstore.Store, c idempotent.Claim) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Acquire":     func(ctx context.Context) error { _, err := s.Acquire(ctx, c); return err },
		"Renew":       func(ctx context.Context) error { return s.Renew(ctx, c.Owner(), lease) },
		"BeginEffect": func(ctx context.Context) error { return s.BeginEffect(ctx, c.Owner()) },
		"Finish":      func(ctx context.Context) error { return s.Finish(ctx, c.Owner(), done("response")) },
		"Resolve":     func(ctx context.Context) error { return s.Resolve(ctx, c.ID, done("response")) },
		"Wait":        func(ctx context.Context) error { return s.Wait(ctx, c.ID) },
		"ListUnknown": func(ctx context.Context) error { _, err := s.ListUnknown(ctx, idempotent.ID{}, 0); return err },
	}
}

// A server that is paused answers nothing, and go-redis would wait forever here. The calls return
// when their context ends.
func TestCallsReturnWhenTheirContextEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, connected := range []bool{true, false} {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: -1, DialTimeout: time.Hour})
		t.Cleanup(func() { _ = rdb.Close() })
		s := redisstore.New(rdb, nil)
		c := newClaim()
		if connected {
			wantVerdict(t, s, c, idempotent.VerdictAcquired)
		}
		server.Pause()
		t.Cleanup(server.Resume)
		for op, call := range calls(s, c) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			returned := make(chan error, 2)
			go func() {
				returned <- call(ctx)
				returned <- call(ctx) // returns without a call
			}()
			require.ErrorIs(t, receive(t, returned), context.DeadlineExceeded, op)
			require.ErrorIs(t, receive(t, returned), context.DeadlineExceeded, op)
			cancel()
		}
		server.Resume()
		eventually(t, func() bool { _, err := s.Acquire(t.Context(), rival(c)); return err == nil }, "an answer")
	}
}

// A full Redis refuses new records and large responses, and nothing else.
func TestFullRedisRefusesOnlyWhatNeedsRoom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	clock := newMovedClock(client(t, server.Addr))
	s := redisstore.NewRunner(clock, nil)
	running, finished, abandoned := begun(t, s), begun(t, s), begun(t, s)
	require.NoError(t, s.Finish(t.Context(), finished.Owner(), done("response")))
	ids := []idempotent.ID{unknownRecord(t, s), unknownRecord(t, s), unknownRecord(t, s)}
	ends := []idempotent.Claim{begun(t, s), begun(t, s), begun(t, s)}
	clock.advance(lease / 2)
	for _, c := range append(ends, running) {
		require.NoError(t, s.Renew(t.Context(), c.Owner(), lease))
	}
	clock.advance(lease/2 + time.Second) // the lease of the abandoned one is over
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "maxmemory", "1"))

	refused := newClaim()
	_, err := s.Acquire(t.Context(), refused)
	require.ErrorIs(t, err, idempotent.ErrFull)
	require.Equal(t, "0", do(t, server, "EXISTS", "idempotent:"+refused.ID.String()))
	require.ErrorIs(t, s.Finish(t.Context(), running.Owner(), done("response")), idempotent.ErrFull)
	require.ErrorIs(t, s.Resolve(t.Context(), ids[0], done("response")), idempotent.ErrFull)

	wantVerdict(t, s, running, idempotent.VerdictAcquired)
	wantVerdict(t, s, rival(running), idempotent.VerdictRunning)
	require.Equal(t, "response", string(wantVerdict(t, s, rival(finished), idempotent.VerdictDone).Response))
	require.Equal(t, 2, wantVerdict(t, s, rival(abandoned), idempotent.VerdictAcquired).Attempt) // a takeover
	require.ErrorIs(t, s.Renew(t.Context(), abandoned.Owner(), lease), idempotent.ErrLost)
	require.NoError(t, s.Renew(t.Context(), running.Owner(), lease))
	require.NoError(t, s.BeginEffect(t.Context(), running.Owner()))
	require.NoError(t, s.BeginEffect(t.Context(), ends[1].Owner()))
	for i, end := range []idempotent.Completion{notKept, unknown, released} {
		require.NoError(t, s.Finish(t.Context(), ends[i].Owner(), end), end.State.String())
	}
	wantVerdict(t, s, rival(ends[0]), idempotent.VerdictNotKept)
	wantVerdict(t, s, rival(ends[1]), idempotent.VerdictUnknown)
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.NoError(t, s.Resolve(t.Context(), ids[1], notKept))
	require.NoError(t, s.Resolve(t.Context(), ids[2], released))
	require.NoError(t, s.Wait(t.Context(), ids[1]))

	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "maxmemory", "0"))
	require.NoError(t, s.Finish(t.Context(), running.Owner(), done("response")))
	require.NoError(t, s.Resolve(t.Context(), ids[0], done("response")))
	wantVerdict(t, s, refused, idempotent.VerdictAcquired)
}

// The middleware records that the handler ran when there is no room for its response.
func TestFullRedisThroughTheMiddleware(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	v := newService(redisstore.New(client(t, server.Addr), nil), idempotent.Options{})
	v.run = func() {
		_, err := server.Do("CONFIG", "SET", "maxmemory", "1")
		if err != nil {
			t.Error(err)
		}
	}
	require.Equal(t, http.StatusCreated, post(t, v, "key", "").Code)
	w := post(t, v, "key", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "idempotency_response_unavailable")
	require.Equal(t, http.StatusServiceUnavailable, post(t, v, "key-2", "").Code)
	require.EqualValues(t, 1, v.effects.Load())
}

// A replica answers, but accepts no writes. Its errors are errors, and nothing is lost.
func TestReadOnlyReplica(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "repl-diskless-sync-delay 0")
	s := redisstore.New(client(t, master.Addr), nil)
	running, finished := begun(t, s), begun(t, s)
	require.NoError(t, s.Finish(t.Context(), finished.Owner(), done("response")))
	host, port, err := net.SplitHostPort(master.Addr)
	require.NoError(t, err)
	replica := redistest.Start(t, "replicaof "+host+" "+port)
	eventually(t, func() bool { return do(t, replica, "DBSIZE") == "2" }, "the replication")

	onReplica := redisstore.New(client(t, replica.Addr), nil)
	wantVerdict(t, onReplica, rival(running), idempotent.VerdictRunning)
	require.Equal(t, "response", string(wantVerdict(t, onReplica, rival(finished), idempotent.VerdictDone).Response))
	_, err = onReplica.Acquire(t.Context(), newClaim())
	for op, err := range map[string]error{
		"Acquire":     err,
		"Renew":       onReplica.Renew(t.Context(), running.Owner(), lease),
		"BeginEffect": onReplica.BeginEffect(t.Context(), running.Owner()),
		"Finish":      onReplica.Finish(t.Context(), running.Owner(), done("response")),
		"release":     onReplica.Finish(t.Context(), running.Owner(), released),
	} {
		var answer redis.Error
		require.ErrorAs(t, err, &answer, op)
		require.ErrorContains(t, err, "READONLY", op)
	}
	require.NoError(t, s.Finish(t.Context(), running.Owner(), done("response")))
}

// With min-replicas-to-write, a master without its replicas accepts no writes. It refuses each
// script before its first write, so no step is done by half.
func TestMasterThatLacksItsReplicas(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	before := fields(t, server, c.ID)
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "min-replicas-to-write", "1"))
	_, err := s.Acquire(t.Context(), newClaim())
	for op, err := range map[string]error{
		"Acquire":         err,
		"Renew":           s.Renew(t.Context(), c.Owner(), lease),
		"BeginEffect":     s.BeginEffect(t.Context(), c.Owner()),
		"Finish done":     s.Finish(t.Context(), c.Owner(), done("response")),
		"Finish not kept": s.Finish(t.Context(), c.Owner(), notKept),
		"Finish released": s.Finish(t.Context(), c.Owner(), released),
	} {
		require.ErrorContains(t, err, "NOREPLICAS", op)
	}
	require.Equal(t, before, fields(t, server, c.ID))
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "min-replicas-to-write", "0"))
	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
}

// Replication is asynchronous. What a master has confirmed, but not yet passed on, is lost with it.
func TestFailoverLosesWhatWasNotReplicated(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "repl-diskless-sync-delay 0")
	link := redistest.NewProxy(t, master.Addr)
	host, port, err := net.SplitHostPort(link.Addr)
	require.NoError(t, err)
	replica := redistest.Start(t, "replicaof "+host+" "+port)
	s := redisstore.New(client(t, master.Addr), nil)
	early := begun(t, s)
	eventually(t, func() bool { return do(t, replica, "DBSIZE") == "1" }, "the replication")
	link.SetDown(true)
	late := begun(t, s)
	require.NoError(t, s.Finish(t.Context(), early.Owner(), done("response")))
	master.Kill()
	do(t, replica, "REPLICAOF", "NO", "ONE")

	s = redisstore.New(client(t, replica.Addr), nil)
	wantVerdict(t, s, rival(early), idempotent.VerdictRunning)
	require.Equal(t, 1, wantVerdict(t, s, rival(late), idempotent.VerdictAcquired).Attempt)
}

// What was replicated survives the loss of a master of a Cluster.
func TestClusterFailsOver(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 1, "repl-diskless-sync-delay 0")
	s := redisstore.New(cluster(t, servers), nil)
	var running, finished []idempotent.Claim
	var open []idempotent.ID
	for range 20 {
		running, finished, open = append(running, begun(t, s)), append(finished, begun(t, s)), append(open, unknownRecord(t, s))
		require.NoError(t, s.Finish(t.Context(), finished[len(finished)-1].Owner(), done("response")))
	}
	victim := redistest.Owner(t, servers, "idempotent:"+running[0].ID.String())
	eventually(t, func() bool { return replicated(t, victim) }, "the replication")
	victim.Kill()

	eventually(t, func() bool {
		_, err := s.Acquire(t.Context(), rival(running[0]))
		return err == nil
	}, "the failover")
	for _, server := range servers {
		if server != victim {
			eventually(t, func() bool { return strings.Contains(do(t, server, "CLUSTER", "INFO"), "cluster_state:ok") }, "the failover on all servers")
		}
	}
	for i := range running {
		wantVerdict(t, s, rival(running[i]), idempotent.VerdictRunning)
		require.Equal(t, "response", string(wantVerdict(t, s, rival(finished[i]), idempotent.VerdictDone).Response))
		require.NoError(t, s.Resolve(t.Context(), open[i], released))
		require.NoError(t, s.Finish(t.Context(), running[i].Owner(), done("late")))
	}
}

// A Cluster that lacks a master refuses everything. Nothing is lost on the others.
func TestClusterThatIsDown(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	s := redisstore.New(cluster(t, servers), nil)
	c := begun(t, s)
	owner := redistest.Owner(t, servers, "idempotent:"+c.ID.String())
	victim := servers[0]
	if owner == victim {
		victim = servers[1]
	}
	victim.Kill()
	var err error
	eventually(t, func() bool { err = s.Renew(t.Context(), c.Owner(), lease); return err != nil }, "an error")
	require.ErrorContains(t, err, "CLUSTERDOWN")
	for op, call := range calls(s, c) {
		err := call(t.Context())
		require.Error(t, err, op)
		require.NotErrorIs(t, err, idempotent.ErrLost, op)
	}
	require.NoError(t, victim.Run())
	eventually(t, func() bool { return s.Renew(t.Context(), c.Owner(), lease) == nil }, "the cluster")
	wantVerdict(t, s, rival(c), idempotent.VerdictRunning)
	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
}

// A server that still reads its data from disk answers with an error.
func TestServerThatIsLoading(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	for range 400 { // Redis answers once in 1,024 commands that it loads, and each of these is 4
		begun(t, s)
	}
	require.Equal(t, "OK", do(t, server, "CONFIG", "SET", "key-load-delay", "500")) // microseconds
	reloaded := make(chan error, 1)
	go func() {
		_, err := server.Do("DEBUG", "LOADAOF")
		reloaded <- err
	}()
	var err error
	eventually(t, func() bool { err = s.Renew(t.Context(), c.Owner(), lease); return err != nil }, "an error")
	require.ErrorContains(t, err, "LOADING")
	eventually(t, func() bool { return s.Renew(t.Context(), c.Owner(), lease) == nil }, "the end of the loading")
	wantVerdict(t, s, rival(c), idempotent.VerdictRunning)
	require.NoError(t, <-reloaded)
}

// replicated reports whether the replicas of a master have all that it has.
func replicated(t testing.TB, master *redistest.Server) bool {
	t.Helper()
	var offset, replica string
	for line := range strings.Lines(do(t, master, "INFO", "replication")) {
		if v, ok := strings.CutPrefix(line, "master_repl_offset:"); ok {
			offset = strings.TrimSpace(v)
		}
		if _, v, ok := strings.Cut(line, ",offset="); ok && strings.HasPrefix(line, "slave0:") {
			replica, _, _ = strings.Cut(v, ",")
		}
	}
	return replica != "" && replica == offset
}

// The rights that doc.go names suffice. Without the right to publish, nothing but the hint is lost.
func TestPermissions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	addUser(t, server, "app", "&idempotent:*")
	addUser(t, server, "mute")
	for _, user := range []string{"app", "mute"} {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: user, Password: "secret"})
		t.Cleanup(func() { _ = rdb.Close() })
		useAll(t, redisstore.New(rdb, nil), func() bool {
			n, _ := subscriptions(t, server)
			return n == 1 || user == "mute"
		})
	}
	require.NotContains(t, do(t, server, "ACL", "LOG"), "username\napp")
}

func TestPermissionsOnACluster(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t, 3, 0)
	for _, server := range servers {
		addUser(t, server, "app", "&idempotent:*", "+cluster|slots")
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}, Username: "app", Password: "secret"})
	t.Cleanup(func() { _ = rdb.Close() })
	s := redisstore.New(rdb, nil)
	for range 10 {
		useAll(t, s, func() bool {
			sum := 0
			for _, server := range servers {
				n, _ := subscriptions(t, server)
				sum += n
			}
			return sum == 1
		})
	}
}

// addUser adds a user with the rights that doc.go names, except for channels, and with more.
func addUser(t testing.TB, s *redistest.Server, name string, more ...string) {
	t.Helper()
	rights := strings.Fields("resetchannels on >secret ~idempotent:* -@all +eval +evalsha +exists +hmget +hget +hset +hdel +del" +
		" +pexpire +time +publish +subscribe +unsubscribe +ping +info +scan")
	require.Equal(t, "OK", do(t, s, slices.Concat([]string{"ACL", "SETUSER", name}, rights, more)...))
}

// useAll calls all operations of a store. subscribed reports whether Wait has subscribed.
func useAll(t testing.TB, s *redisstore.Store, subscribed func() bool) {
	t.Helper()
	c := begun(t, s)
	require.NoError(t, s.Renew(t.Context(), c.Owner(), lease))
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
	returned := waiting(t.Context(), s, c.ID)
	eventually(t, subscribed, "a subscription")
	require.NoError(t, s.Finish(t.Context(), c.Owner(), unknown))
	require.NoError(t, receive(t, returned))
	list, err := s.ListUnknown(t.Context(), idempotent.ID{}, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, s.Resolve(t.Context(), c.ID, released))
}

// badHook is a hook of go-redis that panics.
type badHook struct{}

func (badHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { panic("a hook") }
}

func (badHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (badHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestPanicOfAHookIsAnError(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(badHook{})
	err := redisstore.New(client, nil).Renew(t.Context(), idempotent.Owner{}, time.Second)
	require.ErrorContains(t, err, "the client panicked: a hook")
}

func TestNilPanics(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "redisstore: New with a nil client", func() { redisstore.New(nil, nil) })
	require.PanicsWithValue(t, "redisstore: NewRunner with a nil Runner", func() { redisstore.NewRunner(nil, nil) })
}
