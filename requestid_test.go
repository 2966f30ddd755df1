package seawall_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func TestIDIsInTheResponseBeforeTheHandlerRuns(t *testing.T) {
	t.Parallel()
	serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, r *http.Request) {
		id := apierror.RequestIDFrom(r.Context())
		assert.Regexp(t, requestIDForm, id)
		assert.Equal(t, id, w.Header().Get("Request-Id"))
		assert.Equal(t, id, w.Header().Get("X-Request-Id"))
	})), nil)
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	h := seawall.RequestID(nil)(showID)
	seen := make(map[string]bool)
	for range 1000 {
		seen[serveOne(h, nil).Body.String()] = true
	}
	require.Len(t, seen, 1000)
}

// The two headers share a slice.
func TestAppendingToOneIDHeaderLeavesTheOtherAlone(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Request-Id", "one")
		w.Header().Add("X-Request-Id", "two")
	})), nil)
	require.Equal(t, "one", w.Header()["Request-Id"][1])
	require.Equal(t, "two", w.Header()["X-Request-Id"][1])
}

func TestRequestIDInsideAnotherKeepsTheOuterID(t *testing.T) {
	t.Parallel()
	inner := seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})
	w := serveOne(seawall.Chain(seawall.RequestID(nil), inner)(showID), http.Header{"X-Request-Id": {"abc"}})
	id := w.Body.String()
	require.Regexp(t, requestIDForm, id)
	require.Equal(t, []string{id}, w.Header()["Request-Id"])
}

func TestInboundIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 128)
	one := func(key, value string) http.Header { return http.Header{key: {value}} }
	for name, row := range map[string]struct {
		header http.Header
		want   string // empty for a generated id
	}{
		"none":                           {nil, ""},
		"Request-Id":                     {one("Request-Id", "abc-1_2.3"), "abc-1_2.3"},
		"X-Request-Id":                   {one("X-Request-Id", "abc"), "abc"},
		"both the same":                  {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abc"}}, "abc"},
		"both, different":                {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abd"}}, ""},
		"one valid, one invalid":         {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"a c"}}, ""},
		"one invalid, one valid":         {http.Header{"Request-Id": {"a c"}, "X-Request-Id": {"abc"}}, ""},
		"two lines":                      {http.Header{"X-Request-Id": {"abc", "def"}}, ""},
		"two lines, the same":            {http.Header{"X-Request-Id": {"abc", "abc"}}, ""},
		"two lines beside a valid one":   {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abc", "abc"}}, ""},
		"empty":                          {one("X-Request-Id", ""), ""},
		"the longest":                    {one("X-Request-Id", long), long},
		"too long":                       {one("X-Request-Id", long+"a"), ""},
		"very long":                      {one("X-Request-Id", strings.Repeat("a", 1<<20)), ""},
		"line break":                     {one("X-Request-Id", "abc\r\nSet-Cookie: admin=1"), ""},
		"NUL":                            {one("X-Request-Id", "abc\x00"), ""},
		"escape sequence":                {one("X-Request-Id", "\x1b[31mabc"), ""},
		"not ASCII":                      {one("X-Request-Id", "idé"), ""},
		"letters that look like ASCII":   {one("X-Request-Id", "аbс"), ""},
		"not UTF-8":                      {one("X-Request-Id", "\xff\xfe"), ""},
		"a space":                        {one("X-Request-Id", "a b"), ""},
		"list":                           {one("X-Request-Id", "abc,def"), ""},
		"markup":                         {one("X-Request-Id", "<script>"), ""},
		"quotes":                         {one("X-Request-Id", `a"b`), ""},
		"slash":                          {one("X-Request-Id", "../../etc/passwd"), ""},
		"a header that is not canonical": {http.Header{"x-request-id": {"abc"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, trusted := range []bool{true, false} {
				h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return trusted }})(showID)
				w := serveOne(h, row.header)
				id := w.Body.String()
				require.Equal(t, []string{id}, w.Header()["Request-Id"])
				require.Equal(t, []string{id}, w.Header()["X-Request-Id"])
				if trusted && row.want != "" {
					require.Equal(t, row.want, id)
				} else {
					require.Regexp(t, requestIDForm, id)
				}
			}
		})
	}
}

func TestInboundIDsOverTheWire(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, row := range map[string]struct {
			value, want string
		}{
			"valid":                      {"abc", "abc"},
			"as long as a header can be": {strings.Repeat("a", 900<<10), ""},
			"not ASCII":                  {"idé", ""},
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				s := protocol.new(seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})(showID))
				defer s.Close()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
				require.NoError(t, err)
				r.Header.Set("X-Request-Id", row.value)

				a := do(s.Client(), r)

				require.NoError(t, a.err)
				require.Equal(t, http.StatusOK, a.StatusCode)
				require.Equal(t, a.Header.Get("Request-Id"), string(a.body))
				if row.want != "" {
					require.Equal(t, row.want, string(a.body))
				} else {
					a.requireID(t)
				}
			})
		}
	}
}

func TestInboundIDsAreNotTrustedByDefault(t *testing.T) {
	t.Parallel()
	header := http.Header{"X-Request-Id": {"abc"}}
	for _, o := range []*seawall.RequestIDOptions{nil, {}} {
		require.Regexp(t, requestIDForm, serveOne(seawall.RequestID(o)(showID), header).Body.String())
	}
	require.Regexp(t, requestIDForm, serveOne((&seawall.Stack{Logger: discard}).Handler(showID), header).Body.String())
}

func TestInboundIDsAreNotTrustedIfInboundPanics(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }}}

	w := serveOne(stack.Handler(showID), http.Header{"X-Request-Id": {"abc"}})

	require.Equal(t, http.StatusOK, w.Code)
	require.Regexp(t, requestIDForm, w.Body.String())
	require.Equal(t, []string{logPanic}, logs.others(t))
	require.Contains(t, logs.String(), `"in":"RequestIDOptions.Inbound","panic":"hook"`)
}

func FuzzInboundID(f *testing.F) {
	f.Add("abc", "abc", false)
	f.Add("abc\r\nSet-Cookie: x", "", false)
	f.Add("", "req_0123456789abcdef", true)
	h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})(showID)
	f.Fuzz(func(t *testing.T, a, b string, twice bool) {
		header := http.Header{"Request-Id": {a}, "X-Request-Id": {b}}
		if twice {
			header["X-Request-Id"] = []string{b, b}
		}
		w := serveOne(h, header)
		id := w.Body.String()
		require.Regexp(t, `^[A-Za-z0-9._-]{1,128}$`, id)
		require.Equal(t, []string{id}, w.Header()["Request-Id"])
		require.Equal(t, []string{id}, w.Header()["X-Request-Id"])
		if twice || a != b || id != a {
			require.Regexp(t, requestIDForm, id)
		}
	})
}

// idChains are chains in which not everything is inside of RequestID from the start.
var idChains = map[string]func(l *logs) seawall.Middleware{
	"Recover outside of RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(l.logger()), seawall.RequestID(nil))
	},
	"Recover outside of a Renderer and RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(l.logger()), (&apierror.Renderer{Logger: discard}).Handler, seawall.RequestID(nil))
	},
	"Recover outside of a timeout and RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(l.logger()), seawall.Timeout(1<<40), seawall.RequestID(nil))
	},
	"Recover outside of an access log and RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(l.logger()), seawall.AccessLog(&seawall.AccessLogOptions{Logger: l.logger()}), seawall.RequestID(nil))
	},
	"an access log outside of Recover and RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.AccessLog(&seawall.AccessLogOptions{Logger: l.logger()}), seawall.Recover(l.logger()), seawall.RequestID(nil))
	},
	"Recover outside of a foreign writer and RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(l.logger()), wrapped(1), seawall.RequestID(nil))
	},
	"Recover outside of a Stack": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(discard), (&seawall.Stack{Logger: l.logger()}).Handler)
	},
	"Recover twice": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.Recover(discard), seawall.RequestID(nil), seawall.Recover(l.logger()))
	},
	"a context replaced inside of RequestID": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.RequestID(nil), seawall.Recover(l.logger()), replacesContext)
	},
	"a context replaced between RequestID and Recover": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.RequestID(nil), replacesContext, seawall.Recover(l.logger()))
	},
	"a context replaced between two RequestIDs": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.RequestID(nil), replacesContext, seawall.RequestID(nil), seawall.Recover(l.logger()))
	},
	"a context replaced below a foreign writer": func(l *logs) seawall.Middleware {
		return seawall.Chain(seawall.RequestID(nil), seawall.Recover(l.logger()), wrapped(2), replacesContext)
	},
	"a context replaced in a Stack": func(l *logs) seawall.Middleware {
		return (&seawall.Stack{Logger: l.logger(), Authenticate: seawall.Chain(replacesContext, as("acct_1"), replacesContext)}).Handler
	},
	"a context replaced between two Stacks": func(l *logs) seawall.Middleware {
		return seawall.Chain((&seawall.Stack{Logger: l.logger()}).Handler, replacesContext, (&seawall.Stack{Logger: l.logger()}).Handler)
	},
}

// The client, the handler and all records see the same id, whatever the order of the chain.
func TestErrorsAndRecordsHaveTheSameID(t *testing.T) {
	t.Parallel()
	failures := map[string]func(http.ResponseWriter, *http.Request) error{
		"panic":                        func(http.ResponseWriter, *http.Request) error { panic("bug") },
		"error":                        func(http.ResponseWriter, *http.Request) error { return errSecret },
		"error written by the handler": func(w http.ResponseWriter, r *http.Request) error { apierror.Write(w, r, errSecret); return nil },
		"panic after a 1xx":            func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusEarlyHints); panic("bug") },
	}
	renderer := (&apierror.Renderer{Logger: discard}).Handler
	for name, build := range idChains {
		for _, protocol := range protocols {
			for end, fail := range failures {
				t.Run(name+"/"+end+"/"+protocol.name, func(t *testing.T) {
					t.Parallel()
					var logs logs
					var seen string
					s := protocol.new(seawall.Chain(build(&logs), renderer)(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
						seen = apierror.RequestIDFrom(r.Context())
						return fail(w, r)
					})))
					defer s.Close()

					a := post(t, s, "/")
					s.Close()

					a.requireError(t, http.StatusInternalServerError, apierror.CodeAPIError)
					if seen != "" { // the context was not replaced
						require.Equal(t, seen, a.requireID(t))
					}
					if strings.Contains(end, "panic") || strings.Contains(name, "access log") || strings.Contains(name, "in a Stack") {
						require.Equal(t, []string{a.requireID(t)}, logs.ids(t))
					}
				})
			}
		}
	}
}

func TestARequestWhoseContextWasReplacedKeepsItsID(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]seawall.Middleware{
		"RequestID":                        seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone}),
		"Renderer":                         (&apierror.Renderer{}).Handler,
		"AccessLog":                        seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard}),
		"Stack":                            (&seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}).Handler,
		"Stack, twice":                     seawall.Chain((&seawall.Stack{Logger: discard}).Handler, replacesContext, (&seawall.Stack{Logger: discard}).Handler),
		"RequestID, below foreign writers": seawall.Chain(wrapped(2), seawall.RequestID(nil)),
	} {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				outer := (&seawall.Stack{Logger: discard, Authenticate: seawall.Chain(as("acct_1"), replacesContext)}).Handler
				s := protocol.new(seawall.Chain(outer, inner)(plain(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, apierror.RequestIDFrom(r.Context())+" "+seawall.Principal(r.Context()))
				})))
				defer s.Close()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
				require.NoError(t, err)
				r.Header.Set("X-Request-Id", "from-outside")

				a := do(s.Client(), r)

				require.NoError(t, a.err)
				require.Equal(t, a.requireID(t)+" ", string(a.body), "another id, or a principal")
			})
		}
	}
}

// Each of the two headers has it once.
func TestResponsesHaveTheIDOnce(t *testing.T) {
	t.Parallel()
	stack := (&seawall.Stack{Logger: discard}).Handler
	early := func(w http.ResponseWriter) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	}
	for name, h := range map[string]http.Handler{
		"103, then a body":               plain(func(w http.ResponseWriter, _ *http.Request) { early(w); io.WriteString(w, "ok") }),
		"103, then nothing":              plain(func(w http.ResponseWriter, _ *http.Request) { early(w) }),
		"103, then a flush":              plain(func(w http.ResponseWriter, _ *http.Request) { early(w); w.(http.Flusher).Flush() }),
		"103, then an error":             failing(early, apierror.CodePermissionDenied),
		"103, then a panic":              plain(func(w http.ResponseWriter, _ *http.Request) { early(w); panic("bug") }),
		"103, then a Stack":              plain(func(w http.ResponseWriter, r *http.Request) { early(w); stack(ok).ServeHTTP(w, r) }),
		"103, then a Stack and an error": plain(func(w http.ResponseWriter, r *http.Request) { early(w); stack(failing(nil, errSecret)).ServeHTTP(w, r) }),
		"103, then a cleared header": plain(func(w http.ResponseWriter, _ *http.Request) {
			early(w)
			clear(w.Header())
			io.WriteString(w, "ok")
		}),
		"103, then a cleared header and nothing": plain(func(w http.ResponseWriter, _ *http.Request) {
			early(w)
			clear(w.Header())
		}),
		"103, twice, then a cleared header and an error": failing(func(w http.ResponseWriter) {
			early(w)
			early(w)
			clear(w.Header())
		}, errSecret),
		"a hijack that fails": plain(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 {
				if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
					panic("hijacked")
				}
			}
			io.WriteString(w, "ok")
		}),
		"three Stacks":                        stack(stack(ok)),
		"three Stacks and a replaced context": stack(replacesContext(stack(ok))),
	} {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				s := protocol.new(stack(h))
				defer s.Close()
				a := post(t, s, "/")
				require.NoError(t, a.err)
				a.requireID(t)
			})
		}
	}
}

// The proxy's ModifyResponse deletes the id of the service behind it. A 1xx does not bring
// it back.
func TestAProxyRespondsWithOneID(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			behind := protocol.new((&seawall.Stack{Logger: discard}).Handler(plain(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				io.WriteString(w, "ok")
			})))
			defer behind.Close()
			target, err := url.Parse(behind.URL)
			require.NoError(t, err)
			s := protocol.new((&seawall.Stack{Logger: discard}).Handler(&httputil.ReverseProxy{
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
				Transport: behind.Transport(),
				ModifyResponse: func(resp *http.Response) error {
					resp.Header.Del("Request-Id")
					resp.Header.Del("X-Request-Id")
					return nil
				},
			}))
			defer s.Close()

			a := get(t, s, "/")

			require.NoError(t, a.err)
			require.Equal(t, "ok", string(a.body))
			a.requireID(t)
		})
	}
}

func TestAHijackedConnectionGetsNoID(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"success": func() error { return nil },
		"error":   func() error { return errSecret },
		"panic":   func() error { panic("bug") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			const written = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nmine"
			s := protocols[0].new((&seawall.Stack{Logger: logs.logger()}).Handler(apierror.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) error {
					c, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						return err
					}
					defer c.Close()
					io.WriteString(c, written)
					return fail()
				})))
			defer s.Close()
			conn, err := s.Dial(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			require.NoError(t, err)

			got, err := io.ReadAll(bufio.NewReader(conn))
			s.Close()

			require.NoError(t, err)
			require.Equal(t, written, string(got))
			line := logs.access(t)[0]
			require.InDelta(t, 0, line["status"], 0)
			require.Equal(t, []string{line["request_id"].(string)}, logs.ids(t))
		})
	}
}
