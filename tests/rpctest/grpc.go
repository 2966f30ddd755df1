package rpctest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/seawall-go/seawall/idempotent"
)

// GRPC returns an interceptor for the unary methods of a gRPC server. A call with a key runs once
// for its principal. A retry gets the message of the first response.
//
// Handlers return errors of package apierror. Other errors are passed on and not recorded.
func GRPC(g *idempotent.Guard, principal func(context.Context) string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		keys := metadata.ValueFromIncomingContext(ctx, KeyField)
		if len(keys) == 0 {
			resp, err := handler(ctx, req)
			return resp, grpcError(err)
		}
		call := unaryCall{principal(ctx), keys[0], info.FullMethod, req}
		resp, replayed, err := call.do(ctx, g, func(ctx context.Context) (proto.Message, error) {
			resp, err := handler(ctx, req)
			m, _ := resp.(proto.Message)
			return m, err
		})
		if err != nil {
			return nil, grpcError(err)
		}
		if replayed {
			_ = grpc.SetHeader(ctx, metadata.Pairs(ReplayedField, "true")) // fails only outside of a call
		}
		return resp, nil
	}
}

// grpcError returns the gRPC error for an error of package apierror, and any other error
// unchanged.
func grpcError(err error) error {
	s, ok := statusOf(err)
	if !ok {
		return err
	}
	st := grpcstatus.New(s.code, s.message)
	for _, d := range s.details {
		if with, err := st.WithDetails(protoadapt.MessageV1Of(d)); err == nil {
			st = with
		}
	}
	return st.Err()
}
