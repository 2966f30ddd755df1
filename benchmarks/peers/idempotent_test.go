package peers_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/idempotency"
	"github.com/valyala/fasthttp"

	"github.com/seawall-go/seawall/idempotent"
)

// created is the handler of all: 1 KiB of JSON.
var created = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	w.Write(kilobyte)
})

// keyed makes the contenders for a POST of 1 KiB with a key: always the same one, which is answered from the store but for the
// first time, or always a new one.
func keyed(fresh bool) []contender {
	over := func(service func() http.Handler) func(testing.TB) func() {
		return func(tb testing.TB) func() {
			r := identified(request(tb, http.MethodPost))
			r.Header.Set("Content-Type", "application/json")
			r.ContentLength = int64(len(kilobyte))
			body, field := new(rewindable), make([]string, 1)
			r.Header["Idempotency-Key"] = field
			next, op := keys(fresh), serve(service(), r)
			return func() {
				body.Reset(kilobyte)
				r.Body, field[0] = body, next()
				op()
			}
		}
	}
	return []contender{
		{"seawall", over(func() http.Handler {
			store := idempotent.NewMemory(&idempotent.MemoryOptions{EvictWhenFull: true})
			return idempotent.New(store, idempotent.Global, &idempotent.Options{Logger: quiet})(created)
		})},
		{"floor", over(func() http.Handler { return &floor{next: created, kept: make(map[string]*answer)} })},
		{"fiber", func(testing.TB) func() { return overFiber(fresh, idempotency.New()) }},
		{"bare", over(func() http.Handler { return created })},
		{"fiber-bare", func(testing.TB) func() { return overFiber(fresh, func(c fiber.Ctx) error { return c.Next() }) }},
	}
}

// keys are 36 characters long, as fiber wants them.
func keys(fresh bool) func() string {
	b, n := []byte("7d0c5a3e-54f1-4c79-9d30-000000000000"), uint64(1e11)
	same := string(b)
	return func() string {
		if !fresh {
			return same
		}
		n++
		strconv.AppendUint(b[:24], n, 10)
		return string(b)
	}
}

type rewindable struct{ bytes.Reader }

func (*rewindable) Close() error { return nil }

// overFiber calls the application as fasthttp's server does.
func overFiber(fresh bool, middleware fiber.Handler) func() {
	app := fiber.New()
	app.Use(middleware)
	app.Post("/v1/resources", func(c fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, "application/json")
		return c.Status(fiber.StatusCreated).Send(kilobyte)
	})
	serve, next, ctx := app.Handler(), keys(fresh), new(fasthttp.RequestCtx)
	ctx.Request.Header.SetMethod(fiber.MethodPost)
	ctx.Request.SetRequestURI("/v1/resources?limit=10")
	ctx.Request.Header.SetContentType("application/json")
	ctx.Request.Header.Set("X-Api-Key", key)
	ctx.Request.SetBody(kilobyte)
	return func() {
		ctx.Request.Header.Set("X-Idempotency-Key", next())
		ctx.Response.Reset()
		serve(ctx)
	}
}

// floor is what idempotency cannot do without: read and hash the body, one locked look-up, write the answer; the first time a
// copy of the response, and a locked store. It has no lease, no single flight, no bound and no principal.
type floor struct {
	next http.Handler
	mu   sync.Mutex
	kept map[string]*answer
}

type answer struct {
	sum    [sha256.Size]byte
	status int
	header http.Header
	body   []byte
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	sum := sha256.Sum256(body)
	key := r.Header.Get("Idempotency-Key")
	f.mu.Lock()
	a, known := f.kept[key]
	f.mu.Unlock()
	switch {
	case known && a.sum != sum:
		http.Error(w, "conflict", http.StatusConflict)
		return
	case known:
		h := w.Header()
		h.Set("Idempotent-Replayed", "true")
		h.Set("Original-Request", "req_Hd92kLpQ7mXw3TzB")
	default:
		a = &answer{sum: sum, header: make(http.Header)}
		f.next.ServeHTTP(a, r)
		f.mu.Lock()
		f.kept[key] = a
		f.mu.Unlock()
	}
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body)
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}

func BenchmarkReplay(b *testing.B)   { compare(b, keyed(false)) }
func BenchmarkFirstRun(b *testing.B) { compare(b, keyed(true)) }
