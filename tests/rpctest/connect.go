package rpctest

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seawall-go/seawall/idempotent"
)

// Connect returns an interceptor for the handlers of a connect service. A unary call with a key
// runs once for a principal. The header and trailer of a response are not kept, but those of the
// first caller are its own. A handler returns errors of package apierror: others are passed on,
// and not kept.
func Connect(g *idempotent.Guard, principal func(context.Context) string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			key := req.Header().Get(KeyField)
			if key == "" || req.Spec().IsClient {
				resp, err := next(ctx, req)
				return resp, connectError(err)
			}
			var own connect.AnyResponse // of this call's run
			m, replayed, err := unary(ctx, g, principal(ctx), key, req.Spec().Procedure, req.Any(), func(ctx context.Context) (proto.Message, error) {
				resp, err := next(ctx, req)
				if err != nil {
					return nil, err
				}
				own = resp
				m, _ := resp.Any().(proto.Message)
				return m, nil
			})
			switch {
			case err != nil:
				return nil, connectError(err)
			case !replayed:
				return own, nil
			}
			resp := replay{connect.NewResponse(&emptypb.Empty{}), m}
			resp.Header().Set(ReplayedField, "true")
			return resp, nil
		}
	}
}

// replay is a response with a message of a type that only the store knows.
type replay struct {
	connect.AnyResponse
	message proto.Message
}

func (r replay) Any() any { return r.message }

func connectError(err error) error {
	s, ok := statusOf(err)
	if !ok {
		return err
	}
	e := connect.NewError(connect.Code(s.code), errors.New(s.message))
	for _, d := range s.details {
		if detail, err := connect.NewErrorDetail(protoOf(d)); err == nil {
			e.AddDetail(detail)
		}
	}
	return e
}
