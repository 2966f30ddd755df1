package interop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/ratelimit"
)

// service has the chain, and the routes for a router inside it.
type service struct {
	stack  *seawall.Stack
	routes []route
	ended  chan string // receives the pattern of the request when the chain has returned

	log logbuf.Buffer

	mu    sync.Mutex
	files []string // of uploads
}

// route is a route of the service, in the form of http.ServeMux.
type route struct {
	method, path string
	handler      http.Handler
}

func (rt route) pattern() string { return rt.method + " " + rt.path }

var discard = slog.New(slog.DiscardHandler)

// itemBody is long enough for every compressor.
var itemBody = `{"id":"7","text":"` + strings.Repeat("all work and no play ", 200) + `"}`

func newService() *service {
	s := &service{ended: make(chan string, 1)}
	s.routes = []route{
		{http.MethodGet, "/items/{id}", http.HandlerFunc(item)},
		{http.MethodGet, "/refused", apierror.HandlerFunc(refused)},
		{http.MethodGet, "/plain", http.HandlerFunc(plain)},
		{http.MethodGet, "/panic", http.HandlerFunc(panics)},
		{http.MethodGet, "/torn", http.HandlerFunc(torn)},
		{http.MethodGet, "/hints", http.HandlerFunc(hints)},
		{http.MethodGet, "/limited", http.HandlerFunc(item)},
		{http.MethodPost, "/orders", http.HandlerFunc(order)},
		{http.MethodPost, "/upload", apierror.HandlerFunc(s.upload)},
	}
	s.stack = &seawall.Stack{
		Logger:  slog.New(slog.NewJSONHandler(&s.log, nil)),
		Timeout: time.Minute,
		MaxBody: 1 << 20,
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{
			Limit: ratelimit.Per(1, time.Hour),
			LimitFor: func(r *http.Request) ratelimit.Limit {
				if r.URL.Path == "/limited" {
					return ratelimit.Limit{}
				}
				return ratelimit.Per(1000, time.Hour)
			},
			Key: func(r *http.Request) (string, error) { return r.URL.Path, nil },
		}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil),
			func(*http.Request) (string, error) { return "everybody", nil }, nil),
	}
	return s
}

// chain returns next inside the Stack. When it returns, the pattern is sent to ended.
func (s *service) chain(next http.Handler) http.Handler {
	chained := s.stack.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { s.ended <- r.Pattern }()
		chained.ServeHTTP(w, r)
	})
}

// mux returns the router for compositions that have no other router.
func (s *service) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range s.routes {
		mux.Handle(rt.pattern(), rt.handler)
	}
	return mux
}

func item(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, itemBody)
}

func refused(http.ResponseWriter, *http.Request) error {
	return apierror.CodeParameterInvalid.Messagef("The item is too heavy.").WithParam("weight")
}

func plain(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, refused(w, r)) }

func panics(http.ResponseWriter, *http.Request) { panic("a bug") }

// torn panics after it has sent a part of its response.
func torn(w http.ResponseWriter, r *http.Request) {
	item(w, r)
	http.NewResponseController(w).Flush()
	panic("a bug")
}

func hints(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	item(w, r)
}

func order(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, itemBody)
}

// upload parses the form, so that net/http writes the form's files to disk.
func (s *service) upload(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseMultipartForm(1); err != nil {
		return err
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		return err
	}
	defer f.Close()
	onDisk, ok := f.(*os.File)
	if !ok {
		return fmt.Errorf("the upload is a %T", f)
	}
	s.mu.Lock()
	s.files = append(s.files, onDisk.Name())
	s.mu.Unlock()
	item(w, r)
	return nil
}

// logLine is a line of the access log.
type logLine struct {
	Msg, Method, Pattern string
	Status, Bytes        int
	RequestID            string `json:"request_id"`
	Code                 apierror.Code
	Aborted, Replayed    bool
}

// accessLog returns the lines of the access log since its last call.
func (s *service) accessLog(t *testing.T) []logLine {
	t.Helper()
	var lines []logLine
	for dec := json.NewDecoder(strings.NewReader(s.log.Take())); dec.More(); {
		var line logLine
		require.NoError(t, dec.Decode(&line))
		if line.Msg == "request" {
			lines = append(lines, line)
		}
	}
	return lines
}

// left returns the files of uploads that still exist, and removes them.
func (s *service) left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for _, name := range s.files {
		if _, err := os.Stat(name); err == nil {
			left = append(left, name)
			os.Remove(name)
		}
	}
	return left
}
