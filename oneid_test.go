package seawall_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// forgetful replaces the request's context by one that knows nothing.
func forgetful(next http.Handler) http.Handler {
	return plain(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.Background()))
	})
}

// ids returns all request ids in the log, each once.
func (l *logs) ids(t *testing.T) (ids []string) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(l.String())); dec.More(); {
		var record struct {
			ID *string `json:"request_id"`
		}
		require.NoError(t, dec.Decode(&record))
		require.NotNil(t, record.ID, "a record without an id")
		if len(ids) == 0 || ids[len(ids)-1] != *record.ID {
			ids = append(ids, *record.ID)
		}
	}
	return ids
}

// Whatever the order, the client, the handler, and all records have the same id.
func TestOneID(t *testing.T) {
	t.Parallel()
	var (
		id       = seawall.RequestID(nil)
		renderer = (&apierror.Renderer{Logger: discard}).Handler
	)
	for name, build := range map[string]func(l *logs) seawall.Middleware{
		"Recover outside of RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(l.logger()), id)
		},
		"Recover outside of a Renderer and RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(l.logger()), renderer, id)
		},
		"Recover outside of a timeout and RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(l.logger()), seawall.Timeout(1<<40), id)
		},
		"Recover outside of an access log and RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(l.logger()), seawall.AccessLog(&seawall.AccessLogOptions{Logger: l.logger()}), id)
		},
		"an access log outside of Recover and RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.AccessLog(&seawall.AccessLogOptions{Logger: l.logger()}), seawall.Recover(l.logger()), id)
		},
		"Recover outside of a foreign writer and RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(l.logger()), wrapped(1), id)
		},
		"Recover outside of a Stack": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(discard), (&seawall.Stack{Logger: l.logger()}).Handler)
		},
		"Recover twice": func(l *logs) seawall.Middleware {
			return seawall.Chain(seawall.Recover(discard), id, seawall.Recover(l.logger()))
		},
		"a context replaced inside of RequestID": func(l *logs) seawall.Middleware {
			return seawall.Chain(id, seawall.Recover(l.logger()), forgetful)
		},
		"a context replaced between RequestID and Recover": func(l *logs) seawall.Middleware {
			return seawall.Chain(id, forgetful, seawall.Recover(l.logger()))
		},
		"a context replaced between two RequestIDs": func(l *logs) seawall.Middleware {
			return seawall.Chain(id, forgetful, id, seawall.Recover(l.logger()))
		},
		"a context replaced below a foreign writer": func(l *logs) seawall.Middleware {
			return seawall.Chain(id, seawall.Recover(l.logger()), wrapped(2), forgetful)
		},
		"a context replaced in a Stack": func(l *logs) seawall.Middleware {
			return (&seawall.Stack{Logger: l.logger(), Authenticate: seawall.Chain(forgetful, as("acct_1"), forgetful)}).Handler
		},
		"a context replaced between two Stacks": func(l *logs) seawall.Middleware {
			return seawall.Chain((&seawall.Stack{Logger: l.logger()}).Handler, forgetful, (&seawall.Stack{Logger: l.logger()}).Handler)
		},
	} {
		for _, protocol := range protocols {
			for end, fail := range map[string]func(http.ResponseWriter, *http.Request) error{
				"panic":             func(http.ResponseWriter, *http.Request) error { panic("bug") },
				"error":             func(http.ResponseWriter, *http.Request) error { return errSecret },
				"error of a method": func(w http.ResponseWriter, r *http.Request) error { apierror.Write(w, r, errSecret); return nil },
				"panic after a 1xx": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusEarlyHints); panic("bug") },
			} {
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

// An inner chain finds the id of a request whose context was replaced.
func TestARequestWhoseContextWasReplacedKeepsItsID(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]seawall.Middleware{
		"RequestID":                        seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone}),
		"Renderer":                         (&apierror.Renderer{}).Handler,
		"AccessLog":                        seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard}),
		"Stack":                            (&seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}).Handler,
		"Stack, twice":                     seawall.Chain((&seawall.Stack{Logger: discard}).Handler, forgetful, (&seawall.Stack{Logger: discard}).Handler),
		"RequestID, below foreign writers": seawall.Chain(wrapped(2), seawall.RequestID(nil)),
	} {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				outer := (&seawall.Stack{Logger: discard, Authenticate: seawall.Chain(as("acct_1"), forgetful)}).Handler
				s := protocol.new(seawall.Chain(outer, inner)(plain(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, apierror.RequestIDFrom(r.Context())+" "+seawall.Principal(r.Context()))
				})))
				defer s.Close()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
				require.NoError(t, err)
				r.Header.Set("X-Request-Id", "from-outside")

				a := do(s.Client(), r)

				require.NoError(t, a.err)
				require.Equal(t, a.requireID(t)+" ", string(a.body), "another id, or a principal from nowhere")
			})
		}
	}
}

// However a response comes about, it has the id once in each header.
func TestTheIDIsAnnouncedOnce(t *testing.T) {
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
		"three Stacks and a replaced context": stack(forgetful(stack(ok))),
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

// What a handler writes to a connection that it has taken over is all that there is.
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

// A proxy whose ModifyResponse deletes the id of the service behind it passes on one id of ours,
// after a 1xx too.
func TestTheIDIsAnnouncedOnceByAProxy(t *testing.T) {
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
