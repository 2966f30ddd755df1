package frameworks_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesv1"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesv1/resourcesv1connect"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/ratelimit"
)

// protocols are those that clients of connect speak.
var protocols = map[string][]connect.ClientOption{
	"Connect":       nil,
	"Connect, JSON": {connect.WithProtoJSON()},
	"Connect, GET":  {connect.WithHTTPGet()},
	"gRPC":          {connect.WithGRPC()},
	"gRPC-Web":      {connect.WithGRPCWeb()},
}

// rpcServer serves RPCs over HTTP/2, which gRPC needs.
type rpcServer struct {
	*httptest.Server

	service frameworks.Service
	logs    logbuf.Buffer
}

func newRPCServer(t *testing.T, set func(*seawall.Stack)) *rpcServer {
	t.Helper()
	s := new(rpcServer)
	stack := frameworks.NewStack(slog.New(slog.NewJSONHandler(&s.logs, nil)))
	stack.Timeout = time.Hour
	if set != nil {
		set(stack)
	}
	s.Server = httptest.NewUnstartedServer(frameworks.Connect(&s.service, stack))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client returns a client with a key of the API.
func (s *rpcServer) client(o []connect.ClientOption) resourcesv1connect.ResourceServiceClient {
	return resourcesv1connect.NewResourceServiceClient(bearer{s.Client(), "sk_test_demo"}, s.URL, o...)
}

// bearer adds a key to the requests of a client.
type bearer struct {
	client *http.Client
	key    string
}

func (b bearer) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.client.Do(r)
}

func createRPC(name string) *connect.Request[resourcesv1.CreateRequest] {
	return connect.NewRequest(&resourcesv1.CreateRequest{Name: name})
}

func getRPC(id string) *connect.Request[resourcesv1.GetRequest] {
	return connect.NewRequest(&resourcesv1.GetRequest{Id: id})
}

// rpcFailure is what a client learns of an error.
type rpcFailure struct {
	code    connect.Code
	reason  apierror.Code
	message string
	param   string
	wait    bool // whether the error says how long to wait
}

func failureOf(t *testing.T, err error) (f rpcFailure, field http.Header) {
	t.Helper()
	var e *connect.Error
	require.ErrorAs(t, err, &e)
	require.True(t, connect.IsWireError(err), "the server has sent it: %v", err)
	f.code, f.message = e.Code(), e.Message()
	for _, detail := range e.Details() {
		value, err := detail.Value()
		require.NoError(t, err)
		switch d := value.(type) {
		case *errdetails.ErrorInfo:
			f.reason = apierror.Code(d.GetReason())
		case *errdetails.BadRequest:
			f.param = d.GetFieldViolations()[0].GetField()
		case *errdetails.RetryInfo:
			f.wait = d.GetRetryDelay().AsDuration() > 0
		}
	}
	return f, e.Meta()
}

// onePerHour is a limit that the second request exceeds.
func onePerHour(stack *seawall.Stack) {
	rule := ratelimit.Rule{Limit: ratelimit.PerHour(1), Key: ratelimit.ByPrincipal}
	stack.RateLimit = ratelimit.New(ratelimit.NewMemory(nil), nil, rule)
}

func TestRPCClientsGetErrorsInTheirProtocol(t *testing.T) {
	t.Parallel()
	type client = resourcesv1connect.ResourceServiceClient
	internal := apierror.CodeAPIError.New().Message()
	for name, row := range map[string]struct {
		set  func(*seawall.Stack)
		call func(context.Context, client) error
		want rpcFailure
	}{
		// Errors of handlers.
		"parameter": {
			call: func(ctx context.Context, c client) error { _, err := c.Create(ctx, createRPC("")); return err },
			want: rpcFailure{code: connect.CodeInvalidArgument, reason: apierror.CodeParameterMissing, message: "Missing required parameter: name.", param: "name"},
		},
		"not found": {
			call: func(ctx context.Context, c client) error { _, err := c.Get(ctx, getRPC("res_1")); return err },
			want: rpcFailure{code: connect.CodeNotFound, reason: apierror.CodeResourceMissing, message: "No such resource."},
		},
		"definition": {
			call: func(ctx context.Context, c client) error {
				if _, err := c.Create(ctx, createRPC("a")); err != nil {
					return err
				}
				_, err := c.Create(ctx, createRPC("a"))
				return err
			},
			want: rpcFailure{code: connect.CodeFailedPrecondition, reason: "name_taken", message: "Another resource has this name.", param: "name"},
		},
		"unknown error": {
			call: func(ctx context.Context, c client) error {
				_, err := c.Get(ctx, getRPC(frameworks.IDBroken))
				return err
			},
			want: rpcFailure{code: connect.CodeInternal, reason: apierror.CodeAPIError, message: internal},
		},
		"error of another service": {
			call: func(ctx context.Context, c client) error {
				_, err := c.Get(ctx, getRPC(frameworks.IDRemote))
				return err
			},
			want: rpcFailure{code: connect.CodeInternal, reason: apierror.CodeAPIError, message: internal},
		},
		"problem details": {
			set: func(stack *seawall.Stack) { stack.Renderer = &apierror.Renderer{Problem: true} },
			call: func(ctx context.Context, c client) error {
				r := createRPC("")
				r.Header().Set("Accept", "application/problem+json")
				_, err := c.Create(ctx, r)
				return err
			},
			want: rpcFailure{code: connect.CodeInvalidArgument, reason: apierror.CodeParameterMissing, message: "Missing required parameter: name.", param: "name"},
		},
		"strict": {
			set: func(stack *seawall.Stack) {
				stack.Renderer = &apierror.Renderer{Strict: true}
				smallBodies(stack)
			},
			call: func(ctx context.Context, c client) error {
				_, err := c.Create(ctx, createRPC(strings.Repeat("a", 2000)))
				return err
			},
			want: rpcFailure{code: connect.CodeInvalidArgument, reason: apierror.CodeParameterInvalid, message: apierror.RequestTooLarge(1000).Message()},
		},
		"deadline": {
			set:  func(stack *seawall.Stack) { stack.Timeout = time.Millisecond },
			call: func(ctx context.Context, c client) error { _, err := c.Get(ctx, getRPC(frameworks.IDSlow)); return err },
			want: rpcFailure{code: connect.CodeDeadlineExceeded, reason: apierror.CodeTimeout, message: apierror.CodeTimeout.New().Message()},
		},

		// What the Stack answers.
		"panic": {
			call: func(ctx context.Context, c client) error { _, err := c.Get(ctx, getRPC(frameworks.IDBug)); return err },
			want: rpcFailure{code: connect.CodeInternal, reason: apierror.CodeAPIError, message: internal},
		},
		"no key of the API": {
			set: func(stack *seawall.Stack) {
				stack.Authenticate = func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						apierror.Write(w, r, apierror.CodeAuthenticationFailed)
					})
				}
			},
			call: func(ctx context.Context, c client) error { _, err := c.Get(ctx, getRPC("res_1")); return err },
			want: rpcFailure{code: connect.CodeUnauthenticated, reason: apierror.CodeAuthenticationFailed, message: apierror.CodeAuthenticationFailed.New().Message()},
		},
		"rate limit": {
			set: onePerHour,
			call: func(ctx context.Context, c client) error {
				if _, err := c.Create(ctx, createRPC("a")); err != nil {
					return err
				}
				_, err := c.Create(ctx, createRPC("b"))
				return err
			},
			want: rpcFailure{code: connect.CodeResourceExhausted, reason: apierror.CodeRateLimitExceeded, message: apierror.CodeRateLimitExceeded.New().Message(), wait: true},
		},
		"large body": {
			set: smallBodies,
			call: func(ctx context.Context, c client) error {
				_, err := c.Create(ctx, createRPC(strings.Repeat("a", 2000)))
				return err
			},
			want: rpcFailure{code: connect.CodeInvalidArgument, reason: apierror.CodeRequestTooLarge, message: apierror.RequestTooLarge(1000).Message()},
		},
		"stream": {
			set: func(stack *seawall.Stack) { stack.MaxInFlight = 1 },
			call: func(ctx context.Context, c client) error {
				ctx, leave := context.WithCancel(ctx)
				defer leave()
				first, err := c.Events(ctx, connect.NewRequest(&resourcesv1.EventsRequest{}))
				if err != nil {
					return err
				}
				defer first.Close()
				_ = first.ResponseHeader() // waits until it runs
				second, err := c.Events(ctx, connect.NewRequest(&resourcesv1.EventsRequest{}))
				if err != nil {
					return err
				}
				defer second.Close()
				second.Receive()
				return second.Err()
			},
			want: rpcFailure{code: connect.CodeUnavailable, reason: apierror.CodeServiceUnavailable, message: apierror.CodeServiceUnavailable.New().Message(), wait: true},
		},
	} {
		for protocol, options := range protocols {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				s := newRPCServer(t, row.set)
				got, field := failureOf(t, row.call(t.Context(), s.client(options)))
				require.Equal(t, row.want, got)
				require.Len(t, field.Values("Request-Id"), 1)
				if row.want.wait {
					require.NotEmpty(t, field.Get("Retry-After"))
				}
			})
		}
	}
}

func TestRPCStreamsOutlastTheTimeout(t *testing.T) {
	t.Parallel()
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newRPCServer(t, func(stack *seawall.Stack) { stack.Timeout = time.Nanosecond })
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			stream, err := s.client(options).Events(ctx, connect.NewRequest(&resourcesv1.EventsRequest{}))
			require.NoError(t, err)
			defer stream.Close()
			require.NotEmpty(t, stream.ResponseHeader().Get("Request-Id"))
			for _, name := range []string{"a", "b"} {
				made, err := s.service.Create(ctx, frameworks.NewResource{Name: name})
				require.NoError(t, err)
				require.True(t, stream.Receive(), stream.Err())
				require.Equal(t, made.ID, stream.Msg().GetId())
			}
		})
	}
}

func TestKeysApplyToUnaryCallsOfTheConnectProtocol(t *testing.T) {
	t.Parallel()
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newRPCServer(t, nil).client(options)
			keyed := func(name string) (*connect.Response[resourcesv1.Resource], error) {
				r := createRPC(name)
				r.Header().Set("Idempotency-Key", "key_1")
				return c.Create(t.Context(), r)
			}
			first, err := keyed("a")
			require.NoError(t, err)
			second, err := keyed("a") // names are unique, so it fails if it runs
			if strings.HasPrefix(protocol, "gRPC") {
				f, _ := failureOf(t, err)
				require.Equal(t, apierror.Code("name_taken"), f.reason)
				return
			}
			require.NoError(t, err)
			require.Equal(t, first.Msg.GetId(), second.Msg.GetId())
			require.Equal(t, "true", second.Header().Get("Idempotent-Replayed"))
			_, err = keyed("b")
			f, _ := failureOf(t, err)
			require.Equal(t, connect.CodeAlreadyExists, f.code)
			require.Equal(t, apierror.CodeIdempotencyConflict, f.reason)
		})
	}
}

func TestErrorsOfRPCsAreKeptForTheirKeys(t *testing.T) {
	t.Parallel()
	c := newRPCServer(t, nil).client(nil)
	_, err := c.Create(t.Context(), createRPC("a"))
	require.NoError(t, err)
	for _, replayed := range []string{"", "true"} {
		r := createRPC("a")
		r.Header().Set("Idempotency-Key", "key_1")
		_, err := c.Create(t.Context(), r)
		f, field := failureOf(t, err)
		require.Equal(t, apierror.Code("name_taken"), f.reason)
		require.Equal(t, replayed, field.Get("Idempotent-Replayed"))
		require.Equal(t, "false", field.Get("X-Should-Retry"))
	}
}

func TestAccessLogHasTheProcedure(t *testing.T) {
	t.Parallel()
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newRPCServer(t, nil)
			_, err := s.client(options).Get(t.Context(), getRPC(frameworks.IDBroken))
			require.Error(t, err)
			s.Close() // waits for the handler
			method := "POST"
			if protocol == "Connect, GET" {
				method = "GET"
			}
			var line logLine
			for dec := json.NewDecoder(strings.NewReader(s.logs.String())); line.Msg != "request"; {
				line = logLine{}
				require.NoError(t, dec.Decode(&line))
			}
			require.Equal(t, method+" /resources.v1.ResourceService/Get", line.Pattern)
			if strings.HasPrefix(protocol, "gRPC") { // the error is in the trailers
				require.Equal(t, http.StatusOK, line.Status)
				require.Empty(t, line.Code)
			} else {
				require.Equal(t, http.StatusInternalServerError, line.Status)
				require.Equal(t, apierror.CodeAPIError, line.Code)
			}
			require.Equal(t, 1, strings.Count(s.logs.String(), "the disk is full"))
		})
	}
}

// The handler of connect answers it with a 404, which clients of all protocols understand.
func TestUnknownProcedureIsUnimplemented(t *testing.T) {
	t.Parallel()
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newRPCServer(t, nil)
			c := connect.NewClient[resourcesv1.GetRequest, resourcesv1.Resource](
				bearer{s.Client(), "sk_test_demo"}, s.URL+"/resources.v1.ResourceService/Delete", options...)
			_, err := c.CallUnary(t.Context(), getRPC("res_1"))
			require.Equal(t, connect.CodeUnimplemented, connect.CodeOf(err))
		})
	}
}

// A client of connect does not read the error objects of other servers. It has a code for each
// status.
func TestRPCClientsGuessFromTheStatusOfErrorObjects(t *testing.T) {
	t.Parallel()
	for code, want := range map[apierror.Code]connect.Code{
		apierror.CodeAuthenticationFailed:  connect.CodeUnauthenticated,
		apierror.CodePermissionDenied:      connect.CodePermissionDenied,
		apierror.CodeParameterInvalid:      connect.CodeInternal,
		apierror.CodeResourceMissing:       connect.CodeUnimplemented,
		apierror.CodeIdempotencyConflict:   connect.CodeUnknown,
		apierror.CodeRequestTooLarge:       connect.CodeUnknown,
		apierror.CodeRateLimitExceeded:     connect.CodeUnavailable,
		apierror.CodeAPIError:              connect.CodeUnknown,
		apierror.CodeServiceUnavailable:    connect.CodeUnavailable,
		apierror.CodeTimeout:               connect.CodeUnavailable,
		apierror.CodeIdempotencyInProgress: connect.CodeUnavailable,
		apierror.CodeUnsupportedMediaType:  connect.CodeUnknown,
		apierror.CodeMethodNotAllowed:      connect.CodeUnknown,
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			rd := &apierror.Renderer{Logger: slog.New(slog.DiscardHandler)}
			s := httptest.NewServer(rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return code })))
			t.Cleanup(s.Close)
			_, err := resourcesv1connect.NewResourceServiceClient(s.Client(), s.URL).Get(t.Context(), getRPC("res_1"))
			require.Equal(t, want, connect.CodeOf(err))
			var e *connect.Error
			require.ErrorAs(t, err, &e)
			require.Empty(t, e.Message())
		})
	}
}
