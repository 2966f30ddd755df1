package peers_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
)

// created answers a POST with 1 KiB of JSON.
var created = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	w.Write(kilobyte)
})

// once is a way to run a POST with an Idempotency-Key only once, and to refuse the key
// with another body.
type once struct {
	name string
	send func(tb testing.TB, handler http.HandlerFunc) sender
}

// sender sends a POST with a key and a body, and returns the status and the body of the response.
type sender func(key string, body []byte) (int, []byte)

// onces are our middleware, fiber's middleware with a comparison of bodies, which it
// lacks, and the lower bound.
var onces = []once{
	{"seawall", func(tb testing.TB, handler http.HandlerFunc) sender {
		store := idempotent.NewMemory(&idempotent.MemoryOptions{EvictWhenFull: true})
		return overHTTP(tb, guard(store)(handler))
	}},
	{"fiber", overFiber()},
	{"map", func(tb testing.TB, handler http.HandlerFunc) sender {
		return overHTTP(tb, &mapOfAnswers{next: handler, kept: make(map[string]*kept)})
	}},
}

func guard(store idempotent.Store) seawall.Middleware {
	return idempotent.New(store, idempotent.Global, &idempotent.Options{Logger: quiet})
}

// overHTTP calls h as net/http's server does, with a request that has an id already.
func overHTTP(tb testing.TB, h http.Handler) sender {
	r := identified(tb)
	r.Header.Set("Content-Type", "application/json")
	field := make([]string, 1)
	r.Header["Idempotency-Key"] = field
	w := &keeping{discard: discard{header: make(http.Header)}}
	body := new(rewindable)
	return func(key string, b []byte) (int, []byte) {
		field[0] = key
		body.Reset(b)
		r.Body, r.ContentLength = body, int64(len(b))
		clear(w.header)
		w.body = w.body[:0]
		h.ServeHTTP(w, r)
		return w.status, w.body
	}
}

type rewindable struct{ bytes.Reader }

func (*rewindable) Close() error { return nil }

// keeping is a ResponseWriter that keeps the body, in the same memory each time.
type keeping struct {
	discard
	body []byte
}

func (k *keeping) Write(p []byte) (int, error) {
	k.body = append(k.body, p...)
	return len(p), nil
}

// overFiber calls the handler through fiber's application as fasthttp's server does.
func overFiber(config ...idempotency.Config) func(testing.TB, http.HandlerFunc) sender {
	return func(_ testing.TB, handler http.HandlerFunc) sender {
		app := fiber.New()
		app.Use(compareBodies, idempotency.New(config...), keepSum)
		app.Post("/v1/resources", func(c fiber.Ctx) error {
			w := &keeping{discard: discard{header: make(http.Header)}}
			handler(w, nil)
			c.Set(fiber.HeaderContentType, w.header.Get("Content-Type"))
			return c.Status(w.status).Send(w.body)
		})
		serve, ctx := app.Handler(), new(fasthttp.RequestCtx)
		ctx.Request.Header.SetMethod(fiber.MethodPost)
		ctx.Request.SetRequestURI("/v1/resources")
		ctx.Request.Header.SetContentType("application/json")
		return func(key string, body []byte) (int, []byte) {
			ctx.Request.Header.Set("X-Idempotency-Key", key)
			ctx.Request.SetBody(body)
			ctx.Response.Reset()
			serve(ctx)
			return ctx.Response.StatusCode(), ctx.Response.Body()
		}
	}
}

// sumField is where a kept response has the hash of its request's body.
const sumField = "X-Body-Sum"

// compareBodies wraps fiber's middleware. It refuses a replay for a request with another
// body.
func compareBodies(c fiber.Ctx) error {
	sum := sha256.Sum256(c.Body())
	c.Locals(sumField, hex.EncodeToString(sum[:]))
	if err := c.Next(); err != nil {
		return err
	}
	same := c.GetRespHeader(sumField) == c.Locals(sumField)
	c.Response().Header.Del(sumField)
	if same {
		return nil
	}
	c.Response().Reset()
	return c.Status(fiber.StatusConflict).JSON(envelope{errorObject{
		Type:    "idempotency_error",
		Code:    "idempotency_conflict",
		Message: "The key was used with another request.",
	}})
}

// keepSum runs inside fiber's middleware, which keeps the headers of the response.
func keepSum(c fiber.Ctx) error {
	c.Set(sumField, c.Locals(sumField).(string))
	return c.Next()
}

// mapOfAnswers is the lower bound: it reads and hashes the body, looks the key up under a
// lock and writes the answer. It has no lease, so duplicates at the same time all run. It
// also has no memory limit, no retention and no scopes.
type mapOfAnswers struct {
	next http.Handler
	mu   sync.Mutex
	kept map[string]*kept
}

type kept struct {
	keeping
	sum [sha256.Size]byte
}

func (m *mapOfAnswers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sum, key := sha256.Sum256(body), r.Header.Get("Idempotency-Key")
	m.mu.Lock()
	a, known := m.kept[key]
	m.mu.Unlock()
	switch {
	case !known:
		a = &kept{keeping: keeping{discard: discard{header: make(http.Header)}}, sum: sum}
		m.next.ServeHTTP(a, r)
		m.mu.Lock()
		m.kept[key] = a
		m.mu.Unlock()
	case a.sum != sum:
		http.Error(w, "the key was used with another request", http.StatusConflict)
		return
	default:
		w.Header().Set("Idempotent-Replayed", "true")
	}
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// freshKeys returns a function that makes keys of 36 characters, as fiber wants them.
func freshKeys() func() string {
	b, n := []byte("7d0c5a3e-54f1-4c79-9d30-000000000000"), uint64(1e11)
	return func() string {
		n++
		strconv.AppendUint(b[:24], n, 10)
		return string(b)
	}
}

// firstRun sends a request with a new key each time.
func (o once) firstRun(tb testing.TB) func() {
	send, next := o.send(tb, created), freshKeys()
	return func() { send(next(), kilobyte) }
}

// replay sends the same request again and again.
func (o once) replay(tb testing.TB) func() {
	send, key := o.send(tb, created), freshKeys()()
	send(key, kilobyte)
	return func() { send(key, kilobyte) }
}

func BenchmarkFirstRun(b *testing.B) {
	var sides []side
	for _, o := range onces {
		sides = append(sides, side{o.name, o.firstRun})
	}
	compare(b, sides)
}

func BenchmarkReplay(b *testing.B) {
	var sides []side
	for _, o := range onces {
		sides = append(sides, side{o.name, o.replay})
	}
	compare(b, sides)
}

func TestARequestRunsOnceAndItsKeyIsRefusedForAnotherBody(t *testing.T) {
	t.Parallel()
	for _, o := range onces {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			o.requireOnce(t)
		})
	}
}

func (o once) requireOnce(t *testing.T) {
	runs := 0
	send := o.send(t, func(w http.ResponseWriter, r *http.Request) {
		runs++
		created(w, r)
	})
	next := freshKeys()
	key := next()

	for range 2 {
		status, body := send(key, kilobyte)
		require.Equal(t, http.StatusCreated, status)
		require.Equal(t, string(kilobyte), string(body))
	}
	status, _ := send(key, []byte(`{"name":"another"}`))

	require.Equal(t, http.StatusConflict, status)
	require.Equal(t, 1, runs)
	status, _ = send(next(), kilobyte)
	require.Equal(t, http.StatusCreated, status)
	require.Equal(t, 2, runs)
}
