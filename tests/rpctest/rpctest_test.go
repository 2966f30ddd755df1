package rpctest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/tests/rpctest"
)

const (
	service   = "bank.v1.Bank"
	procedure = "/" + service + "/Charge"
)

// bank is a service that charges an amount. Some amounts are names of errors.
type bank struct {
	log  logbuf.Buffer
	runs atomic.Int64
	slow time.Duration
}

var declined = apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."}

func (b *bank) charge(ctx context.Context, amount string) (string, error) {
	n := b.runs.Add(1)
	time.Sleep(b.slow)
	switch amount {
	case "declined":
		return "", declined
	case "down":
		return "", apierror.ServiceUnavailable(3 * time.Second)
	case "account":
		return "", apierror.ParameterMissing("account")
	case "account, currency":
		return "", errors.Join(apierror.ParameterMissing("account"), apierror.ParameterInvalid("currency", "is unknown"))
	case "broken":
		return "", errors.New("SECRET")
	case "chosen by connect":
		return "", fmt.Errorf("SECRET: %w", connect.NewError(connect.CodeAborted, errors.New("try another account")))
	case "chosen by gRPC":
		return "", fmt.Errorf("SECRET: %w", status.Error(codes.Aborted, "try another account"))
	case "from another service":
		return "", fmt.Errorf("call: %w", connect.NewWireError(connect.CodeNotFound, errors.New("SECRET")))
	case "lost":
		if err := idempotent.BeginEffect(ctx); err != nil {
			return "", err
		}
		return "", errors.New("no reply from the card network")
	case "":
		return "", nil
	}
	return fmt.Sprintf("charge %d of %s", n, amount), nil
}

// answer is a response or an error, as a client sees it.
type answer struct {
	value    string
	replayed bool
	code     codes.Code // 0 if it is not an error
	message  string     // of the error
	reason   string
	params   []string
	delay    time.Duration
}

// client calls the bank with a key, or without one if key is empty.
type client func(key, amount string) answer

func principal(context.Context) string { return "customer" }

// starter starts a server of the bank in memory, and returns a client.
type starter func(*testing.T, *bank, *idempotent.Options) client

func serveConnect(t *testing.T, b *bank, o *idempotent.Options) client {
	t.Helper()
	handler := connect.NewUnaryHandler(procedure, func(ctx context.Context, r *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
		v, err := b.charge(ctx, r.Msg.GetValue())
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(wrapperspb.String(v)), nil
	}, connect.WithInterceptors(rpctest.Connect(idempotent.NewGuard(idempotent.NewMemory(nil), o), principal, slog.New(slog.NewTextHandler(&b.log, nil)))))
	mux := http.NewServeMux()
	mux.Handle(procedure, handler)
	s := memhttp.New(mux)
	t.Cleanup(s.Close)
	c := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](s.Client(), s.URL+procedure)
	return func(key, amount string) (a answer) {
		r := connect.NewRequest(wrapperspb.String(amount))
		if key != "" {
			r.Header().Set(rpctest.KeyField, key)
		}
		resp, err := c.CallUnary(t.Context(), r)
		if err == nil {
			return answer{value: resp.Msg.GetValue(), replayed: resp.Header().Get(rpctest.ReplayedField) == "true"}
		}
		a.code = codes.Code(connect.CodeOf(err))
		var e *connect.Error
		require.ErrorAs(t, err, &e)
		a.message = e.Message()
		for _, d := range e.Details() {
			v, err := d.Value()
			require.NoError(t, err)
			a.read(v)
		}
		return a
	}
}

func (a *answer) read(detail any) {
	switch d := detail.(type) {
	case *errdetails.ErrorInfo:
		a.reason = d.GetReason()
	case *errdetails.BadRequest:
		for _, f := range d.GetFieldViolations() {
			a.params = append(a.params, f.GetField()+" "+f.GetReason())
		}
	case *errdetails.RetryInfo:
		a.delay = d.GetRetryDelay().AsDuration()
	}
}

func serveGRPC(t *testing.T, b *bank, o *idempotent.Options) client {
	t.Helper()
	s := grpc.NewServer(grpc.UnaryInterceptor(rpctest.GRPC(idempotent.NewGuard(idempotent.NewMemory(nil), o), principal, slog.New(slog.NewTextHandler(&b.log, nil)))))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Charge",
			Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
				in := new(wrapperspb.StringValue)
				if err := decode(in); err != nil {
					return nil, err
				}
				return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: procedure}, func(ctx context.Context, req any) (any, error) {
					v, err := srv.(*bank).charge(ctx, req.(*wrapperspb.StringValue).GetValue())
					return wrapperspb.String(v), err
				})
			},
		}},
	}, b)
	listener := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		require.NoError(t, <-served)
	})
	return func(key, amount string) (a answer) {
		ctx := t.Context()
		if key != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, rpctest.KeyField, key)
		}
		var header metadata.MD
		out := new(wrapperspb.StringValue)
		if err := conn.Invoke(ctx, procedure, wrapperspb.String(amount), out, grpc.Header(&header)); err != nil {
			st := status.Convert(err)
			a.code, a.message = st.Code(), st.Message()
			for _, d := range st.Details() {
				a.read(d)
			}
			return a
		}
		return answer{value: out.GetValue(), replayed: len(header.Get(rpctest.ReplayedField)) == 1}
	}
}

var starters = map[string]starter{"connect": serveConnect, "gRPC": serveGRPC}

// eachServer runs a test with connect and with gRPC.
func eachServer(t *testing.T, test func(t *testing.T, start starter)) {
	t.Helper()
	for name, start := range starters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

func TestRetryGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, start starter) {
		var b bank
		call := start(t, &b, nil)
		require.Equal(t, answer{value: "charge 1 of 10"}, call("k", "10"))
		require.Equal(t, answer{value: "charge 1 of 10", replayed: true}, call("k", "10"))
		require.Equal(t, answer{value: "charge 2 of 10"}, call("l", "10"))
		require.Equal(t, answer{value: "charge 3 of 10"}, call("", "10"))
		require.Equal(t, answer{value: "charge 4 of 10"}, call("", "10"), "a call without a key always runs")
		require.Equal(t, answer{}, call("empty", ""))
		require.Equal(t, answer{replayed: true}, call("empty", ""))
		require.EqualValues(t, 5, b.runs.Load())
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		o             *idempotent.Options
		amount, again string
		first, second answer
		runs          int64
	}{
		"conflict": {
			amount: "10", again: "11", runs: 1,
			first:  answer{value: "charge 1 of 10"},
			second: answer{code: codes.AlreadyExists, reason: "idempotency_conflict", params: []string{"Idempotency-Key idempotency_conflict"}},
		},
		"a kept error": {
			amount: "declined", again: "declined", runs: 1,
			first:  answer{code: codes.InvalidArgument, reason: "card_declined"},
			second: answer{code: codes.InvalidArgument, reason: "card_declined"},
		},
		"an error that is not kept": {
			amount: "down", again: "10", runs: 2,
			first:  answer{code: codes.Unavailable, reason: "service_unavailable", delay: 3 * time.Second},
			second: answer{value: "charge 2 of 10"},
		},
		"a parameter": {
			amount: "account", again: "account", runs: 1,
			first:  answer{code: codes.InvalidArgument, reason: "parameter_missing", params: []string{"account parameter_missing"}},
			second: answer{code: codes.InvalidArgument, reason: "parameter_missing", params: []string{"account parameter_missing"}},
		},
		"several parameters": {
			amount: "account, currency", again: "account, currency", runs: 1,
			first:  answer{code: codes.InvalidArgument, reason: "parameter_missing", params: []string{"account parameter_missing", "currency parameter_invalid"}},
			second: answer{code: codes.InvalidArgument, reason: "parameter_missing", params: []string{"account parameter_missing", "currency parameter_invalid"}},
		},
		"an error of another package": {
			amount: "broken", again: "10", runs: 2,
			first:  answer{code: codes.Internal, reason: "api_error"},
			second: answer{value: "charge 2 of 10"},
		},
		"an unknown outcome": {
			amount: "lost", again: "lost", runs: 1,
			first:  answer{code: codes.Internal, reason: "api_error"},
			second: answer{code: codes.FailedPrecondition, reason: "idempotency_outcome_unknown"},
		},
		"a response that is not kept": {
			o: &idempotent.Options{MaxResponse: 1}, amount: "10", again: "10", runs: 1,
			first:  answer{value: "charge 1 of 10"},
			second: answer{code: codes.FailedPrecondition, reason: "idempotency_response_unavailable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachServer(t, func(t *testing.T, start starter) {
				var b bank
				call := start(t, &b, test.o)
				first, second := call("k", test.amount), call("k", test.again)
				first.message, second.message = "", ""
				require.Equal(t, test.first, first)
				require.Equal(t, test.second, second)
				require.Equal(t, test.runs, b.runs.Load())
			})
		})
	}
}

func TestTextOfAnErrorIsSentOnlyIfItIsMeantForTheClient(t *testing.T) {
	t.Parallel()
	internal := apierror.CodeAPIError.New().Message()
	for name, tt := range map[string]struct {
		starts  map[string]starter
		code    codes.Code
		message string
	}{
		"broken":               {starters, codes.Internal, internal},
		"chosen by connect":    {map[string]starter{"connect": serveConnect}, codes.Aborted, "try another account"},
		"chosen by gRPC":       {map[string]starter{"gRPC": serveGRPC}, codes.Aborted, "try another account"},
		"from another service": {map[string]starter{"connect": serveConnect}, codes.Internal, internal},
	} {
		for protocol, start := range tt.starts {
			for _, key := range []string{"", "k"} {
				t.Run(name+"/"+protocol+"/"+key, func(t *testing.T) {
					t.Parallel()
					var b bank
					got := start(t, &b, nil)(key, name)
					require.Equal(t, tt.code, got.code)
					require.Equal(t, tt.message, got.message)
					require.Equal(t, tt.code == codes.Internal, strings.Contains(b.log.String(), "SECRET"), "the log has the cause")
				})
			}
		}
	}
}

// A call whose key cannot be read must not run without its protection.
func TestCallWithABadKeyIsRefused(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]string{"empty": {""}, "two": {"a", "b"}, "long": {strings.Repeat("a", 256)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bank
			guard, logger := idempotent.NewGuard(idempotent.NewMemory(nil), nil), slog.New(slog.NewTextHandler(&b.log, nil))
			req := connect.NewRequest(wrapperspb.String("10"))
			req.Header()[rpctest.KeyField] = keys

			_, err := rpctest.Connect(guard, principal, logger)(func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
				_, err := b.charge(ctx, "10")
				return nil, err
			})(t.Context(), req)
			require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))

			ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{strings.ToLower(rpctest.KeyField): keys})
			_, err = rpctest.GRPC(guard, principal, logger)(ctx, wrapperspb.String("10"), &grpc.UnaryServerInfo{}, func(ctx context.Context, _ any) (any, error) {
				return b.charge(ctx, "10")
			})
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			require.ErrorContains(t, err, rpctest.KeyField)
			require.Zero(t, b.runs.Load())
		})
	}
}

func TestCallThatIsCanceledIsNotLogged(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bank
	logger := slog.New(slog.NewTextHandler(&b.log, nil))

	_, err := rpctest.Connect(nil, principal, logger)(func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
		return nil, ctx.Err()
	})(ctx, connect.NewRequest(wrapperspb.String("10")))
	require.Equal(t, connect.CodeCanceled, connect.CodeOf(err))

	_, err = rpctest.GRPC(nil, principal, logger)(ctx, nil, nil, func(ctx context.Context, _ any) (any, error) { return nil, ctx.Err() })
	require.Equal(t, codes.Canceled, status.Code(err))
	require.Empty(t, b.log.String())
}

func TestDuplicatesWait(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, start starter) {
		synctest.Test(t, func(t *testing.T) {
			b := bank{slow: 5 * time.Second}
			call := start(t, &b, &idempotent.Options{MaxWaiters: 128}) // four for one key
			var replays, refused atomic.Int64
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					switch a := call("k", "10"); {
					case a.code == codes.Unavailable && a.reason == "idempotency_in_progress" && a.delay > 0:
						refused.Add(1)
					case a.value == "charge 1 of 10" && a.replayed:
						replays.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 4, replays.Load())
			require.EqualValues(t, 5, refused.Load())
			require.EqualValues(t, 1, b.runs.Load())
		})
	})
}
