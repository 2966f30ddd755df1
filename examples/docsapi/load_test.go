package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

var loadFor = flag.Duration("load", time.Minute, "put load on the server for this long")

// The load, per second. The ordinary clients and the attackers have the same API key, and together
// stay below its limit.
const (
	limitPerKey   = 200
	ordinaryPace  = 110
	attackPace    = 50
	floodPace     = 2 // of twice the limit each
	ordinaryCount = 6
	attackerCount = 3
)

// A server is used and attacked at the same time. Every answer is the one that its client should
// get, and afterward nothing is left: no memory, no goroutine, no unexplained line in the log.
func TestServerWithstandsOrdinaryAndHostileClients(t *testing.T) {
	t.Parallel()
	const growth = 128 << 10 // bytes; 1 KiB for each request would be many times as much
	server := docsapitest.Start(t, "-faults", "-timeout", "5s", "-rate", strconv.Itoa(limitPerKey))
	l := &load{T: t, target: newTarget(t, server.URL, false), server: server, audit: logAudit{unasked: make(map[string]string)}}
	l.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * ordinaryCount}}
	t.Cleanup(l.client.CloseIdleConnections)

	for _, h := range hostileRequests() {
		if h.code != apierror.CodeTimeout && !strings.Contains(h.send, docsapitest.KeyReadOnly) { // others do this
			l.attacks = append(l.attacks, h)
		}
	}
	l.idle = l.measure().Goroutines
	l.run(*loadFor / 4) // fills caches
	before, answered := l.measure(), l.total()
	l.run(*loadFor - *loadFor/4)
	after := l.measure()
	l.Logf("memory: %+v, and after %d answers %+v", before, l.total()-answered, after)
	require.LessOrEqual(t, after.HeapBytes, before.HeapBytes+growth, "the server's memory grows")
	require.Positive(t, l.answers[http.StatusTooManyRequests].Load(), "no flood has exceeded the limit")
	l.drain()
	l.audit.read(server.TakeLog())
	require.NoError(t, l.audit.check())
	l.logf()
}

// load is a server under load.
type load struct {
	*testing.T
	target
	server  *docsapitest.Server
	client  *http.Client
	attacks []hostile
	ctx     context.Context // ends with the load
	names   atomic.Int64
	failed  atomic.Int64
	answers [600]atomic.Int64 // by status; 0 is a closed connection
	idle    int               // goroutines before the load
	audit   logAudit
}

// run runs all clients for a time, and reads the log of the server.
func (l *load) run(d time.Duration) {
	ctx, stop := context.WithTimeout(l.Context(), d)
	defer stop()
	l.ctx = ctx
	ordinary, attacks, floods := time.NewTicker(time.Second/ordinaryPace), time.NewTicker(time.Second/attackPace), time.NewTicker(time.Second/floodPace)
	logs := time.NewTicker(100 * time.Millisecond)
	var clients sync.WaitGroup
	repeat := func(count int, pace *time.Ticker, f func() error) {
		for range count {
			clients.Go(func() {
				for l.turn(pace) && l.failed.Load() < 20 {
					if err := f(); err != nil && !errors.Is(err, errOver) {
						l.failed.Add(1)
						l.Error(err)
					}
				}
			})
		}
	}
	repeat(ordinaryCount, nil, (&life{l, ordinary}).live)
	repeat(attackerCount, attacks, l.attackAtRandom)
	repeat(1, attacks, l.leave)
	repeat(1, attacks, l.pipelineGarbage)
	repeat(3, nil, l.sendSlowHeader)
	repeat(2, nil, l.sendSlowBody)
	repeat(10, nil, l.sendNothing)
	repeat(1, nil, l.waitForTimeout)
	repeat(2, floods, l.flood)
	for l.turn(logs) {
		l.audit.read(l.server.TakeLog())
	}
	clients.Wait()
	l.client.CloseIdleConnections()
}

// turn waits for the next turn of a client. It returns false if the time is over.
func (l *load) turn(pace *time.Ticker) bool {
	if pace != nil {
		select {
		case <-pace.C:
		case <-l.ctx.Done():
		}
	}
	return l.ctx.Err() == nil
}

// errOver means that the time for the load is over.
var errOver = errors.New("the time is over")

// life is an ordinary client.
type life struct {
	*load
	pace *time.Ticker
}

// call sends an ordinary request. Its answer must have a status.
func (l *life) call(want int, method, path, key, body string) (answer, error) {
	if !l.turn(l.pace) {
		return answer{}, errOver
	}
	return l.callNow(want, method, path, key, body)
}

func (l *load) callNow(want int, method, path, key, body string) (answer, error) {
	a, err := do(context.Background(), l.client, method, "http://"+l.host+path, docsapitest.KeyDemo, body, "Idempotency-Key", key)
	l.answers[a.status].Add(1)
	if err == nil && a.status >= 400 {
		_, err = checkError(a, false)
	} else if err == nil {
		err = checkIDs(a)
	}
	if err == nil && a.status != want {
		err = fmt.Errorf("the status should be %d", want)
	}
	if err != nil {
		err = fmt.Errorf("%s %s %s: %w: %d %v %s", method, path, key, err, a.status, a.header, a.body)
	}
	return a, err
}

// live creates a resource, reads and changes it in every ordinary way, and deletes it.
func (l *life) live() error {
	name := fmt.Sprint("life-", l.names.Add(1))
	key := func(suffix string) string {
		if rand.IntN(3) == 0 {
			return "" // a client without keys
		}
		return name + suffix
	}
	body := fmt.Sprintf(`{"name":%q,"metadata":{"color":"blue"}}`, name)
	created, err := l.create(name, body)
	if err != nil {
		return err
	}
	var r resource
	if err := json.Unmarshal([]byte(created.body), &r); err != nil {
		return err
	}
	one := "/v1/resources/" + r.ID
	for _, step := range []struct {
		want                    int
		method, path, key, body string
		answer                  string // if empty, any
	}{
		{200, "GET", one, "", "", created.body},
		{409, "POST", "/v1/resources", name, `{"name":"other"}`, ""},
		{201, "POST", "/v1/resources", name, body, created.body},
		{200, "PATCH", one, key("-patch"), `{"metadata":{"color":"red"}}`, strings.Replace(created.body, "blue", "red", 1)},
		{400, "PATCH", one, key("-bad"), `{"name":7}`, ""},
		{200, "GET", "/v1/resources?limit=100", "", "", ""},
		{200, "GET", one, "", "", strings.Replace(created.body, "blue", "red", 1)},
		{200, "DELETE", one, key("-delete"), "", fmt.Sprintf("{\"id\":%q,\"deleted\":true}\n", r.ID)},
		{404, "DELETE", one, key("-again"), "", ""},
		{404, "GET", one, "", "", ""},
		{201, "POST", "/v1/resources", name, body, created.body}, // still the same replay
	} {
		a, err := l.call(step.want, step.method, step.path, step.key, step.body)
		if err != nil {
			return err
		}
		if step.answer != "" && step.answer != a.body {
			return fmt.Errorf("%s %s: the answer is %s and not %s", step.method, step.path, a.body, step.answer)
		}
	}
	return nil
}

// create creates a resource. It sends the request twice at the same time.
func (l *life) create(key, body string) (answer, error) {
	var (
		both    [2]answer
		errs    [2]error
		sending sync.WaitGroup
	)
	for i := range both {
		if !l.turn(l.pace) {
			sending.Wait()
			return answer{}, errOver
		}
		sending.Go(func() { both[i], errs[i] = l.callNow(http.StatusCreated, "POST", "/v1/resources", key, body) })
	}
	sending.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return answer{}, err
	}
	if both[0].body != both[1].body {
		return answer{}, fmt.Errorf("duplicates of %s have different answers: %s %s", key, both[0].body, both[1].body)
	}
	return both[0], nil
}

// attackAtRandom sends one of the hostile requests.
func (l *load) attackAtRandom() error {
	return l.attack(l.attacks[rand.IntN(len(l.attacks))])
}

// waitForTimeout sends a request whose handler takes too long.
func (l *load) waitForTimeout() error {
	return l.attack(hostile{name: "slow", send: raw("GET /v1/fault/slow HTTP/1.1", ""), code: apierror.CodeTimeout})
}

// leave breaks the connection after a part of a request, or in the middle of the answer.
func (l *load) leave() error {
	conn, err := net.Dial("tcp", l.host)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	requests := []string{
		raw(post, good, typ), raw(post, good, typ, fmt.Sprint("Idempotency-Key: leave-", l.names.Add(1))),
		raw("GET /v1/resources?limit=100 HTTP/1.1", ""), raw("GET /docs/errors HTTP/1.1", ""), raw("GET /v1/fault/panic HTTP/1.1", ""),
	}
	request := requests[rand.IntN(len(requests))]
	part := min(len(request), rand.IntN(2*len(request)))
	_, _ = io.WriteString(conn, request[:part])
	if part == len(request) && rand.IntN(2) == 0 {
		_, _ = io.CopyN(io.Discard, conn, rand.Int64N(500))
	}
	return conn.(*net.TCPConn).SetLinger(0) // Close resets the connection
}

// pipelineGarbage sends requests and garbage without waiting for answers.
func (l *load) pipelineGarbage() error {
	good := strings.Replace(raw("GET /v1/resources?limit=1 HTTP/1.1", ""), "Connection: close", "Connection: keep-alive", 1)
	answers, err := l.pipeline(strings.Repeat(good, 3)+"\x00\xff garbage\r\n\r\n"+good, 4)
	if err != nil {
		return fmt.Errorf("pipelined requests: %w", err)
	}
	for i, a := range answers {
		if want := []int{200, 200, 200, 400}[i]; a.status != want {
			return fmt.Errorf("answer %d to pipelined requests is %d: %s", i, a.status, a.body)
		}
	}
	return checkNetHTTP(answers[3])
}

// pipeline sends text, and reads a number of answers.
func (l *load) pipeline(text string, count int) (answers []answer, err error) {
	conn, err := net.Dial("tcp", l.host)
	if err != nil {
		return nil, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, text)
	}()
	defer func() {
		conn.Close()
		<-sent
	}()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for r := bufio.NewReader(conn); len(answers) < count; {
		a, err := readAnswer(r, nil)
		if err != nil {
			return nil, err
		}
		l.answers[a.status].Add(1)
		answers = append(answers, a)
	}
	return answers, nil
}

// sendSlowHeader sends a header in small pieces until the server closes the connection.
func (l *load) sendSlowHeader() error {
	a, err := l.trickle("GET /v1/resources HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
	if errors.Is(err, syscall.ECONNRESET) { // by what came after the end
		return nil
	}
	if err == nil && a.status != 0 {
		err = fmt.Errorf("a slow header was answered: %d %s", a.status, a.body)
	}
	return err
}

// sendSlowBody sends a body in small pieces until the server answers.
func (l *load) sendSlowBody() error {
	key := [...]string{"X-No: key", fmt.Sprint("Idempotency-Key: slow-", l.names.Add(1))}[rand.IntN(2)]
	a, err := l.trickle(raw(post, "", typ, "Content-Length: 100000", key) + `{"name":"`)
	if err != nil {
		return err
	}
	code, err := checkError(a, false)
	if err == nil && code != apierror.CodeTimeout {
		err = errors.New("the code should be timeout")
	}
	if err != nil {
		err = fmt.Errorf("a slow body: %w: %d %v %s", err, a.status, a.header, a.body)
	}
	return err
}

// sendNothing opens a connection, and waits until the server closes it.
func (l *load) sendNothing() error {
	conn, err := net.Dial("tcp", l.host)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	defer context.AfterFunc(l.ctx, func() { conn.Close() })()
	n, err := conn.Read(make([]byte, 1))
	if l.ctx.Err() != nil {
		return errOver
	}
	if n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("a connection without a request: %d bytes, %w", n, err)
	}
	return nil
}

// trickle sends text, and then one byte after another until there is an answer.
func (l *load) trickle(text string) (answer, error) {
	conn, err := net.Dial("tcp", l.host)
	if err != nil {
		return answer{}, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	trickling, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(trickling)
		piece := time.NewTicker(50 * time.Millisecond)
		defer piece.Stop()
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
			text = "a"
			select {
			case <-piece.C:
			case <-end:
				return
			}
		}
	}()
	defer func() {
		close(end)
		conn.Close()
		<-trickling
	}()
	defer context.AfterFunc(l.ctx, func() { conn.Close() })()
	a, err := readAnswer(bufio.NewReader(conn), nil)
	if l.ctx.Err() != nil {
		return answer{}, errOver
	}
	l.answers[a.status].Add(1)
	return a, err
}

// flood sends more requests than a key may.
func (l *load) flood() error {
	one := raw("GET /v1/nothing HTTP/1.1", "", "Connection: keep-alive", "Authorization: Bearer "+docsapitest.KeyReadOnly)
	answers, err := l.pipeline(strings.Repeat(one, 2*limitPerKey), 2*limitPerKey)
	if err != nil {
		return fmt.Errorf("a flood: %w", err)
	}
	for _, a := range answers {
		code, err := checkError(a, false)
		if err == nil && code != apierror.CodeResourceMissing && code != apierror.CodeRateLimitExceeded {
			err = errors.New("it is neither missing nor over the limit")
		}
		if err != nil {
			return fmt.Errorf("a flood: %w: %d %v %s", err, a.status, a.header, a.body)
		}
	}
	return nil
}

// measure returns what the server has in memory, once all goroutines for clients have ended.
func (l *load) measure() (m memory) {
	l.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		a, err := l.exchange(hostile{send: raw("GET /v1/fault/memory HTTP/1.1", "")})
		require.NoError(l, err)
		require.Equal(l, http.StatusOK, a.status, a.body)
		require.NoError(l, json.Unmarshal([]byte(a.body), &m))
		if l.idle == 0 || m.Goroutines <= l.idle {
			return m
		}
		require.True(l, time.Now().Before(deadline), "%d goroutines are left, and not %d", m.Goroutines, l.idle)
	}
}

// total returns the number of answers.
func (l *load) total() (n int64) {
	for status := range l.answers {
		n += l.answers[status].Load()
	}
	return n
}

// drain stops the server while it has requests, which it finishes.
func (l *load) drain() {
	l.Helper()
	conns := make([]*rawConn, 5)
	for i := range conns {
		conns[i] = l.dial(l.T)
		header, _ := keyed(fmt.Sprint("drain-", i))
		conns[i].send(header)
		conns[i].continued()
	}
	stopped := make(chan struct{})
	l.Cleanup(func() { <-stopped })
	go func() {
		defer close(stopped)
		l.server.Stop()
	}()
	require.Eventually(l, l.refuses, patience, time.Millisecond)
	for _, c := range conns {
		c.send(good)
		require.Equal(l, http.StatusCreated, c.answer().status)
	}
	<-stopped
}

// logf logs how many answers there were.
func (l *load) logf() {
	l.Helper()
	var b strings.Builder
	for status := range l.answers {
		if n := l.answers[status].Load(); n > 0 {
			fmt.Fprintf(&b, " %d: %d", status, n)
		}
	}
	l.Logf("answers by status:%s", b.String())
}
