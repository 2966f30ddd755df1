package rpctest

import (
	"context"
	"errors"
	"log/slog"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

// Connect returns an interceptor for the handlers of a connect service. A unary call with a key
// runs once for its principal. A retry gets the message of the first response, but not its header
// and trailer.
//
// Handlers return errors of package apierror, or of connect, which are not recorded. The client
// gets no text of any other error: it is logged to l, and sent as internal.
func Connect(g *idempotent.Guard, principal func(context.Context) string, l *slog.Logger) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			key, err := keyIn(req.Header().Values(KeyField))
			if err != nil {
				return nil, connectError(ctx, l, err)
			}
			if key == "" || req.Spec().IsClient {
				resp, err := next(ctx, req)
				return resp, connectError(ctx, l, err)
			}
			var first connect.AnyResponse
			call := unaryCall{principal(ctx), key, req.Spec().Procedure, req.Any()}
			message, replayed, err := call.do(ctx, g, func(ctx context.Context) (proto.Message, error) {
				resp, err := next(ctx, req)
				if err != nil {
					return nil, err
				}
				first = resp
				m, _ := resp.Any().(proto.Message)
				return m, nil
			})
			if err != nil {
				return nil, connectError(ctx, l, err)
			}
			if !replayed {
				return first, nil
			}
			resp := replay{connect.NewResponse(&emptypb.Empty{}), message}
			resp.Header().Set(ReplayedField, "true")
			return resp, nil
		}
	}
}

// replay is a response whose type is known only from the record.
type replay struct {
	connect.AnyResponse
	message proto.Message
}

func (r replay) Any() any { return r.message }

// connectError returns the error to send for err. An error that connect has received from another
// service is not for the client.
func connectError(ctx context.Context, l *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*connect.Error](err); ok && !connect.IsWireError(e) {
		return e
	}
	return statusOf(ctx, l, err).connectError()
}

// ConnectError returns e as an error of connect. Its details have e's code, the parameters at
// fault, and how long a client must wait before it tries again. Unlike an error of a handler, e may
// be one that [apierror.Parse] has read from a response.
func ConnectError(e *apierror.Error) *connect.Error { return statusFor(e).connectError() }

func (s status) connectError() *connect.Error {
	e := connect.NewError(connect.Code(s.code), errors.New(s.message))
	for _, d := range s.details {
		if detail, err := connect.NewErrorDetail(d); err == nil {
			e.AddDetail(detail)
		}
	}
	return e
}
