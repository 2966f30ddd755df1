package frameworks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesv1"
	"github.com/seawall-go/seawall/examples/frameworks/resourcesv1/resourcesv1connect"
	"github.com/seawall-go/seawall/tests/rpctest"
)

// Connect serves the API as RPCs, with connectrpc.com/connect, beside the routes of ServeMux. A
// client of an RPC, whether it speaks the Connect protocol, gRPC or gRPC-Web, gets all errors in
// the form of its protocol. The clients of the other routes get error objects.
func Connect(s *Service, stack *seawall.Stack) http.Handler {
	path, rpc := resourcesv1connect.NewResourceServiceHandler(rpcService{s}, connect.WithInterceptors(rpcErrors{}))
	mux := http.NewServeMux()
	mux.Handle(path, rpc)
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(s.create))
	mux.Handle("GET /v1/resources/{id}", apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return s.get(w, r, r.PathValue("id"))
	}))
	mux.Handle("GET /v1/events", apierror.HandlerFunc(s.Events))

	noTimeout := stack.NoTimeout
	stack.NoTimeout = func(r *http.Request) bool {
		return noTimeout(r) || r.URL.Path == resourcesv1connect.ResourceServiceEventsProcedure
	}
	stack.Idempotency = notForTrailers(stack.Idempotency)
	return rpcRefusals(path, stack.Handler(mux))
}

// rpcService returns the errors of the business code as they are.
type rpcService struct{ *Service }

func (s rpcService) Create(ctx context.Context, in *connect.Request[resourcesv1.CreateRequest]) (*connect.Response[resourcesv1.Resource], error) {
	made, err := s.Service.Create(ctx, NewResource{Name: in.Msg.GetName()})
	return connect.NewResponse(&resourcesv1.Resource{Id: made.ID, Name: made.Name}), err
}

func (s rpcService) Get(ctx context.Context, in *connect.Request[resourcesv1.GetRequest]) (*connect.Response[resourcesv1.Resource], error) {
	found, err := s.Service.Get(ctx, in.Msg.GetId())
	return connect.NewResponse(&resourcesv1.Resource{Id: found.ID, Name: found.Name}), err
}

func (s rpcService) Events(ctx context.Context, _ *connect.Request[resourcesv1.EventsRequest], stream *connect.ServerStream[resourcesv1.Resource]) error {
	created, stop := s.listen()
	defer stop()
	if err := stream.Send(nil); err != nil { // the header, so that the client knows that it listens
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case made := <-created:
			if err := stream.Send(&resourcesv1.Resource{Id: made.ID, Name: made.Name}); err != nil {
				return err
			}
		}
	}
}

// rpcErrors is an interceptor that turns the errors of handlers into those of connect. Without it,
// connect would send the text of any error to the client, with the code unknown.
type rpcErrors struct{}

// WrapUnary implements [connect.Interceptor].
func (rpcErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, in connect.AnyRequest) (connect.AnyResponse, error) {
		r := rpcRequest(ctx, in.HTTPMethod(), in.Spec(), in.Header())
		out, err := next(ctx, in)
		return out, rpcError(r, err)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (rpcErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		r := rpcRequest(ctx, http.MethodPost, conn.Spec(), conn.RequestHeader())
		return rpcError(r, next(ctx, conn))
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (rpcErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// rpcRequest returns a request that stands for that of an RPC, which interceptors do not get. It
// tells the access log which procedure is called.
func rpcRequest(ctx context.Context, method string, spec connect.Spec, header http.Header) *http.Request {
	r := (&http.Request{Method: method, Header: header}).WithContext(ctx)
	seawall.SetPattern(r, method+" "+spec.Procedure)
	return r
}

// rpcError returns the error of connect for the error of a handler. The Stack's Renderer chooses
// the error that it stands for, and logs its cause. An error that connect has received from another
// service is not for the client.
func rpcError(r *http.Request, err error) error {
	if _, ok := errors.AsType[*connect.Error](err); err == nil || ok && !connect.IsWireError(err) {
		return err
	}
	answer := refusal{header: make(http.Header)}
	apierror.Write(&answer, r, err)
	e := answer.connectError()
	answer.header.Del("Request-Id") // the response has the ids already
	answer.header.Del("X-Request-Id")
	maps.Copy(e.Meta(), answer.header) // Retry-After and X-Should-Retry, for example
	return e
}

// notForTrailers applies the keyed middleware to unary calls of the Connect protocol, and to
// requests that are no RPCs. The errors of gRPC and of streams are in trailers, which are not
// recorded. With rpctest.Connect as another interceptor, after rpcErrors, they can have keys too.
func notForTrailers(keyed seawall.Middleware) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		withKeys := keyed(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			media := r.Header.Get("Content-Type")
			if strings.HasPrefix(media, "application/grpc") || strings.HasPrefix(media, "application/connect+") {
				next.ServeHTTP(w, r)
				return
			}
			withKeys.ServeHTTP(w, r)
		})
	}
}

// rpcRefusals sends what the Stack answers to the RPCs of a service, such as a 401 or the 500 of a
// panic, in the form of the client's protocol. It goes around the Stack. Without it, a client of
// connect makes its error of the status alone, and takes a 429 for unavailable and a 400 for
// internal.
func rpcRefusals(path string, next http.Handler) http.Handler {
	answer := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path) {
			next.ServeHTTP(w, r)
			return
		}
		held := &rpcWriter{ResponseWriter: w}
		next.ServeHTTP(held, r)
		if held.refusal == nil {
			return
		}
		if e := held.refusal.connectError(); e != nil {
			_ = answer.Write(w, r, e) // fails if the client has gone
			return
		}
		w.WriteHeader(held.refusal.status)
		_, _ = held.refusal.body.WriteTo(w)
	})
}

// rpcWriter holds back a response of 400 and more.
type rpcWriter struct {
	http.ResponseWriter

	refusal *refusal // nil if the response is sent as it is written
}

// Unwrap is for [http.ResponseController].
func (w *rpcWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *rpcWriter) WriteHeader(status int) {
	switch {
	case w.refusal != nil:
	case status >= 400:
		w.refusal = &refusal{header: w.Header(), status: status}
	default:
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rpcWriter) Write(p []byte) (int, error) {
	if w.refusal != nil {
		return w.refusal.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements [http.Flusher], which connect requires for streams.
func (w *rpcWriter) Flush() {
	if w.refusal == nil {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}

// refusal is a response of 400 and more that is held back. It implements [http.ResponseWriter].
type refusal struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (f *refusal) Header() http.Header         { return f.header }
func (f *refusal) WriteHeader(status int)      { f.status = status }
func (f *refusal) Write(p []byte) (int, error) { return f.body.Write(p) }

// connectError returns the error of connect for an error object. It returns nil for other bodies,
// such as an error that connect has written itself.
func (f *refusal) connectError() *connect.Error {
	err := apierror.Parse(&http.Response{StatusCode: f.status, Header: f.header, Body: io.NopCloser(bytes.NewReader(f.body.Bytes()))})
	if e, ok := errors.AsType[*apierror.Error](err); ok && e.FromServer() {
		return rpctest.ConnectError(e)
	}
	return nil
}
